"""One writer for each rollout file, whose name is taken without replacing foreign files."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from neuralop_irno.checkpoint import sync_folder
from neuralop_irno.errors import expected

ZARR_TEMPORARY = re.compile(r".*\.[0-9a-f]{32}\.partial")
"""Temporary names of chunks that Zarr writes."""


class Hold:
    """A lock on a path to write a rollout to.

    The lock is a hidden file beside the path, removed by `release`; the system frees it when the process
    ends. Temporary files of earlier processes for this path are removed.

    Args:
        path: a file or a folder, which need not exist.

    Raises:
        ValueError: another writer holds the path.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        place = path.with_name(f".{path.name}.lock")
        self._lock = FileLock(place, timeout=0)
        try:
            self._lock.acquire()
            while not place.exists():  # the last holder removed it while it was being locked
                self._lock.release()
                self._lock.acquire()
        except Timeout as error:
            wanted = "a rollout file that no other writer holds"
            hint = "another path, or wait until the other rollout ends"
            raise ValueError(expected(wanted, f"{path}, which is in use", hint)) from error
        stray = re.compile(rf"\.[0-9a-f]{{32}}\.{re.escape(path.name)}")
        for left in path.parent.iterdir():
            if stray.fullmatch(left.name):
                remove(left)
        if path.is_dir() and not path.is_symlink():
            for left in path.rglob("*.partial"):
                if ZARR_TEMPORARY.fullmatch(left.name):
                    left.unlink(missing_ok=True)

    def temporary(self) -> Path:
        """A new hidden name beside the path."""
        return self._path.with_name(f".{uuid.uuid4().hex}.{self._path.name}")

    def place(self, whole: Path) -> None:
        """Give a finished file or folder the name of the path.

        Raises:
            FileExistsError: something has that name.
        """
        try:
            if whole.is_dir():
                if os.path.lexists(self._path):
                    raise FileExistsError
                whole.rename(self._path)
            else:
                _link(whole, self._path)
        except OSError as error:
            if not os.path.lexists(self._path):
                raise
            got = f"{self._path.name}, which has appeared meanwhile"
            raise FileExistsError(expected("a new file", got, "another path")) from error
        sync_folder(self._path.parent)

    def replace(self, whole: Path) -> None:
        """The same where the path holds what may be removed."""
        if not whole.is_dir() and not self._path.is_dir():
            whole.replace(self._path)
            sync_folder(self._path.parent)
            return
        old = self.temporary()
        self._path.rename(old)
        self.place(whole)
        remove(old)

    def release(self) -> None:
        """Release the lock."""
        with suppress(OSError):  # Windows does not remove what is open
            Path(self._lock.lock_file).unlink()
        self._lock.release()


def _link(whole: Path, path: Path) -> None:
    """Rename a file, but never onto another."""
    try:
        os.link(whole, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: reserve the name first
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        whole.replace(path)
    else:
        whole.unlink()


def remove(path: Path) -> None:
    """Remove a file or a folder of our own, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
