"""Arrays of a file that are not read yet, with the names of their axes and their units where it has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

KEPT = ("units", "standard_name", "long_name", "axis", "calendar", "positive")
"""Attributes of variables that describe them; see the CF conventions, https://cfconventions.org."""

PACKED = ("scale_factor", "add_offset", "_FillValue", "missing_value")
"""Attributes of variables that say how numbers are stored."""

Read = Callable[[Any], Any]
"""The part of an array at a place, as it is stored."""


@dataclass(frozen=True)
class Stored:
    """An array of a file.

    Attributes:
        shape: its shape.
        read: returns the part at a place, as it is stored.
        dims: the names of the axes; None for an axis without a name.
        attributes: those of `KEPT` and `PACKED` that the file has.
        dtype: of the numbers, as numpy's.
    """

    shape: tuple[int, ...]
    read: Read
    dims: tuple[str | None, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    dtype: Any = np.float32

    def __post_init__(self) -> None:
        if len(self.dims) != len(self.shape):
            object.__setattr__(self, "dims", (None,) * len(self.shape))

    def named(self, dims: Sequence[str | None]) -> Stored:
        """The same array with other names of its axes."""
        return replace(self, dims=tuple(dims))

    @property
    def units(self) -> str:
        """The units, or an empty string."""
        return str(self.attributes.get("units", ""))

    @property
    def kind(self) -> str:
        """Of the numbers, as numpy's ``dtype.kind``."""
        return np.dtype(self.dtype).kind

    @property
    def double(self) -> bool:
        """Whether the numbers need double precision: float64, long integers, and packed ones."""
        wide = self.kind in "iuf" and np.promote_types(np.float32, self.dtype) == np.float64
        return wide or self.packed

    def numbers(self, place: Any = (), dtype: type = np.float32) -> Any:
        """A part of the array in physical units; see `converted`."""
        return self.converted(self.read(place), dtype)

    def converted(self, stored: Any, dtype: type = np.float32) -> Any:
        """Stored numbers in physical units, with nan at fill values.

            number = scale_factor * stored + add_offset

        Args:
            stored: what `read` returned.
            dtype: of the numbers.

        Example:
            >>> packed = {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -1}
            >>> array = np.array([0, 2, -1], dtype="i2")
            >>> Stored((3,), array.__getitem__, attributes=packed).numbers(slice(0, 3)).tolist()
            [10.0, 11.0, nan]
        """
        stored, known = np.asarray(stored), self.attributes
        # Unpacked in double precision: a float32 of a packed integer loses the last digits of times.
        with np.errstate(all="ignore"):
            values = stored.astype(np.float64 if self.packed else dtype)
            if self.packed:
                values = values * float(known.get("scale_factor", 1)) + float(known.get("add_offset", 0))
            values = values.astype(dtype)
            for name in ("_FillValue", "missing_value"):
                if name in known:
                    missing = stored == np.asarray(known[name]).astype(stored.dtype)
                    values = np.where(missing, np.nan, values).astype(dtype)
        return values

    @property
    def packed(self) -> bool:
        """Whether numbers are stored with a factor or an offset."""
        return "scale_factor" in self.attributes or "add_offset" in self.attributes


def described(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of `KEPT` and `PACKED`, as strings and numbers."""
    found = {}
    for name in (*KEPT, *PACKED):
        value = attributes.get(name)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(())[()]
        if isinstance(value, np.generic):
            value = value.item()
        if (name in KEPT and isinstance(value, str)) or (name in PACKED and _number(value)):
            found[name] = value
    return found


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
