"""A cache in memory with a bounded size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any, Generic, TypeVar

Entry = TypeVar("Entry")


class RecentlyUsed(Generic[Entry]):
    """A thread-safe cache of the most recently used values, up to a total size.

    Args:
        most: largest total size of the values. The last value is kept for any size.

    Example:
        >>> kept = RecentlyUsed[str](most=3)
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
        """The state without the lock, which can neither be copied nor pickled; a copy gets a new one."""
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
        """Store a value, and drop the least recently used ones beyond the total size."""
        with self._lock:
            self._entries[key] = value, size
            self._entries.move_to_end(key)
            while len(self._entries) > 1 and sum(size for _, size in self._entries.values()) > self.most:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._entries.clear()

    def values(self) -> list[Entry]:
        """The values, with the most recently used last."""
        with self._lock:
            return [value for value, _ in self._entries.values()]
