"""Claims of runs: files with a heartbeat, for processes and hosts that share a folder and no server.

The claims of a run are numbered files in one folder. The highest number counts, and a claim is made by
creating the next one with ``O_EXCL``, which fails if another process has just done so, also on network file
systems. No file of an unfinished run is removed or renamed, so a number never stands for two claims.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

BEAT = 10.0
"""Seconds between two heartbeats."""

STALE = 60.0
"""Seconds without a heartbeat after which another process takes a run over."""

POLL = 0.1
"""Seconds between two attempts of `waited_for`."""

RELEASED = b"released\n"
"""The last line of a claim that its process has given up."""


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Claim a run while the block runs; False if another process holds it.

    The claim of a process that was killed is taken over: at once on the same host, elsewhere when it has had
    no heartbeat for `STALE` seconds.

    Args:
        folder: the folder of the run's claims; see `forget`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place, claimed(Path(place) / "run") as first:
        ...     with claimed(Path(place) / "run") as second:
        ...         print(first, second)
        True False
    """
    file = _claim(folder)
    if file is None:
        yield False
        return
    ended = threading.Event()
    beats = threading.Thread(target=_beat, args=(file, ended), daemon=True)
    beats.start()
    try:
        yield True
    finally:
        ended.set()
        beats.join()
        with suppress(FileNotFoundError), file.open("r+b") as stream:  # gone if the run is finished
            stream.seek(0, os.SEEK_END)
            stream.write(RELEASED)


@contextmanager
def waited_for(folder: Path) -> Iterator[None]:
    """Claim as `claimed`, after waiting until no other process holds the claim."""
    while True:
        with claimed(folder) as own:
            if own:
                yield
                return
        time.sleep(POLL)


def is_claimed(folder: Path) -> bool:
    """Whether a process holds the run: the last claim is not released, and not that of a killed process."""
    last = _last(folder)
    return bool(last) and _is_alive(_file(folder, last))


def forget(folder: Path) -> None:
    """Remove the claims of a run that is finished."""
    shutil.rmtree(folder, ignore_errors=True)


def _claim(folder: Path) -> Path | None:
    """The file of a new claim; None if another process holds the run."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        last = _last(folder)
        if last and _is_alive(_file(folder, last)):
            return None
        file = _file(folder, last + 1)
        try:
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return None
        except FileNotFoundError:  # the run has just been finished, and its claims removed
            continue
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(json.dumps({**_place(), "pid": os.getpid(), "time": time.time()}).encode() + b"\n")
        return file


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number}.claim"


def _last(folder: Path) -> int:
    """The number of the last claim; 0 if there is none."""
    with suppress(FileNotFoundError):
        names = [name.partition(".") for name in os.listdir(folder)]  # noqa: PTH208 - Path.iterdir is slower
        return max((int(stem) for stem, _, end in names if end == "claim" and stem.isdigit()), default=0)
    return 0


def _is_alive(file: Path) -> bool:
    """Whether the process of a claim still holds it."""
    try:
        with file.open("rb") as stream:  # opening makes network file systems fetch the time of the file
            content, beat = stream.read(), os.fstat(stream.fileno()).st_mtime
    except FileNotFoundError:
        return False
    if content.endswith(RELEASED):
        return False
    with suppress(ValueError):  # of a process that was killed before it wrote its line
        owner: dict[str, Any] = json.loads(content)
        if {key: owner.get(key) for key in _place()} == _place() and not _runs(int(owner["pid"])):
            return False
    return _now(file.parent) - beat < STALE


def _beat(file: Path, ended: threading.Event) -> None:
    """Touch a claim until its block has ended, or the file is gone."""
    with suppress(FileNotFoundError):
        while not ended.wait(BEAT):
            os.utime(file)


@lru_cache(maxsize=1)
def _place() -> dict[str, str]:
    """Where process numbers mean the same: the host, since it was booted, and its container."""
    boot, container = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        container = str(Path("/proc/self/ns/pid").readlink())
    return {"host": socket.gethostname(), "boot": boot, "container": container}


def _runs(pid: int) -> bool:
    """Whether a process of this host runs."""
    if os.name != "posix":  # elsewhere os.kill ends the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended, and its parent has not read its exit code; False without ``/proc``.

    It keeps its number as long as its parent lives: for good, if that is an init which reads no exit codes.
    """
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] in (b"Z", b"X")
    return False


_clocks: dict[Path, tuple[float, float]] = {}
"""For each folder, when its clock was read, and how far it is ahead of this host's."""


def _now(folder: Path) -> float:
    """The time by the clock that stamps the files of a folder, which may be another host's."""
    read, ahead = _clocks.get(folder, (-STALE, 0.0))
    if time.monotonic() - read >= STALE:
        probe = folder / f"{uuid.uuid4().hex}.clock"
        try:
            probe.touch()
            ahead = probe.stat().st_mtime - time.time()
        except FileNotFoundError:  # the run has just been finished
            return time.time() + ahead
        finally:
            probe.unlink(missing_ok=True)
        _clocks[folder] = (time.monotonic(), ahead)
    return time.time() + ahead
