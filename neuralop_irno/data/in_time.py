"""How the channels of x and y are frames of a trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuralop_irno.errors import expected

REGULAR = 1e-3
"""Distances in time are equal if they differ by less than this share: times may be in single precision."""


@dataclass(frozen=True)
class InTime:
    """Frames as channels: all fields of the oldest frame first, then those of the next one.

    Channels of x after its frames are constant in time.

    Attributes:
        fields: the names of the channels of one frame.
        inputs: frames in x.
        outputs: frames in y, those that follow.
        step: the time between two frames.

    Example:
        >>> InTime(("u", "v"), inputs=2).channels
        4
    """

    fields: tuple[str, ...]
    inputs: int = 1
    outputs: int = 1
    step: float = 1.0

    def __post_init__(self) -> None:
        if not self.fields or self.inputs < 1 or self.outputs < 1 or not self.step > 0:
            raise ValueError(expected("a field, inputs >= 1, outputs >= 1 and step > 0", self, "step=0.1"))

    @property
    def channels(self) -> int:
        """The channels of x that are frames."""
        return self.inputs * len(self.fields)


def step_of(times: Sequence[float], what: str) -> float:
    """The distance of equidistant times.

    Args:
        times: two or more, ascending.
        what: whose they are, for the error.

    Raises:
        ValueError: they are not equidistant.

    Example:
        >>> step_of([0.0, 0.5, 1.0], "the data")
        0.5
    """
    gaps = np.diff(np.asarray(times, dtype=np.float64))
    low, high = float(gaps.min()), float(gaps.max())
    if high - low > REGULAR * abs(high):
        got = f"distances of {low:g} to {high:g}"
        raise ValueError(expected(f"frames at equal distances in time in {what}", got, f"step={low:g}"))
    return float(gaps.mean())
