"""Band energies by Chebyshev polynomials of the Laplacian: no eigenvectors, cost linear in the edges."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.autograd import Function

from neuralop_irno.errors import check_least, expected
from neuralop_irno.precision import without_autocast
from neuralop_irno.spectrum.bands import band_centres, band_windows, check_nodes, members
from neuralop_irno.spectrum.eigenpairs import Eigenpairs, highest
from neuralop_irno.spectrum.laplacian import Laplacian
from neuralop_irno.spectrum.spectrum import HIGHEST, Spectrum


class ChebyshevBands(Spectrum):
    r"""The energies of smooth bands, for a batch of graphs of any size. Each line is a band.

    .. math:: E_b = u^T g_b(A) u = \sum_{n=0}^{2p} a_{bn} \, u^T T_n(X) u \qquad X = 2 A / \lambda_{max} - 1

    with the windows g_b of `band_windows`. Because :math:`2 T_n^2 = T_{2n} + T_0`, p products with the matrix
    give polynomials of degree 2 p, for all bands at once. The polynomials are nowhere negative and sum
    to 1, so that the energies are not negative and sum to the mean square. Similar filters:
    https://arxiv.org/abs/0912.3848.

    A polynomial of order p does not resolve differences below :math:`(\pi / p)^2 / 4` of the spectrum at its
    low end. Narrower bands are refused, unless ``below`` is given: its modes are removed from the field and
    their energies computed exactly, and the polynomials are used for the rest.

    Args:
        laplacians: one for each graph.
        centres: centres of the bands, relative to the Nyquist frequency, ascending from 0.
        order: p, the number of products with the matrix.
        below: the low modes of each graph, from `eigenpairs`.
        batch: the graph of each node, ``(N,)``; by default the graphs follow each other.
        device: the device of the spectrum.

    Attributes:
        resolved: the lowest frequency above 0 that the order resolves, for each graph.

    Shapes:
        - field: ``(N, C)``
        - energies: ``(samples, C, bands)``

    Example:
        >>> from neuralop_irno.spectrum.laplacian import graph_laplacian
        >>> ring = graph_laplacian(torch.stack([torch.arange(64), (torch.arange(64) + 1) % 64]), 64)
        >>> bands = ChebyshevBands([ring], [0.0, 0.3, 0.6], order=32)
        >>> bands.energies(torch.ones(64, 1)).squeeze().round(decimals=2)
        tensor([1., 0., 0.])
    """

    def __init__(
        self,
        laplacians: Sequence[Laplacian],
        centres: Sequence[float],
        order: int = 64,
        below: Sequence[Eigenpairs] | None = None,
        batch: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        check_least(1, 64, order=order)
        if below is not None and len(below) != len(laplacians):
            wanted = f"modes of {len(laplacians)} graphs"
            raise ValueError(expected(wanted, len(below), "below=[eigenpairs(l) for l in laplacians]"))
        self.order, self.centres = order, band_centres(centres).to(device)
        self.frequency = self.centres.float()
        self.rows = members(batch, [laplacian.nodes for laplacian in laplacians], device)
        self.sample = torch.zeros(sum(map(len, self.rows)), dtype=torch.long, device=device)
        self.weight = torch.zeros(len(self.sample), dtype=torch.float64, device=device)
        for number, (rows, laplacian) in enumerate(zip(self.rows, laplacians, strict=True)):
            self.sample[rows] = number
            self.weight[rows] = torch.from_numpy(laplacian.mass / laplacian.mass.sum()).sqrt().to(device)
        tops = [highest(laplacian.symmetric) for laplacian in laplacians]
        self.resolved = [
            math.sqrt(top) / laplacian.nyquist * math.sin(min(math.pi / (2 * order), math.pi / 2))
            for top, laplacian in zip(tops, laplacians, strict=True)
        ]
        squares = [_mean_square(laplacian) for laplacian in laplacians]
        self._mean_square = torch.tensor(squares, dtype=torch.float32, device=device)
        self._low = [] if below is None else [_low_end(pairs, self.centres) for pairs in below]
        cuts = [low[2] for low in self._low] or [0.0] * len(laplacians)
        polynomials = [
            _polynomials(math.sqrt(top) / laplacian.nyquist, cut, self.centres.cpu(), order)
            for top, laplacian, cut in zip(tops, laplacians, cuts, strict=True)
        ]
        empty = torch.zeros(0, len(self.centres), 2 * order + 1, dtype=torch.float64)
        self.polynomials = (torch.stack(polynomials) if polynomials else empty).to(device)
        self.matrix = _recurrence(laplacians, tops, self.rows, device)

    def mean_power(self, exponent: Tensor) -> Tensor:
        """Computed from the mean squared frequency: exact for exponent 2, an upper bound for smaller ones."""
        return self._mean_square ** (exponent / 2)

    # torch.compile cannot trace sparse products: it calls this uncompiled.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def energies(self, field: Tensor) -> Tensor:
        """The mean square of a field in each band, ``(samples, C, bands)``."""
        check_nodes(field, len(self.sample))
        values = field.to(torch.promote_types(field.dtype, torch.float32))
        with without_autocast(field.device):
            values = values * self.weight.to(values.dtype)[:, None]
            exact, values = self._take_low_end(values)
            moments = self._moments(values)
            above = torch.einsum("scn,sbn->scb", moments, self.polynomials.to(moments.dtype))
        # The polynomials are not negative; by rounding, sums can be.
        return above.clamp(min=0).to(values.dtype) + exact

    def _take_low_end(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The energies of the modes in ``below``, and the field without these modes."""
        exact = values.new_zeros(len(self.rows), values.shape[1], len(self.centres))
        if not self._low:
            return exact, values
        found = []
        for rows, (basis, windows, _) in zip(self.rows, self._low, strict=True):
            vectors = basis.to(values)
            coefficients = vectors.T @ values.index_select(0, rows)
            values = values.index_add(0, rows, vectors @ coefficients, alpha=-1)
            found.append(coefficients.square().T @ windows.to(values))
        return torch.stack(found) if found else exact, values

    def _moments(self, values: Tensor) -> Tensor:
        """u^T T_n u for n up to twice the order, ``(samples, C, 2 order + 1)``."""
        starts, columns, entries = self.matrix
        matrix = (starts, columns, entries.to(values.dtype))
        zeroth = self._sums(values, values)
        before, now = values, product(values, *matrix) / 2
        first = self._sums(before, now)
        moments = [zeroth, first, 2 * self._sums(now, now) - zeroth]
        for _ in range(self.order - 1):
            before, now = now, product(now, *matrix) - before
            moments += [2 * self._sums(before, now) - first, 2 * self._sums(now, now) - zeroth]
        return torch.stack(moments, -1)

    def _sums(self, a: Tensor, b: Tensor) -> Tensor:
        """Inner products per graph and channel, in double precision, since moments cancel each other."""
        if len(self.rows) == 1:
            return (a * b).sum(0, keepdim=True).double()
        total = torch.zeros(len(self.rows), a.shape[1], dtype=torch.float64, device=a.device)
        return total.index_add(0, self.sample, (a * b).double())


def _mean_square(laplacian: Laplacian) -> float:
    """The mean squared frequency, from the trace; entries of slivers are clipped at ``HIGHEST``."""
    squares = laplacian.symmetric.diagonal() / laplacian.nyquist**2
    return float(squares.clip(max=HIGHEST**2).mean()) if len(squares) else 0.0


def _low_end(pairs: Eigenpairs, centres: Tensor) -> tuple[Tensor, Tensor, float]:
    """Orthonormal vectors of the low modes, their shares in the bands, and their highest frequency."""
    vectors = torch.from_numpy(pairs.vectors[:, : pairs.low] * np.sqrt(pairs.mass)[:, None])
    frequency = torch.from_numpy(np.sqrt(pairs.values[: pairs.low]) / pairs.nyquist).to(centres.device)
    reach = float(frequency[-1]) if pairs.low else 0.0
    return vectors.to(centres.device), band_windows(frequency, centres), reach


def order_needed(top: float, cut: float, centres: Tensor) -> int:
    """The least order whose polynomials resolve the bands.

    Args:
        top: the highest frequency of the graph.
        cut: the frequency below which the modes are given.
        centres: centres of the bands, ``(bands,)``.

    Example:
        >>> order_needed(1.0, 0.0, torch.tensor([0.0, 0.1, 0.5, 1.0]))
        16
    """
    if top <= 0:
        return 1
    angles = 2 * torch.asin(centres.clamp(max=top) / top)
    asked = (centres[1:] > cut) & (centres[1:] <= top)
    narrowest = float(angles.diff()[asked].min()) if asked.any() else math.pi
    return math.ceil((1 - 1e-9) * math.pi / narrowest)


def _polynomials(top: float, cut: float, centres: Tensor, order: int) -> Tensor:
    """Chebyshev coefficients of the windows on the frequencies 0 .. top, ``(bands, 2 order + 1)``.

    Below ``cut`` each window is constant, since the modes there are given.
    """
    enough = order_needed(top, cut, centres)
    if order < enough:
        width = top * math.sin(math.pi / (2 * order))
        wanted = f"bands that order {order} resolves, at the low end {width:.3g} wide"
        got = f"centres {', '.join(f'{float(centre):.3g}' for centre in centres)}"
        hint = f"order={enough}, wider bands, or below=[eigenpairs(laplacian, low=256)]"
        raise ValueError(expected(wanted, got, hint))
    degree = 2 * order
    count = 8 * degree
    angle = (torch.arange(count, dtype=torch.float64) + 0.5) * (math.pi / count)
    windows = band_windows((top * torch.cos(angle / 2)).clamp(min=cut), centres)
    waves = torch.cos(torch.arange(degree + 1, dtype=torch.float64)[:, None] * angle)
    coefficients = windows.T @ waves.T * (2 / count)
    coefficients[:, 0] /= 2
    # Truncated series undershoot 0: raise each to 0, then rescale so that they sum to 1.
    dips = (coefficients @ waves).amin(1).clamp(max=0)
    coefficients[:, 0] -= dips
    return coefficients / (1 - dips.sum())


def _recurrence(
    laplacians: Sequence[Laplacian], tops: Sequence[float], rows: Sequence[Tensor], device: torch.device | str
) -> tuple[Tensor, Tensor, Tensor]:
    """The matrix 2 X of all graphs together, in compressed rows."""
    blocks = [
        laplacian.symmetric * (4 / max(top, 1e-300)) - 2 * sp.eye_array(laplacian.nodes)
        for laplacian, top in zip(laplacians, tops, strict=True)
    ]
    whole = sp.block_diag(blocks, format="coo") if blocks else sp.coo_array((0, 0))
    place = torch.cat(list(rows)).cpu().numpy() if rows else np.zeros(0, dtype=np.int64)
    matrix = sp.coo_array((whole.data, (place[whole.row], place[whole.col])), whole.shape).tocsr()
    # torch's sparse products use 32-bit indices: others would be converted at each product.
    return (
        torch.from_numpy(matrix.indptr.astype(np.int32)).to(device),
        torch.from_numpy(matrix.indices.astype(np.int32)).to(device),
        torch.from_numpy(matrix.data.astype(np.float64)).to(device),
    )


@lru_cache(maxsize=1)
def announce() -> None:
    """Trigger and suppress PyTorch's one-time warning that its sparse tensors are in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.zeros(0).long(), torch.zeros(0), (1, 1))


class SymmetricProduct(Function):
    """A x for a symmetric A, whose gradient is the same product again.

    PyTorch would transpose the matrix at every backward pass, and its sparse tensors support neither vmap nor
    deepcopy. Here the matrix is stored as three dense tensors.
    """

    @staticmethod
    def forward(x: Tensor, starts: Tensor, columns: Tensor, values: Tensor) -> Tensor:
        announce()
        size = (len(starts) - 1, len(starts) - 1)
        matrix = torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)
        return matrix @ x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return product(grad, *ctx.saved_tensors), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        return product(tangent, *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, *matrix: Tensor) -> tuple[Tensor, int]:
        moved = x.movedim(in_dims[0], -1)
        return product(moved.flatten(1), *matrix).reshape(moved.shape), moved.dim() - 1


def product(x: Tensor, starts: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    """A x for a symmetric A in compressed rows.

    Args:
        x: ``(N, C)``.
        starts: where each row starts, int32, ``(N + 1,)``.
        columns: int32, ``(entries,)``.
        values: the entries, in the dtype of x, ``(entries,)``.

    Example:
        >>> identity = (torch.tensor([0, 1, 2]).int(), torch.tensor([0, 1]).int(), torch.ones(2))
        >>> product(torch.tensor([[3.0], [4.0]]), *identity).flatten()
        tensor([3., 4.])
    """
    return SymmetricProduct.apply(x, starts, columns, values)
