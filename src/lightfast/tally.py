"""Numbers that are counted while requests are served and read when somebody asks. Plain integers, no locks."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import Enum

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Tier(Enum):
    """Which cache level an answer came from."""

    MEMORY = "memory"
    STORE = "store"
    RENDERED = "rendered"
    """Made for the request."""
    STALE = "stale"
    """From memory, while the store is away."""
    NONE = "none"
    """There was nothing to answer with: an error."""


@dataclass(slots=True)
class Histogram:
    """Counts observations by upper bound, as Prometheus does. The last count is of those above every bound."""

    bounds: tuple[float, ...] = SECONDS
    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    sum: float = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(slots=True)
class Reads:
    """Answers to read requests, by status and tier, and the bytes of their bodies."""

    whole_hits: int = 0
    """Answers 200 from memory, and those below the answers 304: for a faster way of answering to add to."""
    unchanged_hits: int = 0
    bytes: int = 0
    _others: dict[tuple[int, Tier], int] = field(default_factory=dict)

    def count(self, status: int, tier: Tier, length: int) -> None:
        key = (status, tier)
        self._others[key] = self._others.get(key, 0) + 1
        self.bytes += length

    @property
    def answers(self) -> dict[tuple[int, Tier], int]:
        """How many there were of each kind."""
        answers = dict(self._others)
        for status, hits in ((200, self.whole_hits), (304, self.unchanged_hits)):
            if hits:
                answers[status, Tier.MEMORY] = answers.get((status, Tier.MEMORY), 0) + hits
        return answers
