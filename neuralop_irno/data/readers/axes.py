"""Which axis of an array is samples, time, channels or space: by its name, by `layout`, or by our order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuralop_irno.data.readers.stored import Stored
from neuralop_irno.errors import expected

SAMPLES = (
    "b", "n", "sample", "samples", "batch", "case", "run", "simulation", "trajectory", "trajectories",
    "member", "ensemble", "realization", "number",
)  # fmt: skip
TIMES = ("t", "time", "times", "valid_time")
CHANNELS = ("c", "channel", "channels", "component", "components", "variable", "field", "feature")
LATITUDES, LONGITUDES = ("lat", "latitude"), ("lon", "longitude")
LEVELS = ("z", "level", "lev", "plev", "pressure_level", "height", "depth", "altitude")
SPACE = ("x", "y")
"""Names of axes, compared in lower case."""

UNNAMED = re.compile(r"(phony_dim|dim|axis)_?\d*")
"""Names of axes that say nothing, as xarray and h5netcdf write them."""

PLAIN = {0: (), 1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}
"""The names of the axes of space where the file has none."""

EXAMPLE = "layout: 'B T C Y X' (samples, time, channels; other letters are space)"


@dataclass(frozen=True)
class Order:
    """How the axes of a file are to be understood.

    Attributes:
        time: the name of the axis of time, or its number in arrays without names; None for pairs.
        layout: the axes of arrays, as B (samples), T (time), C (channels) and other letters for space; None
            takes the names in the file, and for arrays without names ``(n, C, *S)`` or ``(n, T, C, *S)``.
    """

    time: str | int | None = None
    layout: str | None = None

    def __post_init__(self) -> None:
        letters = self.letters
        if self.layout is not None and (not letters or len(set(letters)) < len(letters)):
            raise ValueError(expected("a layout of different letters", repr(self.layout), EXAMPLE))

    @property
    def letters(self) -> tuple[str, ...]:
        """The axes of the layout."""
        return tuple((self.layout or "").split())

    @property
    def series(self) -> bool:
        """Whether the arrays are series in time."""
        return self.time is not None or "T" in self.letters


def kind_of(name: str | None, attributes: Mapping[str, Any]) -> str:
    """What an axis is by its name and the attributes of its coordinate; an empty string if they do not say.

    Returns:
        ``sample``, ``time``, ``channel``, ``latitude``, ``longitude``, ``level``, ``space``, or nothing.

    Example:
        >>> kind_of("lat", {}), kind_of("i", {"units": "degrees_east"}), kind_of("i", {})
        ('latitude', 'longitude', '')
    """
    word = (name or "").lower()
    axis, standard = attributes.get("axis", ""), attributes.get("standard_name", "")
    # degrees_north, degree_N, degrees_east, ..
    units = str(attributes.get("units", "")).lower().replace("degree_", "degrees_")[:9]
    found = {
        "latitude": word in LATITUDES or standard == "latitude" or units == "degrees_n",
        "longitude": word in LONGITUDES or standard == "longitude" or units == "degrees_e",
        "time": word in TIMES or axis == "T" or standard == "time",
        "sample": word in SAMPLES,
        "channel": word in CHANNELS,
        "level": word in LEVELS or axis == "Z",
        "space": word in SPACE or axis in ("X", "Y"),
    }
    return next((kind for kind, holds in found.items() if holds), "")


def roles_of(
    what: str, stored: Stored, order: Order, coordinates: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    """The role of each axis of an array: B, T, C, or the name of an axis of space.

    Args:
        what: the array, for errors.
        stored: the array.
        order: how axes are to be understood.
        coordinates: the attributes of coordinates, by the names of their axes.

    Raises:
        ValueError: names and order do not decide it.

    Example:
        >>> plain = Stored((8, 3, 64, 32), lambda place: None)
        >>> roles_of("u", plain, Order(), {}), roles_of("u", plain, Order(layout="B T X Y"), {})
        (('B', 'C', 'y', 'x'), ('B', 'T', 'X', 'Y'))
    """
    dims, shape = stored.dims, stored.shape
    if order.layout is not None and len(shape) > 1:
        return _by_layout(what, shape, order)
    if all(dim is None or UNNAMED.fullmatch(dim) for dim in dims):
        return _by_order(what, shape, order)
    kinds = [kind_of(dim, coordinates.get(dim or "", {})) for dim in dims]
    return _by_names(what, stored, kinds, order.time)


def _by_layout(what: str, shape: Sequence[int], order: Order) -> tuple[str, ...]:
    for left_out in ((), ("C",)):
        letters = tuple(letter for letter in order.letters if letter not in left_out)
        if len(letters) == len(shape):
            return letters
    got = f"{what} {tuple(shape)}"
    raise ValueError(expected(f"arrays with the axes of layout {order.layout!r}", got, EXAMPLE))


def _by_order(what: str, shape: Sequence[int], order: Order) -> tuple[str, ...]:
    """The roles in an array without names: ``(n,)``, ``(n, C, *S)``, or with time where it is stated."""
    if len(shape) == 1:
        return ("B",)
    front = ["B", "C"]
    if order.series:
        place = order.time if isinstance(order.time, int) else 1
        front = ["T", "C"] if place == 0 else ["B", "C", "T"] if place == 2 else ["B", "T", "C"]
        if not 0 <= place <= 2:
            raise ValueError(expected("time as the axis 0, 1 or 2", place, EXAMPLE))
    wanted = f"(n, {', '.join(front[1:])}, *S)" if front[0] == "B" else "(T, C, *S)"
    space = len(shape) - len(front)
    if not 1 <= space <= 3:
        hint = "x[:, None], or layout: 'B X' for fields without an axis of channels"
        raise ValueError(expected(f"{what} as real {wanted}", f"real {tuple(shape)}", hint))
    channel = front.index("C")
    if shape[channel] > 1 and shape[channel] >= max(shape[len(front) :]):
        got = f"{tuple(shape)}, of which axis {channel} is as long as those of space"
        hint = f"layout: '{' '.join(front)} ..' if it is channels, or without C if it is space; {EXAMPLE}"
        raise ValueError(expected(f"{what} as {wanted}, or a layout", got, hint))
    return (*front, *PLAIN[space])


def _by_names(what: str, stored: Stored, kinds: Sequence[str], time: str | int | None) -> tuple[str, ...]:
    dims = stored.dims
    globe = "latitude" in kinds and "longitude" in kinds
    meaning = {"sample": "B", "channel": "C", "level": "C" if globe else "", "time": "time"}
    roles = []
    for place, (dim, kind) in enumerate(zip(dims, kinds, strict=True)):
        is_time = time is not None and time in (dim, place)
        known = meaning.get(kind, "") or (dim or "" if kind else "")
        roles.append("T" if is_time else known)
    if "time" in roles and "B" in roles and "C" not in roles and stored.shape[roles.index("time")] == 1:
        roles[roles.index("time")] = "C"  # PDEBench stores steady fields as series of one frame
    if "B" not in roles:
        for candidate in ("time", ""):  # samples may be times; else the first axis, if its name says nothing
            first = roles.index(candidate) if candidate in roles else -1
            if first >= 0 and (candidate == "time" or first == 0) and "B" not in roles:
                roles[first] = "B"
    spatial = [role for role in roles if role not in ("B", "T", "C", "time", "")]
    if not spatial:  # no axis has a name that says space: those that say nothing are
        names = [str(dim or f"axis{place}") for place, dim in enumerate(dims)]
        roles = [role or name for role, name in zip(roles, names, strict=True)]
    problem = next((role for role in ("time", "") if role in roles), None)
    if problem is not None or any(roles.count(role) > 1 for role in "BTC"):
        hint = f"time: {dims[roles.index('time')]}" if problem == "time" else EXAMPLE
        listed = "(" + ", ".join(str(dim) for dim in dims) + ")"
        raise ValueError(expected(f"the axes of {what} as samples, channels and space", listed, hint))
    return tuple(roles)
