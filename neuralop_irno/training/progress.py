"""Progress of a training: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol

from tqdm import tqdm

EVERY = 30.0
"""Seconds between two lines in a log."""


class Display(Protocol):
    """Shows the progress of a training."""

    def update(self, loss: float | None = None) -> None:
        """Count one update; ``loss`` is the mean of the epoch so far, if it was computed."""

    def close(self) -> None:
        """End the display."""


class Quiet:
    """Shows nothing."""

    def update(self, loss: float | None = None) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Bar:
    """A progress bar on a terminal.

    Args:
        updates: of the whole training.
        done: those that an earlier process made.
    """

    def __init__(self, updates: int, done: int) -> None:
        self._bar = tqdm(total=updates, initial=done, desc="training", unit="update")

    def update(self, loss: float | None = None) -> None:
        """Move the bar."""
        if loss is not None:
            self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self._bar.update()

    def close(self) -> None:
        """End the bar in its current state."""
        self._bar.close()


class Lines:
    """Lines in a log: one every `EVERY` seconds at most, and one at the end.

    Args:
        updates: of the whole training.
        done: updates made before a resumption.
        write: called with each line.
        clock: returns the time in seconds.

    Example:
        >>> lines = Lines(4, done=2, write=print)
        >>> lines.update(loss=0.0123)
        >>> lines.close()
        training: update 3 of 4, loss 0.0123, 0 s
    """

    def __init__(
        self,
        updates: int,
        done: int,
        write: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.updates, self.done = updates, done
        self._write_line = write or to_stderr
        self._clock = clock
        self._start = self._last = clock()
        self._loss = ""

    def update(self, loss: float | None = None) -> None:
        """Count one update; write a line if the last one is `EVERY` seconds old."""
        self.done += 1
        if loss is not None:
            self._loss = f", loss {loss:.4g}"
        if self._clock() - self._last >= EVERY:
            self._write()

    def close(self) -> None:
        """Write the last line."""
        self._write()

    def _write(self) -> None:
        self._last = self._clock()
        seconds = self._last - self._start
        self._write_line(f"training: update {self.done} of {self.updates}{self._loss}, {seconds:.0f} s")


def display(updates: int, done: int, show: bool) -> Display:
    """A bar if standard error is a terminal, otherwise lines.

    Args:
        updates: of the whole training.
        done: those that an earlier process made.
        show: False shows nothing.
    """
    if not show:
        return Quiet()
    return Bar(updates, done) if sys.stderr.isatty() else Lines(updates, done)


def to_stderr(text: str) -> None:
    """Write a line for the user."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
