"""A function within so much processor time: for readers of foreign formats, some of which never end."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

LOOK = 0.05
"""Seconds between two looks at the clock."""


class _Expired(BaseException):
    """Raised in the thread of a function whose time is up; no ``except Exception`` there stops it."""


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """What a function returns or raises.

    It runs in a thread of its own, whose Python code is stopped when the time is up.

    Args:
        seconds: of processor time, so that a busy machine does not shorten it.
        work: the function.

    Raises:
        TimeoutError: it did not end in that time.

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
        except BaseException as error:  # meshio ends the program where it cannot read
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
    """Seconds that a thread has computed; that have passed, where the system does not count the former."""
    start = time.monotonic()
    if not hasattr(time, "pthread_getcpuclockid"):
        return lambda: time.monotonic() - start

    def spent() -> float:
        try:
            return time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))
        except OSError:  # it has ended
            return 0.0

    return spent
