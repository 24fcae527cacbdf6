r"""Compressible flow from vortices: a small, openly generated variant of the data set CE-Gauss of RIGNO.

As published: the compressible Euler equations on the periodic unit square, from a vorticity that is a sum of
Gaussians; 21 equidistant frames from time 0 to 1; density, velocity and pressure (the published files also
hold the energy), on 128 x 128 points, or on scattered points shared by all samples. The published mean
pressure is 2.513; here it rises from 2.5 to 2.501, as kinetic energy becomes heat.

Not published, our choice: initial density 0.1 and pressure 2.5 everywhere; 100 bumps at random positions, of
widths from 0.01 to 0.1 and strengths from -1 to 1; scattered points that are cells of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralop_irno import cache, checkpoint, digest
from neuralop_irno.data.point_clouds import PointCloud
from neuralop_irno.data.sizes import available_device, fits, real, seed_of, three, whole
from neuralop_irno.data.solvers.euler import euler_trajectories
from neuralop_irno.data.solvers.pseudo_spectral import PeriodicGrid
from neuralop_irno.data.splits import by_split
from neuralop_irno.data.trajectories import FramePairs, PointTrajectories
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS

FORMAT = 1
"""Increment when the same options give other flows, so that older files are no longer found."""

FIELDS = ("density", "velocity_x", "velocity_y", "pressure")
BUMPS = 100
WIDTHS = (0.01, 0.1)
DENSITY = 0.1
PRESSURE = 2.5


def gaussian_vorticity(
    samples: int,
    resolution: int,
    generator: torch.Generator,
    bumps: int = BUMPS,
    widths: Sequence[float] = WIDTHS,
) -> Tensor:
    r"""Sums of Gaussian bumps on the periodic unit square, at the centres of its cells:

    .. math:: w(x) = \sum_i \frac{a_i}{s_i} \exp\left(-\frac{|x - c_i|^2}{2 s_i^2}\right)

    Dividing by the width gives small vortices the same speed as large ones.

    Shapes:
        - returns: ``(samples, resolution, resolution)``
    """
    strength, width, *centre = torch.rand(samples, bumps, 4, generator=generator).unbind(-1)
    strength, width = 2 * strength - 1, widths[0] + (widths[1] - widths[0]) * width
    middle = (torch.arange(resolution) + 0.5) / resolution

    def profile(place: Tensor) -> Tensor:
        nearest = (middle - place[..., None] + 0.5) % 1 - 0.5
        return torch.exp(-0.5 * (nearest / width[..., None]).square())

    along_x, along_y = (profile(place) for place in centre)
    return torch.einsum("sb,sbx,sby->sxy", strength / width, along_x, along_y)


def velocity_of(vorticity: Tensor) -> Tensor:
    r"""The divergence-free velocity with a given vorticity (Biot-Savart law in Fourier space):

    .. math:: v = (\partial_y \psi, -\partial_x \psi), \qquad -\Delta \psi = w - \bar w

    Shapes:
        - vorticity: ``(B, n, n)``; returns: ``(B, 2, n, n)``
    """
    grid = PeriodicGrid(vorticity.shape[-1], dim=2, length=1.0, device=vorticity.device)
    kx, ky = grid.wavenumbers
    # On a torus the mean vorticity is zero for any flow, so the zero mode is dropped.
    streamfunction = grid.transform(vorticity) / grid.squared.where(grid.squared > 0, torch.inf)
    return grid.values(torch.stack([1j * ky * streamfunction, -1j * kx * streamfunction], 1))


def vortices(
    samples: int,
    resolution: int,
    seed: int,
    bumps: int = BUMPS,
    widths: Sequence[float] = WIDTHS,
    density: float = DENSITY,
) -> Tensor:
    """Initial gases with vortices: density, velocity and pressure, ``(samples, 4, n, n)``."""
    generator = torch.Generator().manual_seed(seed)
    velocity = velocity_of(gaussian_vorticity(samples, resolution, generator, bumps, widths))
    still = torch.full((samples, 1, resolution, resolution), density)
    return torch.cat([still, velocity, torch.full_like(still, PRESSURE)], 1)


@DATASETS.register("ce_gauss")
def ce_gauss(
    samples: Sequence[int] = (64, 8, 16),
    points: int = 512,
    resolution: int = 64,
    frames: int = 21,
    time: float = 1.0,
    leads: Sequence[int] = (1,),
    bumps: int = BUMPS,
    widths: Sequence[float] = WIDTHS,
    density: float = DENSITY,
    seed: int = 0,
    folder: str | None = None,
    device: str = "cpu",
) -> dict[str, FramePairs]:
    """Compressible flow from vortices on scattered points: pairs of an earlier and a later frame.

    x and y hold density, velocity and pressure, in physical units. Each split has the full trajectories as
    ``trajectories.u``, ``(S, T, N, 4)``.

    Args:
        samples: numbers of flows for training, validation and test.
        points: number of random cells kept, the same in every flow and split.
        resolution: cells per side of the solver.
        frames: equidistant snapshots of each flow, the first at time 0.
        time: time of the last frame.
        leads: frames between x and y.
        bumps: number of Gaussians in the vorticity of each flow.
        widths: the smallest and the largest width.
        density: initial density; the denser the gas, the slower its sound.
        seed: seed of the flows.
        folder: where flows are kept between processes; by default they are not kept.
        device: device of the solver.

    Example:
        >>> splits = ce_gauss(samples=(1, 1, 1), points=32, resolution=16, frames=3, time=0.1, bumps=4)
        >>> graph = splits["train"][0]
        >>> graph.num_nodes
        32
    """
    counts = three("samples", samples, (64, 8, 16))
    whole("frames", frames, 2), whole("bumps", bumps), whole("resolution", resolution, 2, 2**13)
    seed_of(seed), real("density", density), available_device(device)
    if len(widths) != 2 or not 0 < real("widths", widths[0]) <= real("widths", widths[1]):
        raise ValueError(expected("two widths, the narrowest first", list(widths), "widths: [0.01, 0.1]"))
    cells = sum(counts) * float(resolution) ** 2
    numbers = max(sum(counts) * frames * points * 4, cells, sum(counts) * bumps)
    # Sound crosses the unit square about six times per unit of time, which determines the number of steps.
    fits(numbers, cells * resolution * 16 * real("time", time, zero=True))
    if not 4 <= points <= resolution**2:
        raise ValueError(expected(f"4 to {resolution**2} points of the grid", points, "points=512"))
    kept = torch.randperm(resolution**2, generator=torch.Generator().manual_seed(0))[:points]
    pos = torch.stack([kept // resolution, kept % resolution], 1).add(0.5) / resolution
    cloud = PointCloud(pos, period=(1.0, 1.0))
    times = torch.linspace(0, time, frames)

    def pairs(place: int, count: int) -> FramePairs:
        options = {
            "samples": count, "resolution": resolution, "times": times.tolist(), "seed": 3 * seed + place,
            "points": points, "bumps": bumps, "widths": list(widths), "density": density,
        }  # fmt: skip
        u = _kept_or_solved(options, kept, folder, device)
        return FramePairs(PointTrajectories(u, cloud, times, FIELDS), leads)

    return by_split(pairs, counts)


def _kept_or_solved(options: Mapping[str, Any], kept: Tensor, folder: str | None, device: str) -> Tensor:
    """The flows of the options, ``(S, T, N, 4)``: loaded from the folder, or solved and stored there."""
    name = f"ce_gauss-{digest.of_json([FORMAT, options])[:16]}{checkpoint.SUFFIX}"
    path = None if folder is None else Path(folder) / name
    shape = (options["samples"], len(options["times"]), len(kept), 4)
    stored = None if path is None else cache.recall(path, options)
    if stored is not None and "u" in stored and stored["u"].shape == shape:
        return stored["u"]
    drawn = {name: options[name] for name in ("samples", "resolution", "seed", "bumps", "widths", "density")}
    start = vortices(**drawn).to(device)
    # Solve a few flows at a time and keep only the selected points, to save memory.
    parts = [euler_trajectories(few, options["times"]).flatten(3)[..., kept] for few in start.split(16)]
    u = torch.cat(parts).transpose(2, 3).contiguous().cpu()
    if path is not None:
        cache.keep(path, {"u": u}, options)
    return u
