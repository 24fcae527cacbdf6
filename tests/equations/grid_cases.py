"""Linear equations by name on small grids, with boundaries of every kind, and their dense matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuralop_irno.domain.grid import GridDomain
from neuralop_irno.equations.equation import BoundEquation, LinearEquation, equation_from

SHAPES = {1: (6,), 2: (4, 3), 3: (3, 2, 4)}
LENGTHS = (1.5, 0.7, 2.0)
SAMPLES = 2

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "poisson": [{}, {"screen": 2.0}],
    "darcy": [{}, {"screen": 2.0}, {"source": 1.5}],
    "helmholtz": [{"wavenumber": 5.3}],
    "heat_step": [{"dt": 0.3, "diffusivity": 0.2}, {"dt": 0.3, "diffusivity": 0.2, "theta": 0.5}],
}


@dataclass(frozen=True)
class Case:
    """One equation on one grid."""

    name: str
    dim: int
    boundary: str
    options: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        words = "".join(f"-{key}={value}" for key, value in self.options)
        return f"{self.name}{words}-{self.dim}d-{self.boundary}"

    @property
    def equation(self) -> LinearEquation:
        """The equation; ``mixed`` boundaries are walls along the first axis only."""
        walls = ["dirichlet", "periodic", "periodic"][: self.dim]
        boundary = walls if self.boundary == "mixed" else self.boundary
        built = equation_from({"name": self.name, "boundary": boundary, **dict(self.options)})
        assert isinstance(built, LinearEquation)
        return built

    @property
    def x(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(SAMPLES, 2, *SHAPES[self.dim], generator=generator, dtype=torch.float64)
        return torch.cat([x[:, :1].exp(), x[:, 1:]], 1) if self.name == "darcy" else x

    @property
    def bound(self) -> BoundEquation:
        return self.equation.bind(self.x, GridDomain.of(self.x, LENGTHS[: self.dim]))


CASES = [
    Case(name, dim, boundary, tuple(options.items()))
    for name, each in OPTIONS.items()
    for options in each
    for dim in SHAPES
    for boundary in ("periodic", "dirichlet", *(["mixed"] if dim > 1 else []))
]


def dense(bound: BoundEquation, shape: tuple[int, ...]) -> Tensor:
    """The matrices of all samples, ``(B, N, N)``, from products with unit vectors."""
    columns = []
    size = torch.Size(shape).numel()
    for unit in torch.eye(size, dtype=torch.float64):
        v = unit.reshape(1, 1, *shape).expand(bound.domain.samples, 1, *shape)
        columns.append(bound._functions.apply(v).flatten(1))  # type: ignore[misc]
    return torch.stack(columns, -1)
