"""The spectrum of fields on meshes and graphs: coefficients in the eigenvectors of their Laplacians."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neuralop_irno.spectrum.bands import band_windows, check_nodes, members
from neuralop_irno.spectrum.eigenpairs import Eigenpairs
from neuralop_irno.spectrum.spectrum import Spectrum


class LaplacianEigenbasis(Spectrum):
    r"""Eigenvectors in place of waves, for a batch of graphs with modes of their own.

    .. math:: c_k = \sqrt{N / |\Omega|} \; v_k^T M u \qquad |w_k| / w_{nyq} = \sqrt{\lambda_k} / w_{nyq}

    What a few modes leave out is not lost: the remainder of the field, node by node, makes up N further
    coefficients, which stand for the modes that are missing, at the root of their mean eigenvalue (known
    from the trace). So Parseval's identity holds for any number of modes.

    The basis of an eigenspace is arbitrary, and so is every single amplitude: `amplitude` and `energies`
    compare whole eigenspaces, whose modes have one frequency.

    Args:
        pairs: the modes of each graph, from `eigenpairs`.
        batch: for each node the graph that it belongs to, ``(N,)``; by default one after the other.
        device: where the spectrum lives.

    Shapes:
        - field: ``(N, C)``
        - coefficients: ``(samples, C, modes)``, shorter spectra filled up with zeros of multiplicity 0
        - frequency, multiplicity, space: ``(samples, modes)``

    Example:
        >>> from neuralop_irno.spectrum.eigenpairs import eigenpairs
        >>> from neuralop_irno.spectrum.laplacian import graph_laplacian
        >>> ring = graph_laplacian(torch.stack([torch.arange(4), (torch.arange(4) + 1) % 4]), 4)
        >>> basis = LaplacianEigenbasis([eigenpairs(ring)])
        >>> alternating = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
        >>> basis.amplitude(basis.analyse(alternating)).squeeze().round(decimals=4)
        tensor([0., 0., 0., 2.])
        >>> (basis.frequency[0] * torch.pi).square().round(decimals=4)
        tensor([0., 2., 2., 4.])
    """

    def __init__(
        self, pairs: Sequence[Eigenpairs], batch: Tensor | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.rows = members(batch, [len(p.mass) for p in pairs], device)
        self._precise = [_analysis(p).to(device) for p in pairs]
        self._root = [_root_mass(p).to(device) for p in pairs]
        self._cast: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = {}
        lines = [_lines(p) for p in pairs]
        self.frequency, self.multiplicity, space = (
            torch.nn.utils.rnn.pad_sequence([line[part] for line in lines], batch_first=True).to(device)
            if lines
            else torch.zeros(0, 0, device=device)
            for part in range(3)
        )
        self.space = space.long()

    def analyse(self, field: Tensor) -> Tensor:
        check_nodes(field, sum(len(rows) for rows in self.rows))
        values = field.to(torch.promote_types(field.dtype, torch.float32))
        if not self.rows:
            return values.new_zeros(0, field.shape[1], 0)
        with torch.autocast(field.device.type, enabled=False):
            parts = zip(self.rows, self._in(values.dtype), strict=True)
            found = [self._coefficients(values.index_select(0, rows), *part) for rows, part in parts]
        return torch.stack(found)

    def _coefficients(self, values: Tensor, basis: Tensor, root: Tensor) -> Tensor:
        """Those of one graph, ``(C, modes)``."""
        weighted = root[:, None] * values
        found = basis.T @ weighted
        nodes, modes = basis.shape
        if modes < nodes:
            remainder = (weighted - basis @ found) * (nodes / (nodes - modes)) ** 0.5
            found = torch.cat([found, remainder])
        return F.pad(found.T * nodes**0.5, (0, self.frequency.shape[1] - len(found)))

    def amplitude(self, coefficients: Tensor) -> Tensor:
        """The root mean square over each eigenspace, in the place of each of its modes."""
        energy = coefficients.square() * self.multiplicity.to(coefficients.dtype)[:, None]
        space = self.space[:, None].expand_as(energy)
        total = torch.zeros_like(energy).scatter_add(2, space, energy)
        size = torch.zeros_like(self.multiplicity).scatter_add(1, self.space, self.multiplicity)
        mean = total / size.clamp(min=1e-12).to(total.dtype)[:, None]
        # An eigenspace without energy has the gradient 0 there, like the modulus of a number.
        return (mean + torch.finfo(mean.dtype).tiny).sqrt().gather(2, space)

    def energies(self, field: Tensor, centres: Tensor) -> Tensor:
        """The share of the mean square that each band of `band_windows` holds, ``(samples, C, bands)``.

        Exact where all modes of a band are in the basis. Over the bands it sums to the mean square.
        """
        coefficients = self.analyse(field)
        windows = band_windows(self.frequency, centres.to(self.frequency)).to(coefficients.dtype)
        count = self.multiplicity.sum(1, keepdim=True).clamp(min=1e-12)
        share = (self.multiplicity / count).to(coefficients.dtype)
        return torch.einsum("scm,sm,smb->scb", coefficients.square(), share, windows)

    def _in(self, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        if dtype not in self._cast:
            pairs = zip(self._precise, self._root, strict=True)
            self._cast[dtype] = [(basis.to(dtype), root.to(dtype)) for basis, root in pairs]
        return self._cast[dtype]


def _root_mass(pairs: Eigenpairs) -> Tensor:
    """The root of each node's share of the domain, ``(N,)``."""
    return torch.from_numpy(np.sqrt(pairs.mass / max(pairs.mass.sum(), 1e-300)))


def _analysis(pairs: Eigenpairs) -> Tensor:
    """Eigenvectors that are orthonormal as they stand, M^(1/2) V, ``(N, modes)``."""
    return torch.from_numpy(pairs.vectors * np.sqrt(pairs.mass)[:, None])


def _lines(pairs: Eigenpairs) -> tuple[Tensor, Tensor, Tensor]:
    """Frequency, multiplicity and eigenspace of every coefficient of one graph."""
    modes, nodes = len(pairs.values), len(pairs.mass)
    # Equal values mark an eigenspace: the solver gave its modes their mean.
    space = np.cumsum(np.diff(pairs.values, prepend=-1.0) > 0) - 1
    frequency, multiplicity = np.sqrt(pairs.values) / pairs.nyquist, np.ones(modes)
    if modes < nodes:
        middle = np.sqrt(pairs.rest) / pairs.nyquist
        frequency = np.concatenate([frequency, np.full(nodes, middle)])
        multiplicity = np.concatenate([multiplicity, np.full(nodes, (nodes - modes) / nodes)])
        space = np.concatenate([space, np.full(nodes, modes)])
    return (
        torch.from_numpy(frequency).float(),
        torch.from_numpy(multiplicity).float(),
        torch.from_numpy(space).float(),
    )
