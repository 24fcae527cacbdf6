"""What was computed and is used again, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any, Generic, TypeVar

Entry = TypeVar("Entry")


class Remembered(Generic[Entry]):
    """The most recently used values by key, up to a total size; safe to use from several threads.

    Args:
        most: how large the values may be together. The last one is kept whatever its size.

    Example:
        >>> kept = Remembered[str](most=3)
        >>> for key in "abcd":
        ...     kept.put(key, key.upper(), 1)
        >>> kept.get("a"), kept.get("d")
        (None, 'D')
    """

    def __init__(self, most: float) -> None:
        self.most = most
        self._entries: OrderedDict[Hashable, tuple[Entry, float]] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Copies and other processes get a lock of their own: a lock can neither be copied nor pickled."""
        with self._lock:
            return {"most": self.most, "_entries": self._entries.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())

    def get(self, key: Hashable) -> Entry | None:
        """The value of a key, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: Entry, size: float) -> None:
        """Keep a value, and drop those that were not used for the longest time."""
        with self._lock:
            self._entries[key] = value, size
            self._entries.move_to_end(key)
            while len(self._entries) > 1 and sum(size for _, size in self._entries.values()) > self.most:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Drop all."""
        with self._lock:
            self._entries.clear()

    def values(self) -> list[Entry]:
        """The values, the most recently used last."""
        with self._lock:
            return [value for value, _ in self._entries.values()]
