"""Pairs of fields in memory, with the keys of neuraloperator's batches: x and y."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neuralop_irno.data.in_time import InTime
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.errors import expected


class FieldDataset(Dataset[dict[str, Any]]):
    """Pairs of fields held in memory.

    Args:
        x: inputs, ``(n, in_channels, *S)``.
        y: targets, ``(n, out_channels, *S)``.
        files: the files that the fields were read from.
        groups: the trajectory of each pair, ``(n,)``; None if the pairs are independent.
        resolution: what is known of the grid. On a sphere samples have the entry ``sphere``, its grid, too.
        in_time: how x and y are frames of trajectories; None if they are not.

    Attributes:
        padding: of each axis, for corrections that do not set it; None if the grid does not imply it.
        summary: one line on what was read, for the user.

    Example:
        >>> data = FieldDataset(torch.zeros(3, 2, 8), torch.zeros(3, 1, 8))
        >>> sorted(data[0]), len(data)
        (['x', 'y'], 3)
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        files: tuple[Path, ...] = (),
        groups: Tensor | None = None,
        resolution: Resolution | None = None,
        in_time: InTime | None = None,
    ) -> None:
        if len(x) != len(y):
            raise ValueError(expected("as many targets as inputs", f"{len(x)} x, {len(y)} y", "one y per x"))
        self.x, self.y, self.files, self.groups = x, y, files, groups
        self.resolution = resolution or Resolution()
        self.padding, self.in_time, self.summary = self.resolution.padding, in_time, ""

    def __repr__(self) -> str:
        shapes = f"x {tuple(self.x.shape[1:])}, y {tuple(self.y.shape[1:])}"
        return f"{type(self).__name__}({len(self)} pairs: {shapes})"

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = {"x": self.x[index], "y": self.y[index]}
        grid = self.resolution.sphere
        return pair if grid is None else {**pair, "sphere": grid}


def windows(
    frames: Tensor,
    inputs: int = 1,
    outputs: int = 1,
    stride: int = 1,
    static: Tensor | None = None,
    resolution: Resolution | None = None,
    fields: Sequence[str] = ("u",),
    step: float = 1.0,
) -> FieldDataset:
    """Cut trajectories into pairs: x holds some frames, y those that follow.

    Args:
        frames: ``(trajectories, T, *S)``, or ``(trajectories, T * C, *S)``, all fields of a frame together.
        inputs: frames in x, as channels.
        outputs: frames in y, as channels.
        stride: frames between the starts of two windows.
        static: a constant field, ``S``, appended to x as its last channel.
        resolution: what is known of the grid.
        fields: the names of the C channels of a frame.
        step: the time between two frames.

    Shapes:
        - x: ``(n, inputs * C [+ 1], *S)``; y: ``(n, outputs * C, *S)``

    Example:
        >>> data = windows(torch.arange(5.0).reshape(1, 5, 1), inputs=2, outputs=1)
        >>> [(pair["x"].flatten().tolist(), pair["y"].item()) for pair in data]
        [([0.0, 1.0], 2.0), ([1.0, 2.0], 3.0), ([2.0, 3.0], 4.0)]
    """
    known = InTime(tuple(fields), inputs, outputs, step)
    count = len(known.fields)
    check_windows(frames.shape[1] // count, inputs, outputs, stride)
    length = count * (inputs + outputs)
    starts = range(0, frames.shape[1] - length + 1, count * stride)
    cut = torch.stack([frames[:, s : s + length] for s in starts], 1).flatten(0, 1)
    x, y = cut[:, : known.channels], cut[:, known.channels :]
    if static is not None:
        x = torch.cat([x, static.expand(len(x), 1, *static.shape)], 1)
    groups = torch.arange(len(frames)).repeat_interleave(len(starts))
    return FieldDataset(x.contiguous(), y.contiguous(), groups=groups, resolution=resolution, in_time=known)


def check_windows(frames: int, inputs: int, outputs: int, stride: int) -> None:
    """Raise a ValueError if windows do not fit trajectories of this many frames."""
    for name, value in (("inputs", inputs), ("outputs", outputs), ("stride", stride)):
        if value < 1:
            raise ValueError(expected(f"{name} >= 1", value, f"{name}=1"))
    if frames < inputs + outputs:
        wanted = f"trajectories of at least {inputs + outputs} frames"
        raise ValueError(expected(wanted, frames, "fewer outputs"))


Splits = dict[str, FieldDataset]
"""Training, validation and test set, by name."""
