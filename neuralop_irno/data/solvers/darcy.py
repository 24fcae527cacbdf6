"""Darcy's equation between walls: flow through a medium of two permeabilities, solved by finite volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.fft import idctn
from scipy.sparse.linalg import splu
from torch import Tensor

from neuralop_irno.data.fields import FieldDataset, Splits
from neuralop_irno.data.sizes import fits, real, seed_of, three, whole
from neuralop_irno.data.splits import by_split
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS

Array = NDArray[Any]

SOURCE = 20.0
"""With it and permeabilities around 1 the solutions are of the order of 1."""


@DATASETS.register("darcy")
def darcy(
    samples: Sequence[int] = (512, 32, 128),
    size: int = 16,
    resolution: int = 64,
    contrast: float = 4.0,
    seed: int = 0,
) -> Splits:
    r"""Darcy's equation in the unit square: x holds the permeability a, y the pressure u.

    .. math:: -\nabla \cdot (a \nabla u) = 20, \qquad u = 0 \text{ on the walls}

    a has two values, :math:`1/\sqrt{c}` and :math:`\sqrt{c}`, where a Gaussian random field is below and
    above zero. Values are means over cells; with ``resolution=size`` u solves the equation
    ``{"name": "darcy", "source": 20}`` to rounding.

    Args:
        samples: numbers of samples for training, validation and test.
        size: cells per side of the samples; divides ``resolution``.
        resolution: cells per side of the solver.
        contrast: c, the ratio of the two permeabilities, at least 1.
        seed: seed of the permeabilities.

    Shapes:
        - x, y: ``(samples, 1, size, size)``
    """
    counts = three("samples", samples, (512, 32, 128))
    seed_of(seed)
    real("contrast", contrast, least=1.0, most=1e6, zero=True)
    if whole("resolution", resolution, 2) % whole("size", size, 2):
        hint = f"resolution={4 * size}"
        raise ValueError(expected(f"a resolution that is a multiple of {size} cells", resolution, hint))
    fits(2.0 * sum(counts) * resolution**2)

    def pairs(place: int, count: int) -> FieldDataset:
        rng = np.random.default_rng([seed, place])
        fields = [_pair(rng, resolution, contrast) for _ in range(count)]
        x, y = (_means(np.stack(each), size) for each in zip(*fields, strict=True))
        known = Resolution(lengths=[1.0, 1.0], extent="fixed", pair="means", layout="cells")
        data = FieldDataset(x, y, resolution=known)
        data.padding = ("zero", "zero")
        return data

    return by_split(pairs, counts)


def _pair(rng: Generator, cells: int, contrast: float) -> tuple[Array, Array]:
    """The permeability of one sample, and its pressure, both ``(cells, cells)``."""
    frequency = np.pi * np.hypot.outer(np.arange(cells), np.arange(cells))
    modes = rng.standard_normal((cells, cells)) / (frequency**2 + 9.0)
    modes[0, 0] = 0.0
    a = np.where(idctn(modes, type=2) > 0, contrast**0.5, contrast**-0.5)
    return a, pressure(a, SOURCE)


def pressure(a: Array, source: float) -> Array:
    r"""The solution of :math:`-\nabla \cdot (a \nabla u) = f`, by fluxes through the faces of cells.

    A face between two cells has the harmonic mean of a; on a wall, half a cell away, u is zero.

    Args:
        a: permeability of each cell, > 0, ``(n, m)``.
        source: f.

    Returns:
        u, ``(n, m)``.

    Example:
        >>> pressure(np.ones((2, 2)), 16.0)
        array([[1., 1.],
               [1., 1.]])
    """
    number = np.arange(a.size).reshape(a.shape)
    matrix, diagonal = sp.csc_array((a.size, a.size)), np.zeros(a.shape)
    for axis, cells in enumerate(a.shape):
        inner, places, own = (np.moveaxis(each, axis, 0) for each in (a, number, diagonal))
        faces = 2 * inner[:-1] * inner[1:] / (inner[:-1] + inner[1:]) * cells**2
        own[:-1] += faces
        own[1:] += faces
        own[0] += 2 * inner[0] * cells**2
        own[-1] += 2 * inner[-1] * cells**2
        beside = (-faces.ravel(), (places[:-1].ravel(), places[1:].ravel()))
        upper = sp.csc_array(beside, shape=matrix.shape)
        matrix = matrix + upper + upper.T
    solved: Array = splu((matrix + sp.diags_array(diagonal.ravel())).tocsc()).solve(np.full(a.size, source))
    return solved.reshape(a.shape)


def _means(fields: Array, size: int) -> Tensor:
    """Fields ``(n, cells, cells)`` by means over squares, ``(n, 1, size, size)``, in single precision."""
    ratio = fields.shape[-1] // size
    means = fields.reshape(len(fields), 1, size, ratio, size, ratio).mean((3, 5))
    return torch.from_numpy(means.astype(np.float32))
