"""The eigenpairs nearest to a shift, by block Lanczos on the shifted inverse."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

Array = NDArray[Any]
BLOCK = 8
"""Size of a block of vectors. Eigenspaces of up to this dimension are found whole; if a larger one is found,
the block size is increased."""
WIDEST = 128
"""Largest block size."""
ACCURATE = 1e-11
"""Tolerance of the relative residuals of Ritz pairs of the inverse."""
LOST = 1e-12
"""A direction is dropped if orthogonalisation leaves less than this share of its length."""


def nearest(matrix: sp.csr_array, modes: int, shift: float) -> tuple[Array, Array]:
    r"""The eigenpairs nearest to a shift outside the spectrum.

    Block Lanczos on :math:`(A - \sigma)^{-1}`, whose largest eigenvalues belong to them, with full
    orthogonalisation and without restarts: it stores two or three times as many vectors as modes, and all
    work is in matrix products.

    Args:
        matrix: symmetric, ``(N, N)``.
        modes: number of eigenpairs, well below N.
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
    """A sparse factor of A - shift; the symmetric mode orders A + A^T for less fill and swaps no rows."""
    shifted = (matrix - shift * sp.eye_array(matrix.shape[0])).tocsc()
    return spla.splu(
        shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )


def _complete(matrix: sp.csr_array, values: Array, shift: float) -> bool:
    """Whether no eigenvalue was missed, by Sylvester's law: pivots have the signs of eigenvalues."""
    apart = np.flatnonzero(np.diff(values) > 1e-6 * abs(values[1:] - shift))
    if len(apart) == 0:
        return True
    upwards = bool(values[0] > shift)
    last = apart[-1] if upwards else apart[0]  # the eigenspace beyond it may be incomplete
    factor = _factor(matrix, float(values[last] + values[last + 1]) / 2)
    if (factor.perm_r != factor.perm_c).any():
        return True  # rows were swapped: signs cannot be counted
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
        # In exact arithmetic only the last two blocks contribute; a second pass removes rounding errors.
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
                # One more application of the inverse, at no cost, since all its parts are available. It
                # removes parts of the far end of the spectrum, which A amplifies on meshes with slivers.
                return values, known @ weights + fresh @ (beyond / values)
            check = size + step
        basis[:, size : size + block] = fresh
        size += block


def _orthonormal(
    image: Array, known: Array, length: float, random: np.random.Generator
) -> tuple[Array, Array]:
    """The next block Q with image = Q R; directions below `LOST` are replaced by random ones."""
    fresh, coupling = scipy.linalg.qr(image, mode="economic")
    lost = abs(coupling.diagonal()) <= LOST * length
    if lost.any():
        # An invariant subspace is exhausted; there may be further eigenvectors outside it.
        fresh[:, lost] = random.standard_normal((len(image), int(lost.sum())))
        coupling[lost] = 0
        for _ in range(2):
            fresh -= known @ (known.T @ fresh)
            fresh, signs = scipy.linalg.qr(fresh, mode="economic")
            fresh *= np.sign(signs.diagonal())
    return fresh, coupling
