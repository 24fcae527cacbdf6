"""How far the values that one value of an update depends on can lie from it.

On grids it is a number of cells on each side, for each axis or for all; on graphs a number of edges, which is
one for each round of messages. None means that it may depend on the whole domain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

ReceptiveField = int | tuple[int, ...] | None


def summed(*fields: ReceptiveField) -> ReceptiveField:
    """That of maps applied one after another.

    Example:
        >>> summed((3, 0), 1, (2, 2)), summed(3, None)
        ((6, 3), None)
    """
    return _combined(sum, fields)


def widest(*fields: ReceptiveField) -> ReceptiveField:
    """That of a map which is one of several.

    Example:
        >>> widest(3, 4), widest((1, 5), (2, 2))
        (4, (2, 5))
    """
    return _combined(max, fields)


def _combined(rule: Callable[[Iterable[int]], int], fields: Iterable[ReceptiveField]) -> ReceptiveField:
    known: list[Any] = list(fields)
    if None in known:
        return None
    axes = max((len(field) for field in known if isinstance(field, tuple)), default=None)
    if axes is None:
        return rule(known)
    each = [field if isinstance(field, tuple) else (field,) * axes for field in known]
    return tuple(rule(along) for along in zip(*each, strict=True))
