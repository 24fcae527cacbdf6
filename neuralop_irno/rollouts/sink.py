"""Where the frames of a rollout go: to memory, to a function, or (see `files`) to a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from neuralop_irno.rollouts.outcome import Ending


@dataclass(frozen=True)
class Step:
    """One predicted frame.

    Attributes:
        index: its number, from 0.
        time: when it is; None without a clock.
        frame: of all samples, ``(B, C, *S)`` or ``(N, C)``; not finite for a sample that has blown up.
        lasted: frames of each sample that can be used if nothing more happens, ``(samples,)``.
        endings: of each sample if nothing more happens.
        carry: what the next call needs beside frames, by name.
    """

    index: int
    time: Tensor | float | None
    frame: Tensor
    lasted: Tensor
    endings: tuple[Ending, ...]
    carry: Mapping[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """What a rollout is going to do; a file is continued only by the rollout that began it.

    Attributes:
        start: the frames that were given and that the model sees, ``(B, T, C, *S)`` or ``(N, T, C)``.
        samples: how many there are.
        steps: frames to predict.
        block: frames that come from one history; a rollout is taken up again at a multiple of it.
        times: of the frames, ``(T,)`` or ``(samples, T)``; None without a clock.
        parts: what the first frames depend on, by name: (number of frames) -> the model and all options.
    """

    start: Tensor
    samples: int
    steps: int
    block: int
    times: Tensor | None
    parts: Callable[[int], Mapping[str, Any]]


@dataclass(frozen=True)
class Saved:
    """What an earlier run of the same rollout left.

    Attributes:
        first: the frame to go on with, at the start of a block.
        history: the last frames before it, as many as the model sees.
        lasted: see `Step`.
        endings: see `Step`.
        carry: see `Step`.
    """

    first: int
    history: Tensor
    lasted: Tensor
    endings: tuple[Ending, ...]
    carry: Mapping[str, Tensor]


class Sink(Protocol):
    """Takes the frames of one rollout, in order."""

    def begin(self, plan: Plan) -> Saved | None:
        """Get ready, without writing anything yet; what an earlier run left, where it is to be continued."""

    def write(self, step: Step) -> Ending | None:
        """Take one frame. It is not changed afterwards.

        Returns:
            `Ending.STOPPED` to end the rollout with this frame.
        """

    def finish(self) -> Tensor | None:
        """Close; all frames along a time axis, where they were kept."""


class Memory:
    """Keeps all frames, on their device.

    Args:
        stop: called after every frame; true ends the rollout there.
    """

    def __init__(self, stop: Callable[[], bool] | None = None) -> None:
        self._stop = stop

    def begin(self, plan: Plan) -> None:
        self._steps = plan.steps
        self._frames: list[Tensor] = []
        self._whole: Tensor | None = None

    def write(self, step: Step) -> Ending | None:
        if torch.is_grad_enabled():
            self._frames.append(step.frame)
        else:
            if self._whole is None:  # one block of memory; a stack at the end would hold everything twice
                shape = step.frame.shape
                self._whole = step.frame.new_empty((shape[0], self._steps, *shape[1:]))
            self._whole[:, step.index] = step.frame
        self._taken = step.index + 1
        return Ending.STOPPED if self._stop is not None and self._stop() else None

    def finish(self) -> Tensor | None:
        if self._frames:
            return torch.stack(self._frames, 1)
        return None if self._whole is None else self._whole[:, : self._taken]


class Callback:
    """Hands every step to a function, and keeps nothing. `Ending.STOPPED` in return ends the rollout."""

    def __init__(self, function: Callable[[Step], object]) -> None:
        self._function = function

    def begin(self, plan: Plan) -> None:
        """There is nothing to get ready."""

    def write(self, step: Step) -> Ending | None:
        return Ending.STOPPED if self._function(step) is Ending.STOPPED else None

    def finish(self) -> None:
        """There is nothing to close."""
