"""Data sets of frames from turbulence, the Burgers and the Kuramoto-Sivashinsky equation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from neuralop_irno.data.fields import Splits, check_windows, windows
from neuralop_irno.data.sizes import available_device, fits, seed_of, three, whole
from neuralop_irno.data.solvers.burgers import Burgers
from neuralop_irno.data.solvers.flow import PeriodicFlow
from neuralop_irno.data.solvers.kuramoto_sivashinsky import KuramotoSivashinsky
from neuralop_irno.data.solvers.turbulence import Turbulence
from neuralop_irno.data.splits import by_split
from neuralop_irno.errors import expected
from neuralop_irno.registry import DATASETS


@dataclass(frozen=True)
class Snapshots:
    """The flows of a data set and the frames taken of each, with the same meaning for every equation.

    Attributes:
        trajectories: numbers of flows for training, validation and test.
        frames: snapshots of each flow.
        frame: the time between snapshots.
        size: points per side.
        seed: seed of the flows.
        warmup: simulated time before the first snapshot.
    """

    trajectories: Sequence[int]
    frames: int
    frame: float
    size: int
    seed: int
    warmup: float = 0.0

    def of(self, flow: PeriodicFlow) -> dict[str, Tensor]:
        """The snapshots of each split, ``(trajectories, frames, *S)``."""
        counts = three("trajectories", self.trajectories, (64, 8, 16))
        seed_of(self.seed)
        fits(sum(counts) * whole("frames", self.frames) * float(whole("size", self.size)) ** flow.grid.dim)

        if self.size > flow.grid.size:  # before hours of solving
            wanted = f"at most {flow.grid.size} points per side, those of the solver"
            raise ValueError(expected(wanted, f"size={self.size}", f"resolution={self.size}"))

        def run(place: int, count: int) -> Tensor:
            seed = 3 * self.seed + place
            return flow.run(count, self.frames, self.frame, seed, self.warmup, self.size).cpu()

        return by_split(run, counts)


@DATASETS.register("turbulence")
def turbulence(
    trajectories: Sequence[int] = (64, 8, 16),
    frames: int = 40,
    frame: float = 0.1,
    size: int = 32,
    resolution: int = 64,
    outputs: int = 4,
    stride: int = 1,
    viscosity: float = 4e-3,
    warmup: float = 4.0,
    seed: int = 0,
    device: str = "cpu",
) -> Splits:
    """Two-dimensional turbulence: x holds one frame of vorticity, y the next ``outputs`` frames.

    x also holds the forcing; all are in units of the training set's standard deviation. With the forcing in x
    the problem is translation invariant. The splits are different flows, not different times of one flow.

    Args:
        trajectories: numbers of flows for training, validation and test.
        frames: snapshots of each flow.
        frame: the time between snapshots.
        size: points per side.
        resolution: points per side of the solver.
        outputs: frames in y.
        stride: frames between the starts of two training windows.
        viscosity: the smaller, the finer the scales.
        warmup: simulated time before the first snapshot.
        seed: seed of the flows.
        device: device of the solver.

    Example:
        >>> splits = turbulence(trajectories=(1, 1, 1), frames=5, size=16, resolution=16, warmup=0.1)
        >>> splits["train"].x.shape, splits["train"].y.shape  # the forcing is a channel of x
        (torch.Size([1, 2, 16, 16]), torch.Size([1, 4, 16, 16]))
    """
    check_windows(frames, 1, outputs, stride)  # fail before hours of solving
    flow = Turbulence(resolution, viscosity, device=available_device(device))
    fields = Snapshots(trajectories, frames, frame, size, seed, warmup).of(flow)
    scale = fields["train"].std()
    forcing = flow.grid.coarsen(flow.grid.transform(flow.forcing), size).cpu()
    return {
        split: windows(
            field / scale,
            1,
            outputs,
            stride if split == "train" else outputs,
            forcing / forcing.std(),
            flow.resolution,
            ("vorticity",),
            frame,
        )
        for split, field in fields.items()
    }


@DATASETS.register("burgers")
def burgers(
    trajectories: Sequence[int] = (64, 8, 16),
    frames: int = 20,
    frame: float = 0.1,
    size: int = 64,
    dim: int = 1,
    outputs: int = 1,
    viscosity: float = 0.02,
    seed: int = 0,
    device: str = "cpu",
    resolution: int | None = None,
) -> Splits:
    """The Burgers equation in one, two or three dimensions: x holds one frame, y the next ``outputs``.

    Where the points of the solver do not resolve the fronts, x and y are those of its scheme on these
    points. With the same ``resolution`` data of every size are the same flows, without the waves that the
    size cannot show.

    Args:
        trajectories: numbers of flows for training, validation and test.
        frames: snapshots of each flow.
        frame: the time between snapshots.
        size: points per side.
        dim: 1, 2 or 3.
        outputs: frames in y.
        viscosity: the smaller, the steeper the fronts.
        seed: seed of the flows.
        device: device of the solver.
        resolution: points per side of the solver, at least ``size``; by default as many.

    Example:
        >>> splits = burgers(trajectories=(2, 1, 1), frames=4, size=16)
        >>> splits["train"].x.shape  # three pairs of each trajectory
        torch.Size([6, 1, 16])
    """
    flow = Burgers(
        size if resolution is None else resolution, dim, viscosity, device=available_device(device)
    )
    return _next_frames(flow, outputs, Snapshots(trajectories, frames, frame, size, seed))


@DATASETS.register("kuramoto_sivashinsky")
def kuramoto_sivashinsky(
    trajectories: Sequence[int] = (64, 8, 16),
    frames: int = 40,
    frame: float = 1.0,
    size: int = 64,
    length: float = 36.0,
    outputs: int = 1,
    warmup: float = 100.0,
    seed: int = 0,
    device: str = "cpu",
) -> Splits:
    """The Kuramoto-Sivashinsky equation in one dimension: x holds one frame, y the next ``outputs``.

    Args:
        trajectories: numbers of flows for training, validation and test.
        frames: snapshots of each flow.
        frame: the time between snapshots.
        size: points.
        length: length of the domain.
        outputs: frames in y.
        warmup: simulated time before the first snapshot.
        seed: seed of the flows.
        device: device of the solver.

    Example:
        >>> splits = kuramoto_sivashinsky(trajectories=(1, 1, 1), frames=4, size=32, warmup=1.0)
        >>> splits["train"].x.shape
        torch.Size([3, 1, 32])
    """
    flow = KuramotoSivashinsky(size, length, device=available_device(device))
    return _next_frames(flow, outputs, Snapshots(trajectories, frames, frame, size, seed, warmup))


def _next_frames(flow: PeriodicFlow, outputs: int, snapshots: Snapshots) -> Splits:
    """Pairs of a frame and the next ``outputs`` frames, in the units of the equation."""
    check_windows(snapshots.frames, 1, outputs, outputs)
    fields = snapshots.of(flow)
    return {
        split: windows(field, 1, outputs, outputs, resolution=flow.resolution, step=snapshots.frame)
        for split, field in fields.items()
    }
