"""Problems on meshes with holes, as graphs; every sample has its own mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from neuralop_irno.data.graphs import GraphDataset, as_graph
from neuralop_irno.data.in_time import InTime
from neuralop_irno.data.mesh import Array, TriangleMesh, random_holes, square_with_holes
from neuralop_irno.data.sizes import fits, real, seed_of, three, whole
from neuralop_irno.data.solvers.finite_elements import advection_diffusion, wave
from neuralop_irno.data.splits import by_split
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.registry import DATASETS

NUMBERS_A_NODE = 40
"""Estimated numbers stored per node of a mesh with its fields, edges and triangles."""


@DATASETS.register("advection_diffusion")
def heat_in_wind(
    samples: Sequence[int] = (64, 8, 16),
    spacing: float = 0.06,
    holes: int = 3,
    time: float = 0.15,
    outputs: int = 1,
    diffusivity: float = 0.02,
    seed: int = 0,
) -> dict[str, GraphDataset]:
    """Advection and diffusion of heat around cold holes, each sample with its own mesh and wind.

    x holds the present temperature, the two components of the wind and an indicator of the boundary; y holds
    the temperature after 1, .., ``outputs`` times ``time``.

    Args:
        samples: numbers of graphs for training, validation and test.
        spacing: distance between nodes.
        holes: maximum number of holes.
        time: time between frames.
        outputs: frames in y.
        diffusivity: the smaller, the finer the scales that remain.
        seed: seed of meshes, winds and starts.

    Example:
        >>> splits = heat_in_wind(samples=(1, 1, 1), spacing=0.2, holes=1)
        >>> splits["train"][0].x.shape[1], splits["train"][0].y.shape[1]
        (4, 1)
    """
    real("diffusivity", diffusivity, zero=True)

    def solve(mesh: TriangleMesh, start: Array, times: Array, rng: Generator) -> tuple[Array, Array]:
        angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0)
        wind = (float(speed * np.cos(angle)), float(speed * np.sin(angle)))
        start = np.where(mesh.boundary, 0.0, start)
        known = [start, np.full_like(start, wind[0]), np.full_like(start, wind[1]), mesh.boundary]
        return np.stack(known, 1), advection_diffusion(mesh, start, times, diffusivity, wind).T

    return _splits(solve, samples, spacing, holes, time, outputs, seed, "temperature")


@DATASETS.register("waves")
def waves(
    samples: Sequence[int] = (64, 8, 16),
    spacing: float = 0.06,
    holes: int = 3,
    time: float = 0.15,
    outputs: int = 1,
    seed: int = 0,
) -> dict[str, GraphDataset]:
    """Waves between reflecting walls and holes, with zero initial velocity, each sample on its own mesh.

    x holds the initial displacement and an indicator of the boundary; y holds the displacement after
    1, .., ``outputs`` times ``time``. Arguments as in `heat_in_wind`.

    Example:
        >>> splits = waves(samples=(1, 1, 1), spacing=0.2, holes=1)
        >>> splits["train"][0].y.shape[1]
        1
    """

    def solve(mesh: TriangleMesh, start: Array, times: Array, rng: Generator) -> tuple[Array, Array]:
        return np.stack([start, mesh.boundary], 1), wave(mesh, start, times).T

    return _splits(solve, samples, spacing, holes, time, outputs, seed, "displacement")


Solve = Callable[[TriangleMesh, Array, Array, Generator], tuple[Array, Array]]


def _splits(
    solve: Solve,
    samples: Sequence[int],
    spacing: float,
    holes: int,
    time: float,
    outputs: int,
    seed: int,
    field: str,
) -> dict[str, GraphDataset]:
    real("time", time, most=1e4), whole("outputs", outputs, most=10_000)
    counts = three("samples", samples, (64, 8, 16))
    seed_of(seed), whole("holes", holes, 1, 1000)
    fits(sum(counts) * NUMBERS_A_NODE / real("spacing", spacing, least=1e-6, most=0.5) ** 2)
    times = np.linspace(time, time * outputs, outputs)

    def solved(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        mesh = square_with_holes(spacing, random_holes(int(rng.integers(1, holes + 1)), seed), seed)
        x, y = solve(mesh, _bumps(mesh.pos, rng), times, rng)
        return as_graph(mesh, torch.from_numpy(x), torch.from_numpy(y))

    def split(place: int, count: int) -> GraphDataset:
        first = 1_000_003 * seed + 100_003 * place
        graphs = [solved(first + number) for number in range(count)]
        in_unit_square = Resolution(extent="fixed")
        return GraphDataset(graphs, (), in_unit_square, InTime((field,), 1, outputs, time))

    return by_split(split, counts)


def _bumps(pos: Array, rng: Generator) -> Array:
    """A few positive and negative Gaussian bumps, scaled to unit standard deviation."""
    field = np.zeros(len(pos))
    for _ in range(int(rng.integers(3, 7))):
        width = rng.uniform(0.05, 0.15)
        squared = ((pos - rng.uniform(0.1, 0.9, size=2)) ** 2).sum(1)
        field += rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.5) * np.exp(-squared / (2 * width**2))
    return field / max(float(field.std()), 1e-9)
