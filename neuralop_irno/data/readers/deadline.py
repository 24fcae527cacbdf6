"""Run a function with a limit on CPU time; some readers of foreign formats hang on damaged files."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

LOOK = 0.05
"""Seconds between two checks of the clock."""


class _Expired(BaseException):
    """Raised in the thread of a function that is out of time; ``except Exception`` does not catch it."""


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """Run a function with a time limit and return its result, or raise its exception.

    It runs in a separate thread, whose Python code is stopped when the time is up.

    Args:
        seconds: limit in CPU time, so that a busy machine does not shorten it.
        work: the function.

    Raises:
        TimeoutError: the function did not end within the limit.

    Example:
        >>> within(10.0, lambda: 6 * 7)
        42
    """
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, work()))
        except _Expired:
            pass
        except BaseException as error:  # meshio calls sys.exit on files it cannot read
            outcome.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    spent = _clock_of(thread)
    while thread.is_alive():
        thread.join(LOOK)
        if thread.is_alive() and spent() > seconds:
            number = ctypes.c_ulong(thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(_Expired))
    if not outcome:
        raise TimeoutError(f"no end after {seconds:g} s")
    returned, value = outcome[0]
    if not returned:
        raise value
    return value


def _clock_of(thread: threading.Thread) -> Callable[[], float]:
    """Clock of a thread's CPU time; wall time on systems without thread clocks."""
    start = time.monotonic()
    if not hasattr(time, "pthread_getcpuclockid"):
        return lambda: time.monotonic() - start

    def spent() -> float:
        try:
            return time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))
        except OSError:  # it has ended
            return 0.0

    return spent
