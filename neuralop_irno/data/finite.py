"""Fields are finite: NaN and infinity are refused where a file is read, with the file and the place."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuralop_irno.errors import expected


def finite(values: Any, where: str) -> Any:
    """The same numbers, all of which are finite.

    Args:
        values: an array of numpy, or a tensor on the CPU.
        where: the name of the array, the place in it and the file, for the error.

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


def spelled(place: Any) -> str:
    """The index of a part of an array, as it is written in Python.

    Example:
        >>> spelled((2, slice(0, 4), slice(None))), spelled(3), spelled(())
        ('[2, 0:4, :]', '[3]', '')
    """
    parts = place if isinstance(place, tuple) else (place,)
    words = [_part(part) if isinstance(part, slice) else str(part) for part in parts]
    return f"[{', '.join(words)}]" if words else ""


def _part(part: slice) -> str:
    ends = [part.start, part.stop, *([] if part.step in (None, 1) else [part.step])]
    return ":".join("" if end is None else str(end) for end in ends)
