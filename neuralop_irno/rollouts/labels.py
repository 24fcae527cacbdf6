"""Names, units and parts of the fields in a rollout file, as its options give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from neuralop_irno.annotations import as_whole
from neuralop_irno.errors import check_choice, expected, shown
from neuralop_irno.rollouts.place import CHANNEL, Place, axis_of
from neuralop_irno.rollouts.vectors import VECTOR

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
RESERVED = frozenset(
    {
        "time",
        "step",
        "start_step",
        "sample",
        "node",
        "point",
        "cell",
        "corner",
        CHANNEL,
        "start",
        "lasted",
        "ending",
    }
    | {"complete", "state", "frames", "mesh", "VTKHDF"}
)
"""Names of the other variables and dimensions of a file."""


@dataclass(frozen=True)
class Labels:
    """The options of a rollout file that describe its content; see `frame_file.FrameFile`."""

    fields: Sequence[str] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    coordinates: Mapping[str, Any] = field(default_factory=dict)
    chunks: Sequence[int] | None = None
    shards: Sequence[int] | None = None

    def __post_init__(self) -> None:
        names = [self.fields] if isinstance(self.fields, str) else list(self.fields)
        object.__setattr__(self, "fields", tuple(names))
        for name in names:
            if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
                wanted = "names of fields from letters, digits and _, and none of the file's own"
                raise ValueError(expected(wanted, repr(name), "fields=['u', 'v']"))
        if len(set(names)) != len(names):
            raise ValueError(expected("a name of its own for each field", names, "fields=['u', 'v']"))
        said = [*self.units.values(), *(each for held in self.attributes.values() for each in held.values())]
        wrong = [each for each in said if not isinstance(each, str | int | float)]
        if wrong or not all(isinstance(each, str) for each in self.units.values()):
            wanted = "units as texts, and attributes as texts and numbers"
            raise ValueError(expected(wanted, shown(wrong or self.units), "units={'u': 'm s-1'}"))
        for name in self._vectors:
            if not NAME.fullmatch(name) or name in RESERVED or name in names:
                wanted = "names of vectors from letters, digits and _, and none of a field"
                raise ValueError(expected(wanted, repr(name), "vectors={'U': ['u', 'v']}"))
        for option in ("chunks", "shards"):
            sizes = getattr(self, option)
            whole = None if sizes is None else [as_whole(size) for size in sizes]
            if whole is not None and not all(size is not None and size > 0 for size in whole):
                raise ValueError(expected(f"{option} >= 1 of each axis of space", shown(sizes), "(64, 64)"))
            object.__setattr__(self, option, None if whole is None else tuple(whole))
        if self.shards is not None:
            both = zip(self.shards, self.chunks or (), strict=False)
            if self.chunks is None or any(shard % chunk for shard, chunk in both):
                got = f"shards={self.shards} with chunks={self.chunks}"
                hint = "chunks=(64, 64), shards=(128, 128)"
                raise ValueError(expected("shards that are multiples of chunks", got, hint))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays of fields: one for each channel, or one for all."""
        return tuple(self.fields) or ("frames",)

    @property
    def _vectors(self) -> set[str]:
        """The names of vectors."""
        return {str(self.attributes[name][VECTOR]) for name in self.fields if VECTOR in self.said(name)}

    def on(self, place: Place, shape: tuple[int, ...]) -> Place:
        """The place of frames of a shape, with the names, coordinates and units of these options.

        Raises:
            ValueError: the options do not fit the frames.
        """
        channels = shape[place.channel]
        if self.fields and len(self.fields) != channels:
            hint = f"fields={[f'u{k}' for k in range(channels)]}"
            raise ValueError(expected(f"a name for each of {channels} channels", list(self.fields), hint))
        for option in ("chunks", "shards"):
            sizes = getattr(self, option)
            if sizes is not None and len(sizes) != len(place.space):
                hint = f"{option}={(64,) * len(place.space)}"
                raise ValueError(expected(f"{option} for the axes {place.space}", sizes, hint))
        place = self._renamed(place, dict(zip(place.dims, shape, strict=True)))
        taken = {*place.dims, *place.constants} & {*self.fields, *self._vectors}
        if taken:
            wanted = "names of fields and vectors that are no coordinates"
            raise ValueError(expected(wanted, sorted(taken), "fields=['u']"))
        labelled = {"time", *self.names, *place.constants}
        for name in (*self.units, *self.attributes):
            check_choice("units and attributes of a field or a coordinate", name, labelled)
        constants = {
            name: replace(each, attributes={**each.attributes, **self.said(name)})
            for name, each in place.constants.items()
        }
        return replace(place, constants=constants)

    def said(self, name: str) -> dict[str, Any]:
        """The attributes that the options give a variable."""
        units = {"units": self.units[name]} if name in self.units else {}
        return {**units, **self.attributes.get(name, {})}

    def plain(self) -> dict[str, Any]:
        """The options as plain data, whose digest a file holds."""
        coordinates = {name: np.asarray(values).tolist() for name, values in self.coordinates.items()}
        return {**asdict(replace(self, coordinates={})), "coordinates": coordinates}

    def _renamed(self, place: Place, sizes: Mapping[str, int]) -> Place:
        """The place with the given coordinates of its axes."""
        if not self.coordinates:
            return place
        axes = [] if place.on_mesh or "node" in place.dims else place.space
        given = {
            name: np.asarray(values.cpu() if isinstance(values, Tensor) else values, dtype=np.float64)
            for name, values in self.coordinates.items()
        }
        lengths = [each.shape for each in given.values()]
        bad = [name for name in given if not NAME.fullmatch(name) or name in RESERVED]
        if lengths != [(sizes[axis],) for axis in axes] or bad:
            wanted = f"coordinates of the axes {axes}, {[sizes[axis] for axis in axes]} points"
            got = bad or {name: each.shape for name, each in given.items()}
            raise ValueError(expected(wanted, got, "coordinates={'y': y, 'x': x}, in the order of the axes"))
        names = dict(zip(axes, given, strict=True))
        constants = {
            name: replace(axis_of(name, values), attributes=self._kind(name))
            for name, values in given.items()
        }
        return Place(tuple(names.get(dim, dim) for dim in place.dims), constants)

    @staticmethod
    def _kind(name: str) -> dict[str, str]:
        """CF's attributes of latitudes and longitudes, and of x, y and z."""
        known = {
            "lat": {"standard_name": "latitude", "units": "degrees_north"},
            "lon": {"standard_name": "longitude", "units": "degrees_east"},
        }
        return known.get(name, {"axis": name.upper()} if name in ("x", "y", "z") else {})
