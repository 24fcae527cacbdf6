"""Trajectories as a data set of short segments: input frames, and the frames that follow."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.base.pyg import graph_among
from neuralop_irno.errors import expected


class TrajectorySegments(Dataset[Any]):
    """Segments of ``inputs + frames`` frames of every trajectory, as `RolloutModel` needs them.

    Args:
        trajectories: fields on grids with a time axis, ``(T, C, *S)`` each, or graphs of PyTorch Geometric
            with x of shape ``(N, T, C)``.
        inputs: the number of input frames.
        frames: the number of frames that follow.
        every: frames between the starts of two segments.

    Shapes:
        - x of a sample: ``(inputs * C, *S)`` or ``(N, inputs * C)``, time before channels
        - y of a sample: ``(frames * C, *S)`` or ``(N, frames * C)``

    Example:
        >>> import torch
        >>> data = TrajectorySegments(torch.arange(12.0).reshape(2, 6, 1, 1), inputs=2, frames=3)
        >>> len(data), data[1]["x"].flatten().tolist(), data[1]["y"].flatten().tolist()
        (4, [1.0, 2.0], [3.0, 4.0, 5.0])
    """

    def __init__(
        self, trajectories: Sequence[Any] | Tensor, inputs: int, frames: int, every: int = 1
    ) -> None:
        for name, value in {"inputs": inputs, "frames": frames, "every": every}.items():
            if value < 1:
                raise ValueError(expected(f"{name} >= 1", value, f"{name}=1"))
        self._trajectories, self._inputs, self._frames = trajectories, inputs, frames
        self._places = [
            (number, first)
            for number, trajectory in enumerate(trajectories)
            for first in range(0, _length(trajectory) - inputs - frames + 1, every)
        ]
        if not self._places:
            longest = max((_length(trajectory) for trajectory in trajectories), default=0)
            wanted = f"trajectories of {inputs + frames} frames"
            raise ValueError(expected(wanted, f"at most {longest}", "fewer frames"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} segments: {self._inputs} to {self._frames} frames)"

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: int) -> Any:
        number, first = self._places[place]
        trajectory: Any = self._trajectories[number]
        middle = first + self._inputs
        if graph_among((trajectory,), {}) is None:
            return {
                "x": trajectory[first:middle].flatten(0, 1),
                "y": trajectory[middle : middle + self._frames].flatten(0, 1),
            }
        graph, fields = copy.copy(trajectory), trajectory.x
        graph.x = fields[:, first:middle].flatten(1, 2)
        graph.y = fields[:, middle : middle + self._frames].flatten(1, 2)
        return graph


def _length(trajectory: Any) -> int:
    """Frames of a trajectory."""
    if graph_among((trajectory,), {}) is None:
        return len(trajectory)
    return int(trajectory.x.shape[1])
