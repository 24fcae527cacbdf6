"""One writer per folder: two processes that write into one folder would mix their files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from neuralop_irno.errors import expected

LOCK = ".lock"
"""The file in a claimed folder that is locked; the system releases it when its process ends."""

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
"""The names under which `neuralop_irno.checkpoint.write_bytes` writes before it renames."""


class InUseError(ValueError):
    """Another process holds the folder."""


@contextmanager
def claim(folder: str | os.PathLike[str], wait: bool = False) -> Iterator[Path]:
    """Hold a folder for this process, and remove the temporary files of writers that were killed in it.

    Args:
        folder: it is made where it is missing.
        wait: until no other process holds the folder, without end.

    Raises:
        InUseError: another process holds the folder.

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
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target / LOCK, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InUseError(
            expected(
                "a folder that no other process writes to",
                f"{target}, which is in use",
                "another folder, or wait for that process to end",
            )
        ) from error
    try:
        for left in target.iterdir():
            if TEMPORARY.fullmatch(left.name) and left.is_file():
                left.unlink(missing_ok=True)
        yield target
    finally:
        lock.release()
