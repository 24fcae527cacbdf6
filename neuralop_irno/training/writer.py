"""Files written by a thread while the training goes on, one set of files at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

GRACE = 5.0
"""Seconds in which a training that has failed waits for the files of the other processes."""

EVERY = 0.01
"""Seconds between two looks for the files of other processes."""

Until = Callable[[Callable[[], bool]], None]
"""Waits until a function returns True."""


class Writer:
    """Calls one function at a time in a thread. It makes no collective calls: these are for the main thread.

    Example:
        >>> writer, written = Writer(), []
        >>> writer.start(lambda until: written.append("a file"))
        >>> writer.wait()
        >>> written
        ['a file']
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._given_up = threading.Event()

    def start(self, work: Callable[[Until], object]) -> None:
        """Wait for the function before, and call another one.

        Args:
            work: called with a function that waits for files of other processes.
        """
        self.wait()

        def run() -> None:
            try:
                work(self._until)
            except BaseException as error:  # raised again by `wait`, in the training
                self._error = error

        self._thread = threading.Thread(target=run, name="snapshot")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the function that was started last.

        Raises:
            BaseException: what it raised.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Wait after the training has ended, with an error perhaps: other processes may have ended too."""
        if self._thread is not None:
            self._thread.join(GRACE)
            self._given_up.set()
            self._thread.join()
            self._thread = None

    def _until(self, there: Callable[[], bool]) -> None:
        while not there():
            if self._given_up.wait(EVERY):
                raise RuntimeError("the files of other processes are missing")
