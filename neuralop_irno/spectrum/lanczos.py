"""The eigenvalues nearest to a shift: block Lanczos on the inverse."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

Array = NDArray[Any]
BLOCK = 8
"""Vectors that go through the inverse together: matrix products in place of vector ones, and eigenspaces
of up to so many dimensions are found whole. Where some are larger, more go together."""
WIDEST = 128
"""The most vectors that do."""
ACCURATE = 1e-11
"""Ritz pairs of the inverse with relative residuals below this are taken."""
LOST = 1e-12
"""A direction that keeps less than this share of its length once the known ones are taken out is none."""


def nearest(matrix: sp.csr_array, modes: int, shift: float) -> tuple[Array, Array]:
    r"""The eigenpairs nearest to a shift that lies outside of the spectrum.

    Lanczos on :math:`(A - \sigma)^{-1}`, whose largest eigenvalues are those sought, with one block of
    vectors at a time, each made orthogonal to all before it. It never restarts: the memory of two or three
    times as many vectors as are sought buys that all work is in matrix products.

    Args:
        matrix: symmetric, ``(N, N)``.
        modes: how many, well below N.
        shift: below all eigenvalues or above them.

    Returns:
        the eigenvalues, ascending, and orthonormal eigenvectors, ``(N, modes)``.

    Example:
        >>> line = sp.diags_array(np.arange(400.0)).tocsr()
        >>> nearest(line, 3, shift=-0.5)[0].round(9).tolist()
        [0.0, 1.0, 2.0]
    """
    count, block = matrix.shape[0], min(BLOCK, matrix.shape[0])
    solve = _factor(matrix, shift).solve
    while True:
        inverse, vectors = _largest(solve, count, modes, block)
        values = shift + 1 / inverse
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
        if block >= WIDEST or 8 * block > count or _complete(matrix, values, shift):
            return values, vectors
        block *= 4


def _factor(matrix: sp.csr_array, shift: float) -> Any:
    """A factor of A - shift; symmetric: an ordering of A + A^T leaves less fill, and no rows are swapped."""
    shifted = (matrix - shift * sp.eye_array(matrix.shape[0])).tocsc()
    return spla.splu(
        shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )


def _complete(matrix: sp.csr_array, values: Array, shift: float) -> bool:
    """Whether no eigenvalue was passed over, by Sylvester's law: pivots have the signs of eigenvalues."""
    apart = np.flatnonzero(np.diff(values) > 1e-6 * abs(values[1:] - shift))
    if len(apart) == 0:
        return True
    upwards = bool(values[0] > shift)
    last = apart[-1] if upwards else apart[0]  # beyond it not all of an eigenspace need be here
    factor = _factor(matrix, float(values[last] + values[last + 1]) / 2)
    if (factor.perm_r != factor.perm_c).any():
        return True  # rows were swapped after all, and the signs say nothing
    below = int((factor.U.diagonal() < 0).sum())
    return below == last + 1 if upwards else len(factor.perm_r) - below == len(values) - last - 1


def _largest(apply: Any, count: int, modes: int, block: int) -> tuple[Array, Array]:
    """The eigenpairs of largest modulus of a symmetric operator."""
    random = np.random.default_rng(0)
    most = min(8 * modes + 12 * block, count - block) // block * block
    check, step = min(2 * modes + 6 * block, most), max(modes // 4, 2 * block)
    basis = np.empty((count, most + block), order="F")
    projected = np.zeros((most, most))
    basis[:, :block] = np.linalg.qr(random.standard_normal((count, block)))[0]
    size = block
    while True:
        known, last = basis[:, :size], slice(size - block, size)
        image = apply(np.asfortranarray(basis[:, last]))
        length = np.linalg.norm(image, axis=0).max()
        # In exact arithmetic only the last two blocks have a share; the rest is swept up after that.
        recent = slice(max(size - 2 * block, 0), size)
        share = basis[:, recent].T @ image
        image -= basis[:, recent] @ share
        projected[recent, last] = share
        correction = known.T @ image
        image -= known @ correction
        projected[:size, last] += correction
        fresh, coupling = _orthonormal(image, known, length, random)
        if size >= check:
            upper = np.triu(projected[:size, :size])
            values, weights = scipy.linalg.eigh(upper + np.triu(upper, 1).T)
            chosen = np.argsort(-abs(values))[:modes]
            values, weights = values[chosen], weights[:, chosen]
            beyond = coupling @ weights[-block:]
            residual = np.linalg.norm(beyond, axis=0)
            if size + block > most or (residual <= ACCURATE * abs(values).max()).all():
                # One more application of the inverse, which costs nothing: all its parts are known. It wipes
                # out what is left of the far end of the spectrum, where slivers would blow it up.
                return values, known @ weights + fresh @ (beyond / values)
            check = size + step
        basis[:, size : size + block] = fresh
        size += block


def _orthonormal(
    image: Array, known: Array, length: float, random: np.random.Generator
) -> tuple[Array, Array]:
    """The next block Q with image = Q R; directions in which nothing is left are drawn anew."""
    fresh, coupling = scipy.linalg.qr(image, mode="economic")
    lost = abs(coupling.diagonal()) <= LOST * length
    if lost.any():
        # An invariant subspace is exhausted: copies of its eigenvalues may live outside of it.
        fresh[:, lost] = random.standard_normal((len(image), int(lost.sum())))
        coupling[lost] = 0
        for _ in range(2):
            fresh -= known @ (known.T @ fresh)
            fresh, signs = scipy.linalg.qr(fresh, mode="economic")
            fresh *= np.sign(signs.diagonal())
    return fresh, coupling
