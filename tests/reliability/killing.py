"""Work in a forked child that is killed with SIGKILL after a while."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable


def child(work: Callable[[], object], seconds: float | None = None) -> bool:
    """Run something in a child, and kill it after a while; whether it was killed before it ended.

    A fork has everything imported, so that a kill falls in the work itself.
    """
    process = os.fork()
    if not process:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, -signal.SIGKILL), "a child failed"
    return code != 0


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that a call takes in a child that is not killed."""
    start = time.monotonic()
    assert not child(work), "a child was killed from outside"
    return time.monotonic() - start
