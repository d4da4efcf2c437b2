"""A SIEVE cache, bounded exactly in bytes (Zhang et al., NSDI 2024).

Entries stand in a queue in the order they came. A hit sets one flag and moves nothing. Where room is
needed, a hand walks from the oldest entry to the newest, takes the flag from each entry it passes, and
evicts the first that has none; next time it goes on from there. What is asked for once leaves early,
what is asked for again survives a scan.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LARGEST_SHARE = 4
"""A value larger than the bound divided by this would push out too many others and is refused."""


@dataclass(slots=True, eq=False)
class Slot(Generic[K, V]):
    """Where a value stands in the queue. Empty once it has left the cache."""

    key: K
    value: V | None
    size: int
    visited: bool = False
    newer: Slot[K, V] | None = None
    older: Slot[K, V] | None = None


class MemoryCache(Generic[K, V]):
    """Keeps values by key; the sum of their sizes is never above ``max_bytes``, not even inside ``put``.

    ``max_entries`` bounds their number as well, ``None`` = by bytes alone. A bound of 0 keeps nothing.
    For one thread: there is no lock.

    ``on_evict(key, value)`` is called exactly once for every ``put`` that was accepted, when its value
    leaves: evicted, replaced, removed or cleared. It is called after the cache has reached its new state,
    so it may use the cache. It must not raise. Raises ``ValueError`` for a negative bound.
    """

    def __init__(
        self, max_bytes: int, max_entries: int | None = None, on_evict: Callable[[K, V], None] | None = None
    ) -> None:
        self._entries: dict[K, Slot[K, V]] = {}
        self._newest: Slot[K, V] | None = None
        self._oldest: Slot[K, V] | None = None
        self._hand: Slot[K, V] | None = None  # None: begin at the oldest
        self._bytes = 0
        self._on_evict = on_evict
        self.evictions = 0
        """How many entries had to leave to make room."""
        self.resize(max_bytes, max_entries)

    @property
    def max_bytes(self) -> int:
        """The bound of ``bytes``."""
        return self._max_bytes

    @property
    def bytes(self) -> int:
        """The sum of the sizes of all entries."""
        return self._bytes

    @property
    def is_half_empty(self) -> bool:
        """Whether less than half of each bound is used."""
        return 2 * self._bytes < self._max_bytes and (
            self._max_entries is None or 2 * len(self._entries) < self._max_entries
        )

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        """The keys, oldest first. The cache must not change meanwhile."""
        return iter(self._entries)

    def get(self, key: K) -> V | None:
        """The value, which counts as used now; ``None`` if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        entry.visited = True
        return entry.value

    def slot(self, key: K) -> Slot[K, V] | None:
        """The slot of ``key``, for one who uses its value often: each use is to set ``visited``."""
        return self._entries.get(key)

    def peek(self, key: K) -> V | None:
        """The value, without counting as a use; ``None`` if there is none."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def admits(self, size: int) -> bool:
        """Whether a value of ``size`` bytes would be kept: at most a quarter of the bound."""
        return size <= self._max_bytes // LARGEST_SHARE and self._max_entries != 0

    def put(self, key: K, value: V, size: int) -> bool:
        """Keep ``value``, accounted with ``size`` bytes (at least 1), instead of what ``key`` had before.

        ``False`` if it is too large to be kept. What ``key`` had before is outdated and leaves all the same.
        """
        if size < 1:
            raise ValueError(f"A cached value has at least one byte, not {size}.")
        gone = []
        if (outdated := self._entries.get(key)) is not None:
            gone.append(self._unlink(outdated))
        accepted = self.admits(size)
        if accepted:
            gone += self._make_room(size, entries=1)
            self._link(Slot(key, value, size))
        self._announce(gone)
        return accepted

    def remove(self, key: K) -> V | None:
        """Let ``key`` go and return what it had, after ``on_evict`` has seen it; ``None`` if it had nothing."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        gone = self._unlink(entry)
        self._announce([gone])
        return gone[1]

    def clear(self) -> None:
        """Let every entry go."""
        self._announce([self._unlink(entry) for entry in list(self._entries.values())])

    def resize(self, max_bytes: int, max_entries: int | None) -> None:
        """Change the bounds and evict what no longer fits, at once. Raises ``ValueError`` if one is negative."""
        if max_bytes < 0 or (max_entries is not None and max_entries < 0):
            raise ValueError("The bounds of a cache can't be negative.")
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._announce(self._make_room(0, entries=0))

    def _make_room(self, size: int, entries: int) -> list[tuple[K, V]]:
        gone = []
        while self._lacks_room(size, entries) and (victim := self._victim()) is not None:
            gone.append(self._unlink(victim))
            self.evictions += 1
        return gone

    def _lacks_room(self, size: int, entries: int) -> bool:
        if self._bytes + size > self._max_bytes:
            return True
        return self._max_entries is not None and len(self._entries) + entries > self._max_entries

    def _victim(self) -> Slot[K, V] | None:
        entry = self._hand or self._oldest
        while entry is not None and entry.visited:
            entry.visited = False
            entry = entry.newer or self._oldest
        self._hand = entry
        return entry

    def _link(self, entry: Slot[K, V]) -> None:
        entry.older = self._newest
        if self._newest is None:
            self._oldest = entry
        else:
            self._newest.newer = entry
        self._newest = entry
        self._entries[entry.key] = entry
        self._bytes += entry.size

    def _unlink(self, entry: Slot[K, V]) -> tuple[K, V]:
        newer, older = entry.newer, entry.older
        if self._hand is entry:
            self._hand = newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        if older is None:
            self._oldest = newer
        else:
            older.newer = newer
        # Nobody keeps the value by keeping the slot.
        value, entry.value, entry.newer, entry.older = entry.value, None, None, None
        del self._entries[entry.key]
        self._bytes -= entry.size
        return entry.key, cast(V, value)

    def _announce(self, gone: list[tuple[K, V]]) -> None:
        if self._on_evict is not None:
            for key, value in gone:
                self._on_evict(key, value)
