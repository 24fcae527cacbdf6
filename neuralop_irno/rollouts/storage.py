"""Named arrays in a file or a folder: one interface to all kinds of rollout files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.place import Place

Mode = Literal["r", "r+", "w"]
Array = np.ndarray[Any, Any]
Rows = set[tuple[str, int | None]]
"""(name of an array, row); None for a whole array."""

STATE = "state"
"""The group of what only this package reads, since format 3."""

GROUPS = ("carry", STATE, f"{STATE}/carry")
CARRIED = ("spent", "correction", "residuals")
ARRAYS = ("frames", "digests", "complete", "start", "times", "lasted", "endings", "seals")
NAMES = frozenset([*ARRAYS, "carry", *(f"carry/{name}" for name in CARRIED)])
"""The names of all arrays and groups of a rollout file of formats 1 and 2; later ones list their own."""


@dataclass(frozen=True)
class NewArray:
    """An array to add to a file.

    Attributes:
        values: of the whole array, or of its first row.
        dims: the names of its axes; none for the arrays of `STATE`.
        rows: their number; None if the array is written whole.
        attributes: CF's, by name.
        chunks: the shape of a chunk of a row; None for one chunk.
        shards: the shape of a file of chunks; None for a file for each chunk.
    """

    values: Array
    dims: tuple[str, ...] = ()
    rows: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """With the axis of rows."""
        return self.values.shape if self.rows is None else (self.rows, *self.values.shape)


class Storage:
    """Opens, writes and checks files of one kind."""

    def check(self, place: Place, shape: tuple[int, ...]) -> None:
        """Raise ValueError if frames of a place and a shape cannot be written to these files."""

    def open(self, path: Path, mode: Mode) -> Any:
        """The file as a group of arrays.

        Raises:
            ValueError: it is another kind of file, or damaged.
        """
        raise NotImplementedError

    def close(self, group: Any) -> None:
        """Close the file."""
        raise NotImplementedError

    def add(self, group: Any, name: str, new: NewArray) -> None:
        """Add an array, with all of its space, and write its values."""
        raise NotImplementedError

    def describe(self, group: Any, arrays: Mapping[str, NewArray]) -> list[str]:
        """Add what other programs need to find the arrays; returns the names of all items of the file."""
        raise NotImplementedError

    def settle(self, group: Any) -> None:
        """All arrays and attributes are there, and stay as they are."""

    def array(self, group: Any, name: str) -> Any:
        """An array, to read and write its rows."""
        return group[name]

    def write(self, group: Any, arrays: Mapping[str, Any], index: int, values: Mapping[str, Array]) -> None:
        """Write the arrays of a frame.

        Args:
            group: the file.
            arrays: of the file, by name, from `array`.
            index: of the frame.
            values: of the arrays.
        """
        for name, each in values.items():
            arrays[name][index] = each

    def written(self, group: Any, index: int) -> None:
        """A frame has been written: let other programs find it."""

    def show(self, group: Any, path: Path, count: int) -> None:
        """So many frames are synchronised with the disk: let other programs find them."""

    def flush(self, group: Any) -> None:
        """Pass the rows written so far to the operating system."""

    def sync(self, group: Any, path: Path, rows: Rows | None) -> None:
        """Synchronise rows of arrays with the disk; by default the whole file."""
        raise NotImplementedError

    def fault(self, group: Any, name: str, rows: bool) -> str:
        """The difference of an array or a group from the ones that we write; empty if there is none.

        Args:
            group: the file.
            name: of an item.
            rows: whether it is an array that is written row by row.
        """
        raise NotImplementedError

    def missing(self, array: Any, row: int | None) -> bool:
        """Whether a row of an array is missing, or by None any part."""
        return False

    def foreign(self, group: Any, path: Path) -> str:
        """The name of an item in the file that is not part of a rollout; empty if there is none."""
        raise NotImplementedError


def listed(group: Any) -> frozenset[str]:
    """The names of the items that a file says it has."""
    names = group.attrs.get("items")
    if not isinstance(names, str):
        return NAMES
    with readable("the list of items"):
        return frozenset(json.loads(names))


def sync_file(path: Path) -> None:
    """Synchronise a file with the disk."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


KINDS = (OSError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, OverflowError, ValueError)
"""Errors of the libraries on damaged files."""


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Convert the errors of the libraries on damaged files into one ValueError.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        yield
    except KINDS as error:
        if str(error).startswith("expected "):
            raise
        hint = "a backup copy of the file"
        raise ValueError(expected(f"{what} to be readable", first_line(error), hint)) from error


def first_line(error: Exception) -> str:
    """The message of an error, in one line."""
    return [*str(error).splitlines(), type(error).__name__][0]
