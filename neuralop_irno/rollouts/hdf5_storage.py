"""Rollouts in one HDF5 file, with the dimensions of netCDF-4."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuralop_irno.errors import expected
from neuralop_irno.rollouts.storage import (
    GROUPS,
    Mode,
    NewArray,
    Rows,
    Storage,
    first_line,
    listed,
    sync_file,
)

NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable. "
"""The name by which netCDF-4 marks axes without coordinates."""


DEEPEST = 4
"""The most groups inside each other in a rollout file."""


class HDF5Storage(Storage):
    """One file."""

    def open(self, path: Path, mode: Mode) -> Any:
        import h5py

        try:
            # `Hold` locks out other writers. Readers need no lock, since no metadata changes.
            return h5py.File(path, mode, locking=False)
        except OSError as error:
            got = first_line(error)
            raise ValueError(expected(f"an HDF5 file in {path.name}", got, "another path")) from error

    def close(self, group: Any) -> None:
        group.close()

    def add(self, group: Any, name: str, new: NewArray) -> None:
        # One contiguous block, allocated with the first row: later rows change no metadata of the file.
        array = group.create_dataset(name, new.shape, new.values.dtype)
        array[... if new.rows is None else 0] = new.values
        for key, value in new.attributes.items():
            array.attrs[key] = value

    def describe(self, group: Any, arrays: Mapping[str, NewArray]) -> list[str]:
        # netCDF-4's form: each axis has a dataset, its coordinates or one without values.
        sizes = {
            dim: size
            for new in arrays.values()
            for dim, size in zip(new.dims, new.shape, strict=bool(new.dims))
        }
        for dim, size in sizes.items():
            if dim in arrays:
                group[dim].make_scale(dim)
            else:
                group.create_dataset(dim, (size,), ">f4").make_scale(f"{NO_VARIABLE}{size:10d}")
        for name, new in arrays.items():
            for axis, dim in enumerate(new.dims):
                if dim != name:
                    group[name].dims[axis].attach_scale(group[dim])
        return items_of(group)

    def flush(self, group: Any) -> None:
        group.flush()

    def sync(self, group: Any, path: Path, rows: Rows | None) -> None:
        group.flush()
        sync_file(path)

    def fault(self, group: Any, name: str, rows: bool) -> str:
        import h5py

        if found := self._linked(group, name):
            return found
        item = group[name]
        if isinstance(item, h5py.Group):
            return "" if name in GROUPS else "a group"
        if item.is_virtual or item.external:
            return "an array that lies in another file"
        if item.dtype.kind not in "biufc":
            return f"an array of {item.dtype}"
        # HDF5 reads space that was never allocated as zeros.
        if item.chunks is not None or item.id.get_storage_size() != item.nbytes:
            return "an array that is not in one piece"
        return ""

    def _linked(self, group: Any, name: str) -> str:
        """Whether an item, or a group above it, is a link to another place."""
        import h5py

        above = name.split("/")
        places = ["/".join(above[: depth + 1]) for depth in range(len(above))]
        links = (group.get(place, getlink=True) for place in places)
        return "" if all(isinstance(link, h5py.HardLink) for link in links) else "a link to another place"

    def foreign(self, group: Any, path: Path) -> str:
        ours = listed(group)
        return next((name for name in items_of(group) if name not in ours), "")


def items_of(group: Any) -> list[str]:
    """The names of all items of an HDF5 file; links are not followed."""
    import h5py

    names: list[str] = []

    def walk(inside: Any, prefix: str) -> None:
        if prefix.count("/") > DEEPEST:  # a group may be linked into itself
            return
        for name in sorted(inside):
            names.append(prefix + name)
            link = inside.get(name, getlink=True)
            if isinstance(link, h5py.HardLink) and isinstance(inside[name], h5py.Group):
                walk(inside[name], f"{prefix}{name}/")

    walk(group, "")
    return names
