"""Reassemble trajectories from the pairs of frames that they were cut into."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neuralop_irno.data.fields import FieldDataset
from neuralop_irno.errors import expected


class JoinedTrajectories(NamedTuple):
    """Trajectories of equal length: the initial frames of a rollout and its reference.

    Attributes:
        start: the frames of the first window, ``(trajectories, inputs, C, *S)``.
        static: the constant channels of x, ``(trajectories, channels, *S)``; None if there are none.
        frames: the frames that follow, ``(trajectories, T, C, *S)``.
        outputs: number of frames in one y.

    Example:
        >>> import neuralop_irno as irno
        >>> pairs = irno.turbulence((1, 1, 1), frames=6, resolution=32, outputs=1, warmup=0.1)["test"]
        >>> flow = join_pairs(pairs, 5)
        >>> flow.start.shape, flow.frames.shape
        (torch.Size([1, 1, 1, 32, 32]), torch.Size([1, 5, 1, 32, 32]))
    """

    start: Tensor
    static: Tensor | None
    frames: Tensor
    outputs: int

    def __repr__(self) -> str:
        counts = f"{len(self.frames)} of {self.frames.shape[1]} frames {tuple(self.frames.shape[2:])}"
        return f"JoinedTrajectories({counts}, {self.start.shape[1]} to start from)"


def join_pairs(data: FieldDataset, steps: int, fields: int = 1, inputs: int = 1) -> JoinedTrajectories:
    """Join consecutive pairs to trajectories.

    A pair continues the previous one if its x equals, bit for bit, the last frames of that pair. This holds
    in validation and test sets; in training sets windows overlap, and every pair is a separate trajectory.

    Args:
        data: pairs of x (``inputs`` frames, then constant channels) and y (the frames that follow).
        steps: number of frames; shorter trajectories are left out.
        fields: channels of a frame.
        inputs: frames in x, the oldest first.

    Example:
        >>> from neuralop_irno.data.fields import windows
        >>> series = torch.stack([torch.arange(7.0), torch.arange(7.0) + 10])[..., None].expand(2, 7, 4)
        >>> found = join_pairs(windows(series, outputs=2, stride=2), steps=5)
        >>> found.start[:, 0, 0, 0].tolist(), found.frames[0, :, 0, 0].tolist()
        ([0.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    """
    first, lengths = runs_of(data, fields, inputs)
    seen, after = data.x[:, : inputs * fields], data.y
    outputs = after.shape[1] // fields
    long = lengths >= steps
    if not long.any():
        hint = "fewer steps, or the test split"
        raise ValueError(expected(f"flows of {steps} frames", int(lengths.max()), hint))
    pairs = -(-steps // outputs)
    rows = first[long][:, None] + torch.arange(pairs)
    frames = after[rows].flatten(1, 2).unflatten(1, (pairs * outputs, fields))[:, :steps]
    begin = first[long]
    static = data.x[begin, inputs * fields :]
    return JoinedTrajectories(
        seen[begin].unflatten(1, (inputs, fields)), static if static.shape[1] else None, frames, outputs
    )


def runs_of(data: FieldDataset, fields: int = 1, inputs: int = 1) -> tuple[Tensor, Tensor]:
    """The first pair of each trajectory, and the number of frames that follow its x.

    Args:
        data: see `join_pairs`, as for the others.
        fields: channels of a frame.
        inputs: frames in x.

    Shapes:
        - returns: ``(trajectories,)``, twice
    """
    if fields < 1 or inputs < 1:
        got = f"fields={fields}, inputs={inputs}"
        raise ValueError(expected("fields >= 1 and inputs >= 1", got, "fields=1, inputs=1"))
    seen, after = data.x[:, : inputs * fields], data.y
    if after.shape[1] % fields or seen.shape[1] < inputs * fields:
        got = f"{data.x.shape[1]} channels in x and {after.shape[1]} in y"
        wanted = f"x and y of frames of {fields} fields"
        raise ValueError(expected(wanted, got, "fields=the channels of one frame"))
    ends = torch.cat([seen, after], 1)[:, -inputs * fields :]
    goes_on = (ends[:-1] == seen[1:]).flatten(1).all(1)
    first = torch.cat([goes_on.new_ones(1), ~goes_on]).nonzero()[:, 0]
    pairs = torch.cat([first[1:], first.new_tensor([len(seen)])]) - first
    return first, pairs * (after.shape[1] // fields)
