"""The lowest and highest eigenpairs of a Laplacian, with a residual check and a cache on disk."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg as spla
import torch
from numpy.typing import NDArray

from neuralop_irno.cache import keep
from neuralop_irno.checkpoint import SUFFIX, read
from neuralop_irno.errors import expected
from neuralop_irno.spectrum.lanczos import nearest
from neuralop_irno.spectrum.laplacian import Laplacian

Array = NDArray[Any]
DENSE = 600
"""Up to this many nodes a dense solve for all modes is faster than an iteration for a few."""
FULL = 6000
"""Largest number of nodes for a dense solve for all modes (about a minute)."""
RESIDUAL = 1e-8
"""Tolerance of |A x - w x|, relative to w plus the scale of the spectrum."""
ROUNDING = 1e-12
"""Rounding error of |A x - w x|, relative to the largest eigenvalue."""
SAME = 1e-6
"""Neighbouring eigenvalues with a smaller relative difference belong to one eigenspace."""
FLOOR = 1e-10
"""So do those that differ by less than this share of the scale of the spectrum."""
VERSION = 1
"""Part of the name of cached files: increase it when their content changes."""


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    r"""Solutions of :math:`L v = \omega^2 M v`, from one or both ends of the spectrum.

    Attributes:
        values: eigenvalues, ascending, equal within an eigenspace, ``(modes,)``.
        vectors: eigenvectors, orthonormal in the measure, :math:`V^T M V = 1`, ``(N, modes)``.
        mass: the mass of each node, ``(N,)``.
        nyquist: the frequency of value 1.
        rest: the mean eigenvalue of the missing modes; 0 if there are none.
        low: number of modes at the low end, without gaps from 0 up.
    """

    values: Array
    vectors: Array
    mass: Array
    nyquist: float
    rest: float
    low: int


def eigenpairs(
    laplacian: Laplacian,
    low: int | None = None,
    high: int = 0,
    cache: str | os.PathLike[str] | None = None,
) -> Eigenpairs:
    """The lowest and the highest modes of a Laplacian, in float64.

    Only whole eigenspaces are returned: one that exceeds the number of modes is left out, because a part of a
    degenerate eigenspace depends on the basis that the solver found.

    Args:
        laplacian: the Laplacian.
        low: largest number of lowest modes; by default all modes.
        high: largest number of highest modes, in addition.
        cache: a folder in which results are stored under a hash of their input.

    Example:
        >>> from neuralop_irno.spectrum.laplacian import graph_laplacian
        >>> ring = graph_laplacian(torch.stack([torch.arange(4), (torch.arange(4) + 1) % 4]), 4)
        >>> eigenpairs(ring).values.round(9).tolist()
        [0.0, 2.0, 2.0, 4.0]
        >>> eigenpairs(ring, low=2).values.round(9).tolist()  # half of the pair at 2 is no eigenspace
        [0.0]
    """
    count = laplacian.nodes
    low = count if low is None else min(low, count)
    high = min(high, count - low)
    if low < 0 or high < 0:
        raise ValueError(expected("low >= 0 and high >= 0", f"low={low}, high={high}", "low=256"))
    path = None
    if cache is not None:
        name = hashlib.sha256(f"{VERSION} {laplacian.digest} {low} {high}".encode()).hexdigest()
        path = Path(cache) / f"{name}{SUFFIX}"
    stored = None if path is None else _recall(path, count)
    if stored is None:
        values, vectors, below = _solve(laplacian, low, high)
        if path is not None:
            tensors = {"values": torch.from_numpy(values), "vectors": torch.from_numpy(vectors)}
            keep(path, tensors, {"low": below})
    else:
        values, vectors, below = stored
    left = count - len(values)
    trace = float(laplacian.symmetric.diagonal().sum())
    rest = max(trace - float(values.sum()), 0.0) / left if left else 0.0
    return Eigenpairs(values, vectors, laplacian.mass, laplacian.nyquist, rest, below)


def _recall(path: Path, nodes: int) -> tuple[Array, Array, int] | None:
    """The content of a cached file; None if it is missing or damaged: the modes are computed again."""
    try:
        tensors, config = read(path)
        values, vectors, low = tensors["values"], tensors["vectors"], config["low"]
    except (OSError, ValueError, KeyError):
        return None
    whole = values.dim() == 1 and vectors.shape == (nodes, len(values)) and type(low) is int
    return (values.numpy(), vectors.numpy(), low) if whole and 0 <= low <= len(values) else None


def _solve(laplacian: Laplacian, low: int, high: int) -> tuple[Array, Array, int]:
    """Values, measure-orthonormal vectors, and the number of modes at the low end."""
    matrix, count = laplacian.symmetric, laplacian.nodes
    if low + high == 0:
        return np.zeros(0), np.zeros((count, 0)), 0
    # One mode more at each end shows whether the last eigenspace is whole.
    ask_low, ask_high = min(low + 1, count) if low else 0, min(high + 1, count) if high else 0
    top = highest(matrix) or 1.0
    scale = min(top, _typical(matrix) or top)
    if count <= DENSE or 3 * (ask_low + ask_high) > count:
        if count > FULL:
            wanted = f"at most {FULL} nodes for all modes"
            raise ValueError(expected(wanted, f"{count} nodes", "low=256, or ChebyshevBands"))
        values, vectors = scipy.linalg.eigh(matrix.toarray())
        _check(matrix, values, vectors, scale)
        upper = slice(count - ask_high, None)
        ends = [(values[:ask_low], vectors[:, :ask_low]), (values[upper], vectors[:, upper])]
    else:
        # Shifts outside the spectrum, so that the shifted matrices have a factor; the lower one scales with
        # the number of modes.
        below, above = -1e-2 * scale * max(ask_low, 1) / count, 1.01 * top
        ends = [_end(matrix, ask_low, below, scale), _end(matrix, ask_high, above, scale)]
    (low_values, low_vectors), (high_values, high_vectors) = ends
    keep_low = low if low == count else whole(low_values, low, scale)
    keep_high = high if low + high == count else whole(high_values[::-1], high, scale)
    values = np.concatenate([low_values[:keep_low], high_values[len(high_values) - keep_high :]])
    vectors = np.concatenate(
        [low_vectors[:, :keep_low], high_vectors[:, high_vectors.shape[1] - keep_high :]], 1
    )
    values = np.clip(values, 0, None)
    space = eigenspaces(values, scale)
    if len(values):
        values = (np.bincount(space, values) / np.bincount(space))[space]
    return values, vectors / np.sqrt(laplacian.mass)[:, None], keep_low


def _end(matrix: sp.csr_array, modes: int, shift: float, scale: float) -> tuple[Array, Array]:
    if modes == 0:
        return np.zeros(0), np.zeros((matrix.shape[0], 0))
    values, vectors = nearest(matrix, modes, shift)
    _check(matrix, values, vectors, scale)
    return values, vectors


def _check(matrix: sp.csr_array, values: Array, vectors: Array, scale: float) -> None:
    """Raise ValueError if A x = w x does not hold within `RESIDUAL`."""
    residual = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
    allowed = RESIDUAL * (scale + abs(values)) + ROUNDING * highest(matrix)
    if not (residual <= allowed).all():
        wanted = f"eigenvectors with residuals below {RESIDUAL:g} of the spectrum's scale"
        hint = "fewer modes, or a mesh without slivers"
        raise ValueError(expected(wanted, f"{(residual / scale).max():.1e}", hint))


def _typical(matrix: sp.csr_array) -> float:
    """The scale of the spectrum: about the largest eigenvalue of a mesh without slivers."""
    diagonal = matrix.diagonal()
    return 2 * float(np.median(diagonal[diagonal > 0])) if (diagonal > 0).any() else 0.0


def highest(matrix: sp.csr_array) -> float:
    """An upper bound of the largest eigenvalue of a symmetric matrix, a few percent above it for N > 32.

    Example:
        >>> highest(sp.csr_array(np.diag([1.0, 2.0]))) >= 2
        True
    """
    count = matrix.shape[0]
    rows = float(abs(matrix).sum(1).max()) if count else 0.0  # Gershgorin: at most about twice too large
    if count <= 32 or rows == 0:
        return rows
    start = np.random.default_rng(0).standard_normal(count)
    value = spla.eigsh(matrix, k=1, which="LA", tol=1e-2, v0=start, return_eigenvectors=False)
    return min(rows, 1.03 * float(value[0]))


def eigenspaces(values: Array, scale: float) -> Array:
    """The index of each eigenvalue's eigenspace, from 0; nearly equal eigenvalues share one.

    Example:
        >>> eigenspaces(np.array([0.0, 1.0, 1.0 + 1e-9, 2.0]), scale=2.0).tolist()
        [0, 1, 1, 2]
    """
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    apart = np.diff(values) > SAME * values[1:] + FLOOR * scale
    return np.concatenate([[0], np.cumsum(apart)])


def whole(values: Array, most: int, scale: float) -> int:
    """The largest number of modes, at most ``most``, of whole eigenspaces; ``values`` has one mode more."""
    if most == 0 or len(values) <= most:
        return min(most, len(values))
    apart = abs(np.diff(values)) > SAME * np.maximum(values[1:], values[:-1]) + FLOOR * scale
    return int(np.flatnonzero(apart[:most]).max(initial=-1)) + 1
