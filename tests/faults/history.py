"""Checks what readers saw against what writers did. Pure: values in, violations out.

Every write stores bytes of its own, so an ETag names one write. Nothing is assumed of the order of writes but this:
a write takes effect between its beginning and the moment it is settled (acknowledged, or never known), so X is
*before* Y only if X was settled when Y began. A read may be explained by any write that could have taken effect by its
end. It is wrong only if each explanation is *outlived*: a write that X is before was acknowledged, and in effect, more
than ``grace`` before the read began, or the time that X lasts was over. What overlaps is never held against anybody,
so each violation reported is one in every possible order of the writes.

A stale answer that says so is held to what it says: it was current ``Age`` (rounded down) seconds before it was asked
for. A *silent* fault gives no sign that changes don't arrive; while it is on, the ``grace`` is the ``detection``.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Write:
    """A put (``etag``), or a removal (``None``) ``lasts`` seconds after it: at once, or by setting an expiry."""

    id: str
    etag: str | None
    begun: float
    acknowledged: float | None
    """``None``: the outcome is not known; it may take effect at any time, or never."""
    lasts: float = math.inf
    """Seconds after which there is nothing any more."""

    @property
    def settled(self) -> float:
        return math.inf if self.acknowledged is None else self.acknowledged

    @property
    def in_effect(self) -> float:
        """When it has certainly replaced what was before it."""
        return self.settled if self.etag is not None else self.settled + self.lasts


@dataclass(frozen=True, slots=True)
class Read:
    """``digest``: MD5 of the bytes received, ``None`` if there were to be none. ``age``: of an answer marked stale."""

    id: str
    connection: int
    begun: float
    ended: float
    status: int
    etag: str | None = None
    digest: str | None = None
    age: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    begun: float
    ended: float
    silent: bool = False

    def touches(self, read: Read, recovery: float) -> bool:
        return self.begun <= read.ended and read.begun <= self.ended + recovery


@dataclass(frozen=True, slots=True)
class Violation:
    """``rule``: torn, unknown, old, gone, backwards, stale, age, refused."""

    rule: str
    read: Read
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """Times in seconds. ``stale_bound`` is the server's LIGHTFAST_STALE_IF_ERROR."""

    grace: float = 0.05
    detection: float = 2.0
    recovery: float = 2.0
    stale_bound: float = 300.0


@dataclass
class History:
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def violations(self, rules: Rules) -> list[Violation]:
        return list(_Check(self, rules).run())


BEGINNING = Write("", None, -math.inf, -1e9, 0)
"""Before anybody wrote there was nothing."""


class _Check:
    def __init__(self, history: History, rules: Rules) -> None:
        self._history, self._rules = history, rules
        self._named = {write.etag: write for write in history.writes if write.etag is not None}
        by_id: dict[str, list[Write]] = defaultdict(lambda: [BEGINNING])
        for write in history.writes:
            by_id[write.id].append(write)
        self._absences = {id: [write for write in writes if write.lasts < math.inf] for id, writes in by_id.items()}
        self._followers = {id: _Followers(writes) for id, writes in by_id.items()}

    def run(self) -> Iterator[Violation]:
        last: dict[tuple[int, str], Sequence[Write]] = {}
        for read in sorted(self._history.reads, key=lambda read: read.begun):
            found = self._wrong_in_itself(read)
            if found is not None:
                yield found
            elif read.status != 503:
                explanations = self._explanations(read)
                valid = [write for write in explanations if not self._outlived(write, read)]
                if not valid:
                    yield self._outdated(read, explanations)
                elif read.age is None:
                    before = last.get((read.connection, read.id), ())
                    if before and all(now.settled <= then.begun for now in valid for then in before):
                        yield Violation("backwards", read)
                    last[read.connection, read.id] = valid

    def _wrong_in_itself(self, read: Read) -> Violation | None:
        troubled = any(fault.touches(read, self._rules.recovery) for fault in self._history.faults)
        if read.status not in (200, 304, 404) and not (read.status == 503 and troubled):
            return Violation("refused", read)
        if read.status in (200, 304):
            if read.digest is not None and read.digest != read.etag:
                return Violation("torn", read)
            if read.etag not in self._named or self._named[read.etag].id != read.id:
                return Violation("unknown", read)
        if read.age is not None and not troubled:
            return Violation("stale", read)
        if read.age is not None and read.age > self._rules.stale_bound:
            return Violation("age", read)
        return None

    def _explanations(self, read: Read) -> Sequence[Write]:
        if read.status == 404:
            absences = self._absences.get(read.id, [BEGINNING])
            return [write for write in absences if write.begun + write.lasts <= read.ended]
        assert read.etag is not None
        write = self._named[read.etag]
        return [write] if write.begun <= read.ended else []

    def _outlived(self, write: Write, read: Read) -> bool:
        silent = any(fault.silent and fault.touches(read, self._rules.recovery) for fault in self._history.faults)
        allowed = self._rules.detection if silent else self._rules.grace
        if read.age is not None:
            allowed += read.age + 1
        over = math.inf if read.status == 404 else write.settled + write.lasts
        following = self._followers[read.id].in_effect(write.settled) if read.id in self._followers else math.inf
        return min(over, following) + allowed < read.begun

    def _outdated(self, read: Read, explanations: Iterable[Write]) -> Violation:
        if read.status == 404:
            return Violation("old", read, "missing")
        followers = (write for write in self._history.writes if write.id == read.id)
        after = max((one.settled for one in explanations), default=math.inf)
        deleted = [one for one in followers if one.etag is None and one.begun >= after and one.in_effect < read.begun]
        expired = any(one.settled + one.lasts < read.begun for one in explanations)
        return Violation("gone" if deleted or expired else "old", read, str(list(explanations)))


class _Followers:
    """The writes of one id, to ask when the first of those that began after a moment was certainly in effect."""

    def __init__(self, writes: Iterable[Write]) -> None:
        ordered = sorted((write for write in writes if write.acknowledged is not None), key=lambda write: write.begun)
        self._begun = [write.begun for write in ordered]
        self._earliest = [math.inf]
        for write in reversed(ordered):
            self._earliest.append(min(self._earliest[-1], write.in_effect))
        self._earliest.reverse()

    def in_effect(self, moment: float) -> float:
        return self._earliest[bisect_left(self._begun, moment)]
