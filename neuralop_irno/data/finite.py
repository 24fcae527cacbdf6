"""Check fields for NaN and infinity when a file is read; the error names file and index."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuralop_irno.errors import expected


def finite(values: Any, where: str) -> Any:
    """Return ``values`` unchanged if all of them are finite.

    Args:
        values: a numpy array, or a tensor on the CPU.
        where: array, index and file, for the error message.

    Raises:
        ValueError: some are not finite.

    Example:
        >>> finite(np.array([1.0, np.nan]), "u[3] in flow.h5")
        Traceback (most recent call last):
            ...
        ValueError: expected u[3] in flow.h5 to be finite, got 1 NaN or inf; try cleaning the data
    """
    holes = int((~np.isfinite(np.asarray(values))).sum())
    if holes:
        raise ValueError(expected(f"{where} to be finite", f"{holes} NaN or inf", "cleaning the data"))
    return values


def unrounded(values: Any, where: str) -> Any:
    """Numbers in single precision where it holds all numbers of their type, otherwise in double precision.

    Args:
        values: a numpy array.
        where: array, index and file, for the error message.

    Raises:
        ValueError: some are not finite in single precision.

    Example:
        >>> unrounded(np.array([1e9 + 1]), "u").tolist(), unrounded(np.array([1], np.int16), "u").dtype
        ([1000000001.0], dtype('float32'))
    """
    with np.errstate(over="ignore"):
        single = finite(np.asarray(values, dtype=np.float32), where)
    return single if np.can_cast(values.dtype, np.float32) else np.asarray(values, dtype=np.float64)


def spelled(place: Any) -> str:
    """An index or slice of an array, as written in Python.

    Example:
        >>> spelled((2, slice(0, 4), slice(None))), spelled(3), spelled(())
        ('[2, 0:4, :]', '[3]', '')
    """
    parts = place if isinstance(place, tuple) else (place,)
    written = [_part(part) if isinstance(part, slice) else str(part) for part in parts]
    return f"[{', '.join(written)}]" if written else ""


def _part(part: slice) -> str:
    ends = [part.start, part.stop, *([] if part.step in (None, 1) else [part.step])]
    return ":".join("" if end is None else str(end) for end in ends)
