"""Rollouts in a Zarr folder."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from neuralop_irno.checkpoint import sync_folder
from neuralop_irno.errors import expected, from_extra
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


class ZarrStorage(Storage):
    """A folder, with compressed files for the rows of arrays."""

    def open(self, path: Path, mode: Mode) -> Any:
        with from_extra("zarr for Zarr files", "zarr"):
            import zarr
        try:
            return zarr.open_group(str(path), mode=mode, use_consolidated=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            got = first_line(error)
            raise ValueError(expected(f"a Zarr group in {path.name}", got, "another path")) from error

    def close(self, group: Any) -> None:
        group.store.close()

    def add(self, group: Any, name: str, new: NewArray) -> None:
        self.create(group, name, new)[... if new.rows is None else 0] = new.values

    def create(self, group: Any, name: str, new: NewArray) -> Any:
        """Add an array without its values."""
        from zarr.codecs import ZstdCodec

        row = new.values.shape
        chunks = row if new.chunks is None else new.chunks
        lead = () if new.rows is None else (1,)
        return group.create_array(
            name,
            shape=new.shape,
            chunks=(*lead, *chunks),
            shards=None if new.shards is None else (*lead, *new.shards),
            dtype=new.values.dtype,
            # Programs that know no digests find damage by the checksum, and see missing frames as nan.
            compressors=[ZstdCodec(level=0, checksum=True)],
            fill_value=np.nan if new.rows is not None and new.values.dtype.kind in "fc" else 0,
            # All chunks in one folder: no folders for each axis of a frame.
            chunk_key_encoding={"name": "default", "separator": "."},
            # Rows of the fill value are written too, so that a missing row can be detected.
            config={"write_empty_chunks": True},
            dimension_names=new.dims or None,
            attributes=dict(new.attributes),
        )

    def describe(self, group: Any, arrays: Mapping[str, NewArray]) -> list[str]:
        root = Path(group.store.root)
        return sorted(
            place.relative_to(root).as_posix() for place in root.rglob("*") if (place / "zarr.json").exists()
        )

    def settle(self, group: Any) -> None:
        import zarr

        with warnings.catch_warnings():  # Zarr 3 has no specification of it yet; xarray looks for it first
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(group.store)

    def array(self, group: Any, name: str) -> Any:
        import zarr

        with zarr.config.set({"array.write_empty_chunks": True}):
            return group[name]

    def sync(self, group: Any, path: Path, rows: Rows | None) -> None:
        if rows is None:
            files = [file for file in path.rglob("*") if file.is_file()]
        else:
            arrays = {name: group[name] for name in {name for name, _ in rows}}
            files = sorted({file for name, row in rows for file in self._chunks(arrays[name], row)})
        for file in files:
            sync_file(file)
        for folder in sorted({file.parent for file in files}):
            sync_folder(folder)

    def fault(self, group: Any, name: str, rows: bool) -> str:
        import zarr

        root = Path(group.store.root)
        folder = root / name
        above = [
            root.joinpath(*folder.relative_to(root).parts[: depth + 1]) for depth in range(name.count("/"))
        ]
        if any(place.is_symlink() for place in (*above, folder, *folder.iterdir())):
            return "a link to another place"
        item = group[name]
        if isinstance(item, zarr.Group):
            return "" if name in GROUPS else "a group"
        if item.metadata.zarr_format != 3 or not _plain(item.metadata.codecs):
            return "an array with other codecs"
        if item.dtype.kind not in "biufc":
            return f"an array of {item.dtype}"
        if rows and tuple(item.shards or item.chunks)[:1] != (1,):
            return "an array that is not stored row by row"
        return ""

    def missing(self, array: Any, row: int | None) -> bool:
        return not all(file.is_file() for file in self._chunks(array, row))

    def foreign(self, group: Any, path: Path) -> str:
        ours = listed(group)
        for place in path.rglob("*"):
            inside = place.relative_to(path)
            name = CHUNK.sub("", inside.as_posix())
            if place.is_symlink() or (name and name not in ours):
                return inside.as_posix()
        return ""

    def _chunks(self, array: Any, row: int | None) -> Iterator[Path]:
        """The files of a row, or of all rows."""
        sizes = array.shards or array.chunks
        counts = [range(-(-size // each)) for size, each in zip(array.shape, sizes, strict=True)]
        for place in product(*counts if row is None else ([row], *counts[1:])):
            yield Path(array.store.root, array.path, array.metadata.encode_chunk_key(place))


def _plain(codecs: Any, inside: bool = False) -> bool:
    """Whether codecs are those that we write: bytes, Zstandard, and shards of them."""
    kinds = [type(codec).__name__ for codec in codecs]
    if kinds == ["ShardingCodec"] and not inside:
        return _plain(codecs[0].codecs, True)
    return kinds in (["BytesCodec"], ["BytesCodec", "ZstdCodec"])


CHUNK = re.compile(r"(^|/)(zarr\.json|c([./]\d+)*)$")
"""Files in the folder of an array: its metadata, and chunks (in subfolders in format 1)."""
