"""The spectrum of fields on meshes and graphs: coefficients in the eigenvectors of their Laplacians."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from neuralop_irno.precision import without_autocast
from neuralop_irno.spectrum.bands import check_nodes, members
from neuralop_irno.spectrum.eigenpairs import Eigenpairs
from neuralop_irno.spectrum.spectrum import HIGHEST, Spectrum, mean_power


class LaplacianEigenbasis(Spectrum):
    r"""Coefficients in Laplacian eigenvectors, for a batch of graphs that each have their own.

    .. math:: c_k = \sqrt{N / |\Omega|} \; v_k^T M u \qquad |w_k| / w_{nyq} = \sqrt{\lambda_k} / w_{nyq}

    If not all modes are given, the remainder of the field at the N nodes gives N further coefficients, which
    represent the missing modes at the root of their mean eigenvalue (computed from the trace). So Parseval's
    identity holds for any number of modes.

    The basis of an eigenspace is arbitrary, and with it every single coefficient: a line is a whole
    eigenspace, whose modes have one frequency. The remainder is one line.

    Args:
        pairs: the modes of each graph, from `eigenpairs`.
        batch: the graph of each node, ``(N,)``; by default the graphs follow each other.
        device: the device of the spectrum.

    Attributes:
        multiplicity: number of modes of each line; 0 for padding.
        space: the line of each coefficient, ``(samples, modes)``.

    Shapes:
        - field: ``(N, C)``
        - coefficients: ``(samples, C, modes)``, shorter spectra padded with zeros
        - energies: ``(samples, C, lines)``; frequency, multiplicity: ``(samples, lines)``

    Example:
        >>> from neuralop_irno.spectrum.eigenpairs import eigenpairs
        >>> from neuralop_irno.spectrum.laplacian import graph_laplacian
        >>> ring = graph_laplacian(torch.stack([torch.arange(4), (torch.arange(4) + 1) % 4]), 4)
        >>> basis = LaplacianEigenbasis([eigenpairs(ring)])
        >>> (basis.frequency[0] * torch.pi).square().round(decimals=4), basis.multiplicity[0]
        (tensor([0., 2., 4.]), tensor([1., 2., 1.]))
        >>> alternating = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
        >>> basis.energies(alternating).squeeze().round(decimals=4)
        tensor([0., 0., 1.])
    """

    def __init__(
        self, pairs: Sequence[Eigenpairs], batch: Tensor | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.rows = members(batch, [len(p.mass) for p in pairs], device)
        self._precise = [_analysis(p).to(device) for p in pairs]
        self._root = [_root_mass(p).to(device) for p in pairs]
        self._cast: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = {}
        spaces = [_spaces(p) for p in pairs]
        self.space = _padded([s[0] for s in spaces]).long().to(device)
        self._share = _padded([s[1] for s in spaces]).to(device)
        self.frequency, self.multiplicity = (_padded([s[p] for s in spaces]).to(device) for p in (2, 3))

    def analyse(self, field: Tensor) -> Tensor:
        """The coefficients of a field; their squares, weighted by their modes, average to its mean square."""
        check_nodes(field, sum(len(rows) for rows in self.rows))
        values = field.to(torch.promote_types(field.dtype, torch.float32))
        if not self.rows:
            return values.new_zeros(0, field.shape[1], 0)
        with without_autocast(field.device):
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
        return F.pad(found.T * nodes**0.5, (0, self.space.shape[1] - len(found)))

    def energies(self, field: Tensor) -> Tensor:
        squares = self.analyse(field).square()
        squares = squares * self._share.to(squares.dtype)[:, None]
        lines = squares.new_zeros(*squares.shape[:2], self.frequency.shape[1])
        return lines.scatter_add(2, self.space[:, None].expand_as(squares), squares)

    def mean_power(self, exponent: Tensor) -> Tensor:
        return mean_power(self.frequency, self.multiplicity, exponent)

    def _in(self, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        if dtype not in self._cast:
            pairs = zip(self._precise, self._root, strict=True)
            with torch.inference_mode(False):  # cached tensors are used in training too
                self._cast[dtype] = [(basis.to(dtype), root.to(dtype)) for basis, root in pairs]
        return self._cast[dtype]


def _root_mass(pairs: Eigenpairs) -> Tensor:
    """The square root of each node's share of the domain, ``(N,)``."""
    return torch.from_numpy(np.sqrt(pairs.mass / max(pairs.mass.sum(), 1e-300)))


def _analysis(pairs: Eigenpairs) -> Tensor:
    """Eigenvectors orthonormal in the Euclidean product, M^(1/2) V, ``(N, modes)``."""
    return torch.from_numpy(pairs.vectors * np.sqrt(pairs.mass)[:, None])


def _spaces(pairs: Eigenpairs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For one graph: the line and the share of each coefficient; the frequency and the modes of each line."""
    modes, nodes = len(pairs.values), len(pairs.mass)
    # Equal values mark an eigenspace: `eigenpairs` set them to their mean.
    space = np.cumsum(np.diff(pairs.values, prepend=-1.0) > 0) - 1
    counts, values = np.ones(modes), pairs.values
    if modes < nodes:
        last = space[-1] + 1 if modes else 0
        space = np.concatenate([space, np.full(nodes, last)])
        counts = np.concatenate([counts, np.full(nodes, (nodes - modes) / nodes)])
        values = np.concatenate([values, np.full(nodes, pairs.rest)])
    multiplicity = np.bincount(space, counts)
    frequency = np.sqrt(np.bincount(space, values * counts) / multiplicity) / pairs.nyquist
    return (
        torch.from_numpy(space),
        torch.from_numpy(counts / max(nodes, 1)),
        torch.from_numpy(frequency.clip(max=HIGHEST)).float(),
        torch.from_numpy(multiplicity).float(),
    )


def _padded(parts: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(parts), batch_first=True) if parts else torch.zeros(0, 0)
