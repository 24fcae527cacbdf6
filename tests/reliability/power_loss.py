"""What a program does to a folder, and every state in which a crash or a loss of power may leave it.

The model is that of a POSIX file system that promises no more than it must:

- The bytes of a file are durable once the file is fsynced; before that they may be lost.
- A name (made, renamed, removed) is durable once its folder is fsynced; before that it may be lost.
- A process that is killed loses nothing that it wrote; a machine that loses power loses what is not durable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Tree = dict[str, bytes]
"""Relative paths to contents."""

LOCK = ".lock"


def tree_of(folder: Path) -> Tree:
    """All files under a folder; locks are the system's and end with their process."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != LOCK
    }


def write_tree(tree: Tree, folder: Path) -> None:
    """Put a tree into an empty folder."""
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@dataclass
class Record:
    """The states that a folder went through.

    Attributes:
        folder: that is watched.
        crashes: the state after every operation.
        losses: states after a loss of power: nothing pending survived, or all but one pending name did.
        operations: how many were recorded.
    """

    folder: Path
    crashes: list[Tree] = field(default_factory=list)
    losses: list[Tree] = field(default_factory=list)
    operations: int = 0
    _synced: dict[str, bytes] = field(default_factory=dict)
    _durable: Tree = field(default_factory=dict)
    _pending: list[tuple[str, str, Tree]] = field(default_factory=list)

    def name(self, path: object) -> str | None:
        """The path relative to the watched folder; None outside of it."""
        full = Path(str(path)).absolute()
        return str(full.relative_to(self.folder)) if full.is_relative_to(self.folder) else None

    def fsync(self, path: str) -> None:
        """A file or a folder became durable."""
        name = self.name(path)
        if name is None or Path(path).name == LOCK:
            return
        if Path(path).is_dir():
            self._settle(name)
        else:
            self._synced[name] = Path(path).read_bytes()
            if name in self._durable:
                self._durable[name] = self._synced[name]
        self._look()

    def renamed(self, old: str, new: str, before: Tree) -> None:
        """A file got another name."""
        if old in self._synced:
            self._synced[new] = self._synced.pop(old)
        self._changed(new, before)

    def linked(self, old: str, new: str, before: Tree) -> None:
        """A file got a second name."""
        if old in self._synced:
            self._synced[new] = self._synced[old]
        self._changed(new, before)

    def _changed(self, name: str, before: Tree) -> None:
        parent = str(Path(name).parent)
        self._pending.append((parent, name, before))
        self._look()

    def removed(self, name: str, before: Tree) -> None:
        """A file's name is gone."""
        self._changed(name, before)

    def _settle(self, folder: str) -> None:
        now = tree_of(self.folder)
        inside = {name for name in now.keys() | self._durable.keys() if str(Path(name).parent) == folder}
        for name in inside:
            if name in now:
                # A file that was never fsynced has a durable name, and no durable bytes.
                self._durable[name] = self._synced.get(name, b"")
            else:
                self._durable.pop(name, None)
        self._pending = [entry for entry in self._pending if entry[0] != folder]

    def _look(self) -> None:
        now = tree_of(self.folder)
        self.operations += 1
        self.crashes.append(now)
        self.losses.append(dict(self._durable))
        survived = {name: self._synced.get(name, b"") for name in now}
        for _, lost, before in self._pending:
            state = dict(survived)
            state.pop(lost, None)
            if lost in before:
                state[lost] = before[lost]
            self.losses.append(state)

    def states(self) -> list[Tree]:
        """All different states."""
        seen: dict[tuple[tuple[str, int], ...], Tree] = {}
        for state in (*self.crashes, *self.losses):
            seen.setdefault(tuple((name, hash(content)) for name, content in sorted(state.items())), state)
        return list(seen.values())


@contextmanager
def recorded(folder: Path) -> Iterator[Record]:
    """Record every fsync, rename, hard link and removal in a folder while the block runs."""
    record = Record(folder.resolve())
    saved = {name: getattr(os, name) for name in ("fsync", "replace", "rename", "link", "unlink", "remove")}

    def fsync(handle: int) -> None:
        saved["fsync"](handle)
        record.fsync(str(Path(f"/proc/self/fd/{handle}").readlink()))

    def moving(call: Callable[..., None]) -> Callable[..., None]:
        def move(old: object, new: object, **options: object) -> None:
            names = record.name(old), record.name(new)
            before = tree_of(record.folder)
            call(old, new, **options)
            if None not in names:
                record.renamed(str(names[0]), str(names[1]), before)

        return move

    def link(old: object, new: object, **options: object) -> None:
        names, before = (record.name(old), record.name(new)), tree_of(record.folder)
        saved["link"](old, new, **options)
        if None not in names:
            record.linked(str(names[0]), str(names[1]), before)

    def removing(call: Callable[..., None]) -> Callable[..., None]:
        def remove(path: object, **options: object) -> None:
            name, before = record.name(path), tree_of(record.folder)
            call(path, **options)
            if name is not None and name in before:
                record.removed(name, before)

        return remove

    try:
        os.fsync = fsync  # type: ignore[assignment]
        os.replace, os.rename = moving(saved["replace"]), moving(saved["rename"])
        os.link = link
        os.unlink, os.remove = removing(saved["unlink"]), removing(saved["remove"])
        yield record
    finally:
        for name, call in saved.items():
            setattr(os, name, call)
