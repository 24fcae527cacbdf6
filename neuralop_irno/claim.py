"""A lock that allows one writing process per folder, so that two processes do not mix their files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from neuralop_irno.errors import check_folder, expected

LOCK = ".lock"
"""The lock file of a folder; the system releases the lock when the process ends."""

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
"""The pattern of the temporary files of `neuralop_irno.checkpoint.write_bytes`."""


class InUseError(ValueError):
    """Another process has locked the folder."""


@contextmanager
def claim(folder: str | os.PathLike[str], wait: bool = False) -> Iterator[Path]:
    """Lock a folder for this process, and remove temporary files left there by killed processes.

    Args:
        folder: the folder; created if it is missing.
        wait: wait without limit until no other process has locked the folder.

    Raises:
        InUseError: another process has locked the folder.
        ValueError: it is a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place, claim(place) as folder:
        ...     try:
        ...         with claim(folder):
        ...             pass
        ...     except ValueError as error:
        ...         print("in use" in str(error))
        True
    """
    target = check_folder(folder)
    target.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target / LOCK, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout as error:
        wanted = "a folder that no other process writes to"
        hint = "another folder, or wait for that process to end"
        raise InUseError(expected(wanted, f"{target}, which is in use", hint)) from error
    try:
        for left in target.iterdir():
            if TEMPORARY.fullmatch(left.name) and left.is_file():
                left.unlink(missing_ok=True)
        yield target
    finally:
        lock.release()
