"""Files written by a thread while the training goes on, one set of files at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from neuralop_irno.errors import expected

GRACE = 5.0
"""Seconds in which a training that has failed waits for the files of the other processes."""

EVERY = 0.01
"""Seconds between two looks for the files of other processes."""

PATIENCE = 1800.0
"""Seconds to wait for the files of processes that may have ended: those of torch's collective calls."""

Until = Callable[[Sequence[Path]], None]
"""Waits until all of some files are there."""


class Writer:
    """Calls one function at a time in a thread. It makes no collective calls: these are for the main thread.

    Args:
        patience: seconds to wait for files of other processes.

    Example:
        >>> writer, written = Writer(), []
        >>> writer.start(lambda until: written.append("a file"))
        >>> writer.wait()
        >>> written
        ['a file']
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
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

    def _until(self, files: Sequence[Path]) -> None:
        end = time.monotonic() + self._patience
        while missing := [file.name for file in files if not file.is_file()]:
            if self._given_up.wait(EVERY) or time.monotonic() > end:
                wanted = f"the files of all processes within {self._patience:g} s"
                hint = "resume=True: a process has ended, or cannot write to the folder"
                raise TimeoutError(expected(wanted, f"no {', '.join(missing)}", hint))
