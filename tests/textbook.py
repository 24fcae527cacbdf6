"""The stencils of textbook multigrid for Poisson's equation, in this package's cycle."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.models.multigrid import MultigridCycle

AVERAGE = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
SECOND_DIFFERENCE = torch.tensor([-1.0, 2.0, -1.0], dtype=torch.float64)
ALONE = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


def product(*rows: Tensor) -> Tensor:
    """The stencil in several dimensions that applies one row along each axis."""
    stencil = torch.ones((), dtype=torch.float64)
    for row in rows:
        stencil = stencil[..., None] * row
    return stencil[None, None]


def laplacian(dim: int) -> Tensor:
    return sum(
        product(*[SECOND_DIFFERENCE if a == axis else ALONE for a in range(dim)]) for axis in range(dim)
    )


def textbook(dim: int, modes: list[str], levels: int, cycle: str = "V") -> MultigridCycle:
    """-Laplace u = f by damped Jacobi, full weighting and linear interpolation."""
    made = MultigridCycle(1, modes, levels, cycle).double()
    grid: MultigridCycle | None = made
    scale = 1.0  # a grid twice as coarse has a quarter of the differences
    while grid is not None:
        weights = {
            "operator": laplacian(dim) * scale,
            "smooth": product(*[ALONE] * dim) * (0.8 / (2 * dim * scale)),
            "smooth_again": product(*[ALONE] * dim) * (0.8 / (2 * dim * scale)),
            "restrict": product(*[AVERAGE] * dim),
            "prolong": product(*[2 * AVERAGE] * dim),
        }
        for name, weight in weights.items():
            if hasattr(grid, name):
                getattr(grid, name).weight.data = weight
        grid, scale = grid.coarse, scale / 4
    return made
