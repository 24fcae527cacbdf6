"""What is shown while a training runs: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol

from tqdm import tqdm

EVERY = 30.0
"""Seconds between two lines in a log."""


class Display(Protocol):
    """Shows how far a training has come."""

    def say(self, text: str) -> None:
        """A line of its own."""

    def update(self, loss: float | None = None) -> None:
        """One more update is done; ``loss`` is the epoch's mean, where it was just read."""

    def close(self) -> None:
        """The training has ended."""


class Quiet:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

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

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._bar.write(text, file=sys.stderr)

    def update(self, loss: float | None = None) -> None:
        """Move the bar."""
        if loss is not None:
            self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


class Lines:
    """Lines in a log: one every `EVERY` seconds at most, and one at the end.

    Args:
        updates: of the whole training.
        done: those that an earlier process made.
        write: takes a line.
        clock: seconds from any origin.

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
        self.say = write or to_stderr
        self._clock = clock
        self._start = self._last = clock()
        self._loss = ""

    def update(self, loss: float | None = None) -> None:
        """Count, and write a line when it is time."""
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
        self.say(f"training: update {self.done} of {self.updates}{self._loss}, {seconds:.0f} s")


def display(updates: int, done: int, show: bool) -> Display:
    """The display that fits where standard error goes.

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
