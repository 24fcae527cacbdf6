"""The names of arrays and axes in rollout files of each format.

Formats 1 and 2 had one array ``frames``, no names of axes, and a first axis of length 1 on whole arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neuralop_irno.rollouts.parts import Parts
from neuralop_irno.rollouts.storage import STATE

FORMAT = 3
"""Raised when a file can no longer be read by older versions of the package."""

KIND = "neuralop_irno.rollout"

ONES = ("start", "lasted", "endings", "complete")
"""Arrays with one row in files up to format 2."""

OLD = {"time": "times", "ending": "endings"}
"""Names of arrays up to format 2."""

IN_STATE = ("digests", "seals", "carry")
"""What only this package reads."""


@dataclass(frozen=True)
class Layout:
    """The arrays of a file.

    Attributes:
        format: of the file.
        dims: the names of the axes of a frame; empty up to format 2.
        fields: the names of the arrays of fields.
        named: whether there is one for each channel.
        chunks: the shape of their chunks; None if they are not cut.
        moving: the shapes of the arrays of a moving mesh, by name.
        constants: the names of ``start``, ``time``, coordinates and the mesh.
        axes: the names of the axes of coordinates and of the mesh, by name; of a moving one, for one frame.
    """

    format: int
    dims: tuple[str, ...] = ()
    fields: tuple[str, ...] = ("frames",)
    named: bool = False
    chunks: tuple[int, ...] | None = None
    moving: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: tuple[str, ...] = ("start",)
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, attributes: Mapping[str, Any], number: int, group: Any) -> Layout:
        """The layout of a file, from its attributes."""
        if number < 3:
            return cls(number, constants=("start", "time") if OLD["time"] in group else ("start",))
        known = json.loads(attributes["layout"])
        chunks = known["chunks"]
        return cls(
            number,
            tuple(map(str, known["dims"])),
            tuple(map(str, known["fields"])),
            bool(known["named"]),
            None if chunks is None else tuple(max(int(size), 1) for size in chunks),
            {str(name): tuple(map(int, shape)) for name, shape in known["moving"].items()},
            tuple(map(str, known["constants"])),
            {str(name): tuple(map(str, axes)) for name, axes in known["axes"].items()},
        )

    @property
    def arrays(self) -> dict[str, bool]:
        """All arrays, and whether they are written row by row."""
        whole = (*self.constants, "lasted", "ending", "complete")
        by_row = (*self.fields, *self.moving, *(("digests", "seals") if self.format > 1 else ()))
        return dict.fromkeys(whole, False) | dict.fromkeys(by_row, True)

    def place(self, name: str) -> str:
        """The name of an array or group in the file."""
        if self.format < 3:
            return OLD.get(name, name)
        return f"{STATE}/{name}" if name in IN_STATE else name

    def parts(self, start: tuple[int, ...]) -> Parts:
        """How frames are divided.

        Args:
            start: the shape of the frames before the first, ``(B, T, C, *S)`` or ``(N, T, C)``.
        """
        shape = (*start[:1], *start[2:])
        if self.format < 3:
            return Parts(shape)
        channel = self.dims.index("channel")
        return Parts(shape, channel, self.fields, self.named, self.chunks, self.moving)
