"""Bases with several fields in their answers, on grids of several sizes and on points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuralop_irno import (
    IterativeRefiner,
    PointOperator,
    TupleOperator,
)

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
UNET = {"name": "unet", "width": 2, "depth": 1}
LINE = {**UNET, "dim": 1}
B = 3


class Flow(nn.Module):
    """Velocity on the grid of x, pressure on every second point of it, and a number, in a dict."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.net = CONVOLUTION[dim](3, 3, 3, padding=1)

    def forward(self, x):
        answer = self.net(x)
        half = (..., *[slice(None, None, 2)] * self.dim)
        return {"loss": answer.mean(), "velocity": answer[:, :2], "pressure": answer[:, 2:][half]}


class Airflow(nn.Module):
    """From two sets of points to the fields on both, in a tuple, as DoMINO's volume and surface."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 2)

    def forward(self, surface, normals, volume, offsets):
        on_surface = self.net(torch.cat([surface, normals], -1))
        return self.net(torch.cat([volume, offsets], -1))[..., :1], on_surface


@dataclass
class Case:
    """A base, the options of its refiner, and the shapes of its arguments without the samples."""

    base: Callable[[], nn.Module]
    options: dict[str, Any]
    arguments: dict[str, tuple[int, ...]]
    names: tuple[Any, Any]
    correction: Any

    def refiner(self, scale: float = 0.0, **options: Any) -> IterativeRefiner:
        torch.manual_seed(0)
        given = {"correction": self.correction, "steps": 3, "alpha": 0.5, **self.options, **options}
        model = IterativeRefiner(self.base(), **given)
        for weight in model.correction.parameters() if scale else ():
            nn.init.normal_(weight, std=scale)
        return model.eval()

    def call(self, samples: int = B) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        return {
            name: torch.rand(samples, *shape, generator=generator) for name, shape in self.arguments.items()
        }


def on_points() -> TupleOperator:
    net = Airflow()
    surface = PointOperator(net, fields="normals", pos="surface", output=1)
    return TupleOperator([surface, PointOperator(net, fields="offsets", pos="volume", output=0)])


def on_grid(dim: int) -> Case:
    options = {"output": ("velocity", "pressure"), "in_channels": 3, "out_channels": (2, 1)}
    sizes = (8, 6, 5)[:dim]
    return Case(lambda: Flow(dim), options, {"x": (3, *sizes)}, ("velocity", "pressure"), UNET)


CASES = {
    "line": on_grid(1),
    "plane": on_grid(2),
    "box": on_grid(3),
    "points": Case(
        on_points,
        {"in_channels": 3, "out_channels": (2, 1)},
        {
            name: (n, 3)
            for name, n in zip(("surface", "normals", "volume", "offsets"), (7, 7, 9, 9), strict=True)
        },
        (1, 0),
        {"name": "meshgraph", "width": 4, "steps": 1, "dim": 3},
    ),
}


def fields(case: Case, answer: Any) -> list[Tensor]:
    return [answer[name] for name in case.names]


def close(one: list[Tensor], other: list[Tensor], **options: Any) -> None:
    for pair in zip(one, other, strict=True):
        torch.testing.assert_close(*pair, **options)
