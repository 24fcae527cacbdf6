"""The order of files by their names, and numbered files as frames of a series."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from math import gcd
from pathlib import Path
from typing import Any

from neuralop_irno.errors import expected

LISTED = 6
"""The most missing numbers that an error lists."""


def natural(name: str | Path) -> list[tuple[int, int, str]]:
    """A key of sorting by which numbers in names count by value: ``run_2`` before ``run_10``.

    Example:
        >>> sorted(["10", "2", "a", "1"], key=natural)
        ['1', '2', '10', 'a']
    """
    words = re.split(r"(\d+)", str(name))
    return [(0, int(word), "") if word.isdecimal() else (1, 0, word) for word in words if word]


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Paths by name, see `natural`; folders are compared before the names in them."""
    return sorted(paths, key=lambda path: [natural(part) for part in path.parts])


def grouped(paths: Iterable[Path]) -> list[list[Path]]:
    """Numbered files by the name without the number, each group a series whose frames follow each other.

    The numbers of a group have equal distances: 0, 1, 2, .. or 0, 10, 20, .. A file without a number is a
    group of its own.

    Raises:
        ValueError: numbers are missing, or come twice; a name ends with a decimal number, ``run_0.25``, whose
            order would be another one.

    Example:
        >>> paths = [Path("a_10.vtu"), Path("b_0.vtu"), Path("a_9.vtu")]
        >>> [[path.name for path in group] for group in grouped(paths)]
        [['a_9.vtu', 'a_10.vtu'], ['b_0.vtu']]
    """
    groups: dict[Any, list[tuple[int, Path]]] = {}
    for path in in_natural_order(paths):
        if re.search(r"\d\.\d+$", path.stem):
            wanted = "files with whole numbers, run_000.vtu, run_001.vtu, .."
            hint = "a .pvd file that lists the files with their times"
            raise ValueError(expected(wanted, f"{path.name}, a time or two numbers", hint))
        found = re.fullmatch(r"(.*?)[-_.]?(\d+)", path.stem)
        stem, number = (found[1], int(found[2])) if found else (path.stem, 0)
        groups.setdefault((path.parent, stem, path.suffix, found is None), []).append((number, path))
    for group in groups.values():
        _refuse_gaps(group)
    return [[path for _, path in group] for group in groups.values()]


def _refuse_gaps(group: Sequence[tuple[int, Path]]) -> None:
    numbers = [number for number, _ in group]
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    if len(set(steps)) < 2 and 0 not in steps:
        return
    wanted = f"one file for each frame in {group[0][1].name} .. {group[-1][1].name}"
    hint = "a .pvd file that lists the files with their times"
    if 0 in steps:
        place = steps.index(0)
        got = f"{group[place][1].name} and {group[place + 1][1].name}, of one number"
        raise ValueError(expected(wanted, got, f"removing one of them, or {hint}"))
    missing = sorted(set(range(numbers[0], numbers[-1], gcd(*steps))) - set(numbers))
    more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
    got = f"none with the numbers {', '.join(map(str, missing[:LISTED]))}{more}"
    raise ValueError(expected(wanted, got, f"adding these files, or {hint}"))
