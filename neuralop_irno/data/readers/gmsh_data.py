"""Fields in Gmsh's text files, whose values meshio takes in the order of the file, whatever their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from neuralop_irno.errors import UnreadableError

TEXT = re.compile(rb"\$MeshFormat\s+(2\.\d|4\.1)\s+0\s")
"""The start of a text file, and its version."""


def check_fields(path: Path) -> None:
    """Raise ValueError if meshio would give the values of a field to other nodes or elements.

    That is if they are in another order than these, or not for all of them; or if the file has a field at
    several times, of which meshio returns the last. Binary files are not checked.
    """
    whole = path.read_bytes()
    text = TEXT.search(whole)
    if text is None:
        return
    for kind in (b"Node", b"Element"):
        names: set[bytes] = set()
        for name, numbers in _fields(whole, kind):
            if name in names:
                raise UnreadableError(
                    f"{name.decode()} at several times: export each time to a file of its own"
                )
            if numbers != _listed(whole, kind, text[1] != b"4.1"):
                what = kind.decode().lower()
                raise UnreadableError(
                    f"{name.decode()} not at all {what}s, or not in the order of the {what}s"
                )
            names.add(name)


def _section(whole: bytes, name: bytes) -> Iterator[list[list[bytes]]]:
    """The words of each line of every section of a name."""
    for found in re.finditer(rb"\$%s\s*\n(.*?)\$End%s\b" % (name, name), whole, re.DOTALL):
        yield [line.split() for line in found[1].splitlines() if line.strip()]


def _fields(whole: bytes, kind: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """The name of each field, and the numbers of its nodes or elements."""
    for lines in _section(whole, kind + b"Data"):
        start = 0
        for _ in range(3):  # texts, numbers, whole numbers
            start += 1 + int(lines[start][0])
        yield b" ".join(lines[1]).strip(b'"'), [line[0] for line in lines[start:]]


def _listed(whole: bytes, kind: bytes, flat: bool) -> list[bytes]:
    """The numbers of the nodes or elements in the order of the file; in blocks from version 4 on."""
    lines = next(_section(whole, kind + b"s"))
    if flat:
        return [line[0] for line in lines[1:]]
    numbers, start = [], 1
    while start < len(lines):
        count = int(lines[start][3])
        numbers += [line[0] for line in lines[start + 1 : start + 1 + count]]
        start += 1 + count * (2 if kind == b"Node" else 1)  # coordinates follow the numbers of nodes
    return numbers
