"""A generated super-resolution data set: turbulence and its coarse means."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F

from neuralop_irno.data.fields import FieldDataset, Splits
from neuralop_irno.data.solvers.generated_flows import turbulence
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS


@DATASETS.register("coarse_turbulence")
def coarse_turbulence(
    trajectories: Sequence[int] = (64, 8, 16),
    factor: int = 4,
    size: int = 32,
    resolution: int = 64,
    viscosity: float = 4e-3,
    frames: int = 40,
    frame: float = 0.1,
    stride: int = 4,
    seed: int = 0,
    device: str = "cpu",
) -> Splits:
    """Super-resolution: x holds means over squares of ``factor`` points per side, y the vorticity.

    Both are in units of the training set's standard deviation; the flows are those of `turbulence`.

    Args:
        trajectories: numbers of flows for training, validation and test.
        factor: how many times fewer points per side x has.
        size: points per side of y.
        resolution: points per side of the solver.
        viscosity: the smaller, the finer the scales.
        frames: snapshots of each flow.
        frame: the time between snapshots.
        stride: use every ``stride``-th frame.
        seed: seed of the flows.
        device: device of the solver.
    """
    if factor < 1 or size % factor:
        raise ValueError(expected(f"a factor that divides {size} points", factor, "factor=4"))
    flows = turbulence(
        trajectories, frames, frame, size, resolution, 1, stride, viscosity, seed=seed, device=device
    )
    return {
        split: FieldDataset(
            F.avg_pool2d(flow.y, factor), flow.y, groups=flow.groups, resolution=flow.resolution
        )
        for split, flow in flows.items()
    }
