"""Sinks for the frames of a rollout: memory, a function, or (see `files`) a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.outcome import Ending
from neuralop_irno.rollouts.place import Place


@dataclass(frozen=True)
class Step:
    """One predicted frame.

    Attributes:
        index: its number, from 0.
        time: of the frame; None without a clock.
        frame: of all samples, ``(B, C, *S)`` or ``(N, C)``; not finite for a sample that has blown up.
        lasted: the number of valid frames of each sample if no other sample leaves, ``(samples,)``.
        endings: of each sample if no other sample leaves.
        carry: the refinement's state for the next call, by name.
        moved: the arrays of its mesh, if that moves, by their names in files.
    """

    index: int
    time: Tensor | float | None
    frame: Tensor
    lasted: Tensor
    endings: tuple[Ending, ...]
    carry: Mapping[str, Tensor]
    moved: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The start, length and options of a rollout; a file is continued only with equal ones.

    Attributes:
        start: the first input frames, ``(B, T, C, *S)`` or ``(N, T, C)``.
        samples: their number.
        steps: the number of frames to predict.
        block: frames from one history; a rollout is continued at a multiple of it.
        times: of the frames, ``(T,)`` or ``(samples, T)``; None without a clock.
        parts: (number of frames) -> the model and the options that the first frames depend on, by name.
        place: the axes of a frame, with coordinates and mesh.
    """

    start: Tensor
    samples: int
    steps: int
    block: int
    times: Tensor | None
    parts: Callable[[int], Mapping[str, Any]]
    place: Place


@dataclass(frozen=True)
class Saved:
    """The state of an earlier run of the same rollout.

    Attributes:
        first: the number of the next frame, at the start of a block.
        history: the input frames for it.
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
    """Receives the frames of one rollout, in order."""

    def begin(self, plan: Plan) -> Saved | None:
        """Start, without writing; returns the state of an earlier run that is to be continued, if any."""

    def write(self, step: Step) -> Ending | None:
        """Write one frame. It is not changed afterwards.

        Returns:
            `Ending.STOPPED` to end the rollout with this frame.
        """

    def finish(self) -> Tensor | None:
        """Close; returns all frames along a time axis, if they were kept in memory."""


class Memory:
    """Keeps all frames, on their device."""

    def begin(self, plan: Plan) -> None:
        self._steps = plan.steps
        self._frames: list[Tensor] = []
        self._whole: Tensor | None = None

    def write(self, step: Step) -> None:
        if torch.is_grad_enabled():
            self._frames.append(step.frame)
        else:
            if self._whole is None:  # one block of memory; a stack at the end would need twice as much
                shape = step.frame.shape
                self._whole = step.frame.new_empty((shape[0], self._steps, *shape[1:]))
            self._whole[:, step.index] = step.frame
        self._taken = step.index + 1

    def finish(self) -> Tensor | None:
        if self._frames:
            return torch.stack(self._frames, 1)
        return None if self._whole is None else self._whole[:, : self._taken]


class Until:
    """Another sink, until a function ends the rollout. A rollout in a file can then be continued.

    Args:
        sink: receives all frames up to the end.
        stop: called after every frame; a true result ends the rollout.
    """

    def __init__(self, sink: Sink, stop: Callable[[], bool]) -> None:
        self._sink, self._stop = sink, stop

    def begin(self, plan: Plan) -> Saved | None:
        return self._sink.begin(plan)

    def write(self, step: Step) -> Ending | None:
        ended = self._sink.write(step)
        return Ending.STOPPED if self._stop() else ended

    def finish(self) -> Tensor | None:
        return self._sink.finish()


class Callback:
    """Calls a function with every step and stores no frames. `Ending.STOPPED` in return ends the rollout."""

    def __init__(self, function: Callable[[Step], object]) -> None:
        self._function = function

    def begin(self, plan: Plan) -> None:
        """Nothing to do."""

    def write(self, step: Step) -> Ending | None:
        return Ending.STOPPED if self._function(step) is Ending.STOPPED else None

    def finish(self) -> None:
        """Nothing to do."""


class Several:
    """Passes every frame to several sinks, at most one of which stores or continues the rollout.

    Args:
        sinks: in order. Any of them may end the rollout; the others take its last frame, too.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        keeping = [sink for sink in sinks if not isinstance(sink, Callback)]
        if not sinks or len(keeping) > 1:
            got = f"{len(keeping)} places to keep frames in"
            hint = "to=['run.zarr', function], or [None, function] to keep them in memory"
            raise ValueError(expected("one place for the frames, and functions", got, hint))
        self._sinks = list(sinks)

    def begin(self, plan: Plan) -> Saved | None:
        saved = [sink.begin(plan) for sink in self._sinks]
        return next((each for each in saved if each is not None), None)

    def write(self, step: Step) -> Ending | None:
        endings = [sink.write(step) for sink in self._sinks]
        return Ending.STOPPED if Ending.STOPPED in endings else None

    def finish(self) -> Tensor | None:
        kept = [sink.finish() for sink in self._sinks]
        return next((each for each in kept if each is not None), None)
