"""The arrays of an HDF5 file with the names of their axes: NetCDF-4, PDEBench, or plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuralop_irno.data.readers import hdf5
from neuralop_irno.data.readers.file_names import natural
from neuralop_irno.data.readers.stored import KEPT, PACKED, Stored, described
from neuralop_irno.errors import expected

DEPTH, MOST = 3, 10_000
"""Groups inside groups that are listed, and arrays. Hard links can form circles."""

NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
"""The start of the name of a NetCDF-4 dimension without coordinates."""

SAMPLE = "sample"
"""The name of the axis along which the groups of a file are stacked."""

COORDINATE = "-coordinate"
SPACE = tuple(f"{axis}{COORDINATE}" for axis in "xyz")
GRID = tuple(f"grid/{axis}" for axis in "xyz")
"""The names of coordinates in PDEBench's files, https://arxiv.org/abs/2210.07182."""


def stored_arrays(path: str) -> dict[str, Callable[[], Stored]]:
    """The arrays of a file, by their paths in it, each opened and checked when it is called for.

    A file with one group for each sample, named by numbers, has the arrays of one group, with an axis of
    samples before their own. Beside PDEBench's coordinates, axes get their names from them.
    """
    file = hdf5.opened(path)
    with hdf5.named_damage(Path(path)):
        groups = sorted((name for name in file if name.isdecimal() and _is_group(file, name)), key=natural)
        if groups and len(groups) == len(file):
            inside = _arrays_in(file[groups[0]])
            found: dict[str, Any] = {name: partial(_stacked, path, tuple(groups), name) for name in inside}
        else:
            names = _arrays_in(file)
            axes_of = _scales(file, names)
            found = {
                name: partial(_stored, path, name, axes_of.get(name, {}))
                for name in names
                if not _without_values(file, name)
            }
    axes = next((axes for axes in (SPACE, GRID) if axes[0] in found), None)
    if axes is None:
        return found
    known = [name for name in axes if name in found]
    sizes = {name.removesuffix(COORDINATE).removeprefix("grid/"): found[name]().shape[-1] for name in known}
    second = "t" if {f"t{COORDINATE}", "grid/t"} & found.keys() else "channel"
    return {
        name: array if name in known else partial(_on_pdebench_axes, array, sizes, second)
        for name, array in found.items()
    }


def _is_group(file: h5py.File, name: str) -> bool:
    return isinstance(file.get(name, getlink=True), h5py.HardLink) and (
        file.get(name, getclass=True) is h5py.Group
    )


def _arrays_in(group: h5py.Group) -> list[str]:
    return [name for _, name in zip(range(MOST), _walk(group, "", DEPTH), strict=False)]


def _walk(group: h5py.Group, above: str, depth: int) -> Iterator[str]:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield f"{above}{name}"  # refused when it is opened: a link is not followed, even for its kind
            continue
        kind = group.get(name, getclass=True)
        if kind is h5py.Group and depth > 1:
            yield from _walk(group[name], f"{above}{name}/", depth - 1)
        elif kind is h5py.Dataset:
            yield f"{above}{name}"


def _scale_name(file: h5py.File, name: str) -> str | None:
    """The name of an array as a dimension scale; None if it is none."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return None
    known = file[name].attrs
    return str(_plain(known.get("NAME", name))) if _plain(known.get("CLASS")) == "DIMENSION_SCALE" else None


def _without_values(file: h5py.File, name: str) -> bool:
    """Whether an array is a dimension of NetCDF-4 without coordinates."""
    return (_scale_name(file, name) or "").startswith(NO_VARIABLE)


def _scales(file: h5py.File, names: Sequence[str]) -> dict[str, dict[int, str]]:
    """The names of the axes of arrays, from the lists of references of the scales.

    The lists of the arrays say the same, but HDF5's library damages its memory where those are damaged.
    """
    found: dict[str, dict[int, str]] = {}
    for name in names:
        if _scale_name(file, name) is None:
            continue
        for entry in np.ravel(file[name].attrs.get("REFERENCE_LIST", ())):
            with suppress(TypeError, ValueError, IndexError, KeyError, OSError, RuntimeError):
                target, axis = entry  # of an array that was deleted the reference is left
                found.setdefault(str(file[target].name).strip("/"), {})[int(axis)] = _last(name)
    return found


def _stored(path: str, name: str, scales: Mapping[int, str] | None = None) -> Stored:
    # Links and arrays that are not completely stored are refused before anything else is read of them.
    dataset = hdf5.array(hdf5.opened(path), name)
    with hdf5.named_damage(Path(path)):
        known = {key: dataset.attrs.get(key) for key in (*KEPT, *PACKED, "CLASS", "DIMENSION_LABELS")}
    if dataset.ndim == 1 and _plain(known["CLASS"]) == "DIMENSION_SCALE":
        scales = {0: _last(name)}
    found = known["DIMENSION_LABELS"]
    labels = dict(enumerate(str(_plain(label)) for label in np.ravel([] if found is None else found)))
    named = {**labels, **(scales or {})}
    dims = tuple(named.get(axis) or None for axis in range(dataset.ndim))
    read = partial(hdf5.stored_part, path, name)
    return Stored(dataset.shape, read, dims, described(known), dataset.dtype)


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _last(path: Any) -> str:
    return str(path).rpartition("/")[2]


def _stacked(path: str, groups: tuple[str, ...], name: str) -> Stored:
    first = _stored(path, f"{groups[0]}/{name}")
    read = partial(_stacked_part, path, groups, name, first.shape)
    return Stored((len(groups), *first.shape), read, (SAMPLE, *first.dims), first.attributes, first.dtype)


def _stacked_part(
    path: str, groups: tuple[str, ...], name: str, shape: tuple[int, ...], place: Any = ()
) -> Any:
    which, *inner = (place if isinstance(place, tuple) else (place,)) or (slice(None),)
    chosen: Sequence[str] = groups[which] if isinstance(which, slice) else [groups[which]]
    for group in chosen:
        found = hdf5.array(hdf5.opened(path), f"{group}/{name}").shape
        if found != shape:
            wanted = f"{name} of {shape}, as in the first group, in {group} of {Path(path).name}"
            raise ValueError(expected(wanted, found, "one file for each shape"))
    parts = [hdf5.stored_part(path, f"{group}/{name}", tuple(inner)) for group in chosen]
    return np.stack(parts) if isinstance(which, slice) else parts[0]


def _on_pdebench_axes(array: Callable[[], Stored], sizes: dict[str, int], second: str) -> Stored:
    """An array with its axes named: ``(sample, t, *S)``, or with the channels last."""
    stored = array()
    shape, space = stored.shape, list(sizes)
    own = [name for name in stored.dims if name is not None and name != SAMPLE]
    for behind in (0, 1):
        start = len(shape) - behind - len(space)
        if not own and 1 <= start <= 2 and shape[start : start + len(space)] == tuple(sizes.values()):
            return stored.named([*[SAMPLE, second][:start], *space, *["channel"] * behind])
    return stored
