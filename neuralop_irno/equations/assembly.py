"""The matrix of a bound linear equation: as assembled on a mesh, or probed on a grid."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.equation import BoundEquation, Map
from neuralop_irno.errors import expected

CLOSE = 1e-10
"""A probed matrix and the equation agree on a random field to this share, in double precision."""


def assembled(equation: BoundEquation, apply: Map, like: Tensor) -> Any:
    r"""The matrix of all values of a batch, ``scipy.sparse.csr_array``, in the order of a flattened field.

    On grids its entries are probed: A is applied to sums of unit fields that are three cells apart, so that
    each value of the product belongs to one of them. Rows and columns of values that are given are those of
    the identity.

    Args:
        equation: of one field, on a grid, where a value depends on the neighbouring cells at most (a stencil
            of 3 cells along each axis).
        apply: v -> A v.
        like: a field in double precision, laid out like h.

    Example:
        >>> from neuralop_irno.equations.equation import LinearEquation
        >>> x = torch.ones(1, 1, 3, dtype=torch.float64)
        >>> twice = LinearEquation(lambda x, v: 2 * v, lambda x: x).bind(x, GridDomain.of(x))
        >>> assembled(twice, twice.apply, x).toarray().diagonal().tolist()
        [2.0, 2.0, 2.0]
    """
    if not isinstance(equation.domain, GridDomain) or like.shape[1] != 1:
        got = "several fields" if isinstance(equation.domain, GridDomain) else "one on points"
        raise ValueError(expected("an equation of one field on a grid", got, "preconditioner='jacobi'"))
    numbers = torch.arange(like.numel(), dtype=torch.long).reshape(like.shape)
    rows, columns, values = [], [], []
    axes = [_colours(n) for n in equation.domain.shape]
    for colour in itertools.product(*(range(int(axis.max()) + 1) for axis in axes)):
        marks = [(axis == c).nonzero()[:, 0] for axis, c in zip(axes, colour, strict=True)]
        chosen = torch.zeros_like(like, dtype=torch.bool)
        place: Any = (slice(None), slice(None), *torch.meshgrid(*marks, indexing="ij"))
        chosen[place] = True
        image = apply(equation.project(chosen.to(like.dtype)))
        near = torch.where(chosen, numbers, -1)
        for axis in range(2, like.dim()):  # the number of the marked cell next to each cell
            near = torch.stack([near, near.roll(1, axis), near.roll(-1, axis)]).amax(0)
        kept = (image != 0) & (near >= 0)
        rows.append(numbers[kept])
        columns.append(near[kept])
        values.append(image[kept])
    fixed = equation.project(torch.ones_like(like)) == 0
    rows.append(numbers[fixed])
    columns.append(numbers[fixed])
    values.append(torch.ones_like(like[fixed]))
    triple = torch.cat(values).numpy(), (torch.cat(rows).numpy(), torch.cat(columns).numpy())
    matrix = sp.csr_array(triple, shape=(like.numel(), like.numel()))
    probe = equation.project(torch.from_numpy(np.random.default_rng(0).standard_normal(like.shape)))
    answer, product = apply(probe).flatten().numpy(), matrix @ probe.flatten().numpy()
    if np.abs(answer - product).max() > CLOSE * np.abs(answer).max():
        wanted = "an equation of which a value depends on the neighbouring cells only"
        raise ValueError(expected(wanted, "one with a wider stencil", "preconditioner='jacobi'"))
    return matrix


def _colours(size: int) -> Tensor:
    """A number for each cell of an axis that no other one less than three cells away has, around a seam too.

    Example:
        >>> _colours(8).tolist()
        [0, 1, 2, 0, 1, 2, 3, 4]
    """
    cells = torch.arange(size)
    whole = 3 * (size // 3)
    return torch.where(cells < whole, cells % 3, cells - whole + 3) if size >= 3 else cells
