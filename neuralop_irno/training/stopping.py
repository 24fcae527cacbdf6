"""SIGTERM and SIGHUP: a training stops after its next update, with a snapshot."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

CODE = 128 + 15
"""The exit code that a shell reports for a process that SIGTERM ended."""

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(SystemExit):
    """A training was stopped by a signal after its snapshot was written; the process ends with `CODE`."""

    def __init__(self, reason: str) -> None:
        super().__init__(CODE)
        self.reason = reason


class StopRequest:
    """Whether a signal has arrived.

    Attributes:
        signal: its name; empty before it arrives.
    """

    def __init__(self) -> None:
        self.signal = ""

    def __bool__(self) -> bool:
        return bool(self.signal)


@contextmanager
def stop_request(heeded: bool = True) -> Iterator[StopRequest]:
    """Record the first SIGTERM or SIGHUP instead of ending the process; a second one has its usual effect.

    Args:
        heeded: False leaves signals unchanged, and the request stays empty. The same holds outside the
            main thread, where Python cannot handle signals.

    Example:
        >>> import os
        >>> with stop_request() as request:
        ...     os.kill(os.getpid(), signal.SIGTERM)
        ...     request.signal
        'SIGTERM'
    """
    request = StopRequest()
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        while before:
            number, handler = before.popitem()
            signal.signal(number, handler)

    def note(number: int, _: FrameType | None) -> None:
        request.signal = signal.Signals(number).name
        restore()

    if heeded and threading.current_thread() is threading.main_thread():
        # None was not set from Python and cannot be restored; signals that nohup ignores stay ignored.
        before = {n: signal.getsignal(n) for n in SIGNALS}
        before = {n: handler for n, handler in before.items() if handler not in (None, signal.SIG_IGN)}
        for number in before:
            signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
