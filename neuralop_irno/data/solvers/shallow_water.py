"""Shallow water on a rotating sphere, by the solver of torch-harmonics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neuralop_irno._torch_harmonics import shallow_water_solver, torch_harmonics
from neuralop_irno.data.fields import Splits, check_windows, windows
from neuralop_irno.data.scaling import Scaling
from neuralop_irno.data.sizes import fits, real, seed_of, three, whole
from neuralop_irno.data.splits import by_split
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.domain.sphere import GRIDS, colatitudes, row_weights
from neuralop_irno.errors import check_choice, expected
from neuralop_irno.registry import DATASETS

FIELDS = ("geopotential", "vorticity", "divergence")
"""Geopotential, vorticity and divergence."""

HOUR = 3600.0

LARGEST = 2048
"""The most rows of a grid: tables of Legendre functions grow with their cube."""

LONGEST_STEP = 38_400.0
"""The longest time step of the solver in seconds, times its rows; twice as long it is close to unstable."""


class ShallowWater:
    """Flows of shallow water from random states, as in the paper of SFNO (https://arxiv.org/abs/2306.03838).

    The solver works on ``resolution`` rows of Gauss with harmonics up to a third of that degree. Its states
    are evaluated on the grid of the data, which may have any number of rows beyond that degree.

    Args:
        size: rows of the data; there are twice as many columns.
        grid: of the data, one of `neuralop_irno.domain.sphere.GRIDS`.
        resolution: rows of the solver.
        mach: of the random initial states, relative to the speed of gravity waves.

    Example:
        >>> flow = ShallowWater(size=6)
        >>> flow.run(frames=2, frame=1.0, warmup=1.0, seed=0).shape
        torch.Size([2, 3, 6, 12])
    """

    def __init__(
        self, size: int = 32, grid: str = "equiangular", resolution: int | None = None, mach: float = 0.2
    ) -> None:
        check_choice("a grid of the sphere", grid, GRIDS)
        size = whole("size", size, 4, LARGEST)
        rows = whole("resolution", size if resolution is None else resolution, 4, LARGEST)
        degrees = math.ceil(rows / 3)
        if degrees >= size:
            wanted = f"at least {degrees + 1} rows for harmonics of {degrees} degrees"
            raise ValueError(expected(wanted, f"size={size}", "resolution=None"))
        self.mach, self.longest = real("mach", mach), LONGEST_STEP / rows
        harmonics = torch_harmonics()
        self._rows, self._degrees = rows, degrees
        options = {"lmax": degrees, "mmax": degrees, "csphase": False}
        self._synthesise = harmonics.InverseRealSHT(size, 2 * size, grid=grid, **options)

    def run(self, frames: int, frame: float, warmup: float, seed: int) -> Tensor:
        """One flow in physical units, ``(frames, 3, size, 2 size)``, in double precision.

        Args:
            frames: how many.
            frame: hours from one to the next.
            warmup: hours before the first.
            seed: of the initial state.
        """
        count = max(1, math.ceil(frame * HOUR / self.longest))
        step = frame * HOUR / count
        solver = shallow_water_solver(
            self._rows, 2 * self._rows, step, lmax=self._degrees, mmax=self._degrees, grid="legendre-gauss"
        )
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            state = solver.random_initial_condition(mach=self.mach)
            state = solver.timestep(state, math.ceil(warmup * HOUR / step))
            found = [self._synthesise(state)]
            for _ in range(frames - 1):
                state = solver.timestep(state, count)
                found.append(self._synthesise(state))
        flow = torch.stack(found)
        if not flow.isfinite().all():
            raise ValueError(expected("a flow that stays finite", "one that does not", "a smaller mach"))
        return flow


@DATASETS.register("shallow_water")
def shallow_water(
    trajectories: Sequence[int] = (16, 4, 4),
    frames: int = 10,
    frame: float = 1.0,
    size: int = 32,
    resolution: int | None = None,
    grid: str = "equiangular",
    outputs: int = 1,
    stride: int = 1,
    mach: float = 0.2,
    warmup: float = 6.0,
    seed: int = 0,
) -> Splits:
    """Shallow water on a rotating sphere: x holds one frame, y the next ``outputs`` frames.

    A frame holds the geopotential, the vorticity and the divergence, less their means and in units of their
    standard deviations in the training set. x also holds the sine of the latitude, to which the Coriolis
    force is proportional. It needs torch-harmonics, the extra ``sphere``.

    Args:
        trajectories: numbers of flows for training, validation and test.
        frames: states of each flow.
        frame: hours between states.
        size: rows of the grid, with twice as many columns.
        resolution: rows of the solver, by default ``size``. With the same resolution and seed, data of two
            sizes are the same flows.
        grid: ``equiangular`` (from pole to pole), ``legendre-gauss`` or ``lobatto``.
        outputs: frames in y.
        stride: frames between the starts of two training windows.
        mach: of the random initial states, relative to the speed of gravity waves.
        warmup: hours before the first state.
        seed: seed of the flows.

    Example:
        >>> splits = shallow_water(trajectories=(1, 1, 1), frames=3, size=8, resolution=8, warmup=0.1)
        >>> splits["train"].x.shape[-2:]  # latitudes and longitudes
        torch.Size([8, 16])
    """
    counts = three("trajectories", trajectories, (16, 4, 4))
    check_windows(whole("frames", frames), 1, whole("outputs", outputs), stride)  # before the solver runs
    hours = real("warmup", warmup, zero=True) + frames * real("frame", frame)
    first = seed_of(seed) * sum(counts)
    rows = whole("size", size, 4, LARGEST)
    fits(
        sum(counts) * frames * len(FIELDS) * 2.0 * rows**2,
        work=sum(counts) * hours * HOUR * rows**4 / LONGEST_STEP,
    )
    flow = ShallowWater(size, grid, resolution, mach)
    before = {place: sum(counts[:place]) for place in range(3)}

    def run(place: int, count: int) -> Tensor:
        seeds = range(first + before[place], first + before[place] + count)
        return torch.stack([flow.run(frames, frame, warmup, seed) for seed in seeds])

    fields = by_split(run, counts)
    scaling = over_sphere(fields["train"].flatten(0, 1), grid)
    known = Resolution(extent="fixed", sphere=grid)
    sine = colatitudes(grid, size).cos()[:, None].expand(size, 2 * size).float()

    def pairs(split: str) -> Tensor:
        scaled = scaling.apply(fields[split].flatten(0, 1)).float()
        return scaled.unflatten(0, fields[split].shape[:2]).flatten(1, 2)  # all fields of a frame together

    strides = {"train": stride, "valid": outputs, "test": outputs}
    return {
        split: windows(pairs(split), 1, outputs, every, sine, known, FIELDS, frame)
        for split, every in strides.items()
    }


def over_sphere(states: Tensor, grid: str) -> Scaling:
    """The mean and the standard deviation of each channel over a sphere and all states.

    Shapes:
        - states: ``(n, C, nlat, nlon)``

    Example:
        >>> over_sphere(torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1).expand(2, 1, 4, 8), "equiangular")
        Scaling(mean=(1.0,), std=(1.0,))
    """
    weight = row_weights(grid, states.shape[-2]).to(states)
    mean = (states * weight).mean((0, 2, 3))
    std = ((states - mean[:, None, None]).square() * weight).mean((0, 2, 3)).sqrt()
    return Scaling(tuple(mean.tolist()), tuple(std.tolist()))
