"""The numbers of input and output frames of a model, and their layout on channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuralop_irno.annotations import as_whole
from neuralop_irno.errors import check_choice, expected

ORDERS = ("time", "channel")


@dataclass(frozen=True)
class Window:
    """From the last ``inputs`` frames to the next ``outputs`` frames, joined on channels.

    Args:
        inputs: the number of input frames, the oldest first.
        outputs: the number of predicted frames of a call.
        order: of the model's channels. With ``time``, all channels of the oldest
            frame, then all of the next, as in The Well; with ``channel``, all times of the
            first channel, then all of the second.

    Shapes:
        - frames: ``(B, T, C, *S)`` on grids, ``(N, T, C)`` on graphs
        - on the model's channels: ``(B, T * C, *S)`` and ``(N, T * C)``

    Example:
        >>> frames = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])  # one node, two times, two channels
        >>> Window(inputs=2).pack(frames), Window(inputs=2, order="channel").pack(frames)
        (tensor([[1., 2., 3., 4.]]), tensor([[1., 3., 2., 4.]]))
    """

    inputs: int = 1
    outputs: int = 1
    order: str = "time"

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            value = as_whole(getattr(self, name))
            if value is None or value < 1:
                raise ValueError(expected(f"{name} >= 1", repr(getattr(self, name)), f"{name}=1"))
            object.__setattr__(self, name, value)
        check_choice("an order of channels", self.order, ORDERS)

    def pack(self, frames: Tensor) -> Tensor:
        """Join frames on channels."""
        return (frames if self.order == "time" else frames.transpose(1, 2)).flatten(1, 2)

    def unpack(self, answer: Tensor, like: Tensor) -> Tensor:
        """The frames of an output.

        Args:
            answer: the model's output.
            like: frames of the same fields.
        """
        channels = like.shape[2]
        shape = (like.shape[0], self.outputs * channels, *like.shape[3:])
        if answer.shape != shape:
            wanted = f"an output of shape {shape}, {self.outputs} frames like the input frames"
            hint = "static= for fields that the model does not predict, or Window(outputs=...)"
            raise ValueError(expected(wanted, tuple(answer.shape), hint))
        if self.order == "time":
            return answer.unflatten(1, (self.outputs, channels))
        return answer.unflatten(1, (channels, self.outputs)).transpose(1, 2)

    def last(self, frames: Tensor) -> Tensor:
        """The last ``inputs`` of the given frames."""
        if frames.shape[1] < self.inputs:
            wanted = f"a start of at least {self.inputs} frames"
            raise ValueError(expected(wanted, frames.shape[1], "an earlier start"))
        return frames[:, frames.shape[1] - self.inputs :]

    def slide(self, history: Tensor, frames: Tensor) -> Tensor:
        """The history after further frames."""
        if frames.shape[1] >= self.inputs:
            return self.last(frames)
        return self.last(torch.cat([history, frames], 1))
