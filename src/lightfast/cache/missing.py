"""Remembers for a short time which ids name nothing, so that asking for them again costs the store nothing."""

from __future__ import annotations

from collections import OrderedDict


class MissingIds:
    """Ids known to be missing, each for ``ttl`` seconds (``0`` = remember nothing), at most ``max_entries``.

    Times are seconds of one clock, given by the caller. Where that clock is set back, what it said before is
    forgotten. Raises ``ValueError`` for negative limits.
    """

    def __init__(self, ttl: float, max_entries: int = 10_000) -> None:
        if not ttl >= 0 or max_entries < 0:
            raise ValueError("How long and how many missing ids are remembered can't be negative.")
        self._ttl = ttl
        self._max_entries = max_entries
        self._added: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._added)

    def add(self, id: str, now: float) -> None:
        """Remember that ``id`` is missing at ``now``. Where there are too many, the oldest are forgotten."""
        self._added.pop(id, None)
        self._added[id] = now
        while self._added and (len(self._added) > self._max_entries or not self._holds(self._oldest(), now)):
            self._added.popitem(last=False)

    def contains(self, id: str, now: float) -> bool:
        """Whether ``id`` was missing less than ``ttl`` seconds before ``now``."""
        added = self._added.get(id)
        if added is None:
            return False
        if self._holds(added, now):
            return True
        del self._added[id]
        return False

    def discard(self, id: str) -> None:
        """Forget ``id``: it names an image now."""
        self._added.pop(id, None)

    def clear(self) -> None:
        self._added.clear()

    def _oldest(self) -> float:
        return next(iter(self._added.values()))

    def _holds(self, added: float, now: float) -> bool:
        return 0 <= now - added < self._ttl
