"""Bounds on the options of data generators: runs that would take days or all memory are refused at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from neuralop_irno.budget import refuse_too_large
from neuralop_irno.errors import expected

MOST = 2**32
"""Upper bound on any count."""

WORK = 1e14
"""Upper bound on cells times time steps; about ten days on one core."""


def whole(name: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """Check that an option is an integer between bounds, and return it.

    Example:
        >>> whole("frames", 0)
        Traceback (most recent call last):
        ValueError: expected frames from 1 to 4294967296, got 0; try frames=1
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise ValueError(expected(f"{name} from {least} to {most}", value, f"{name}={max(least, 0)}"))
    return int(value)


def real(name: str, value: Any, least: float = 0.0, most: float = 1e9, zero: bool = False) -> float:
    """Check that an option is a number above ``least`` (or equal, with ``zero``), up to ``most``."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not least <= value <= most or (value == least and not zero):
        wanted = f"{name} {'from' if zero else 'above'} {least:g} to {most:g}"
        raise ValueError(expected(wanted, value, f"{name}=1.0"))
    return float(value)


def seed_of(value: Any) -> int:
    """Check that a seed is valid for both torch and numpy."""
    return whole("seed", value, 0, 2**32 - 1)


def three(name: str, value: Any, example: Sequence[int]) -> tuple[int, int, int]:
    """Check three counts, for training, validation and test.

    Example:
        >>> three("samples", [2, 1], (64, 8, 16))
        Traceback (most recent call last):
        ValueError: expected three numbers of samples >= 1, got [2, 1]; try samples: [64, 8, 16]
    """
    listed = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3
    if not listed or not all(isinstance(n, (int, np.integer)) and 1 <= n <= MOST for n in value):
        hint = f"{name}: {list(example)}"
        raise ValueError(expected(f"three numbers of {name} >= 1", value, hint))
    train, valid, test = (int(n) for n in value)
    return train, valid, test


def fits(numbers: float, work: float = 0.0) -> None:
    """Raise a ValueError for data that do not fit in memory, or take more than `WORK`."""
    refuse_too_large("samples", numbers, "fewer or smaller samples")
    if work > WORK:
        raise ValueError(expected(f"at most {WORK:g} cells times steps", f"{work:.3g}", "a shorter time"))


def available_device(name: Any) -> torch.device:
    """Check that a device is available, and return it."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except Exception as error:  # each backend raises its own type
        problem = " ".join(str(error).partition("\n")[0].split())
        got = f"{name!r}: {problem}"
        raise ValueError(expected("a device of this machine", got, "device='cpu'")) from error
    return device
