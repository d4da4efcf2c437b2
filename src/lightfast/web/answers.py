"""What one server keeps ready for its hot path: prepared answers by request target, and the memory of header blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from weakref import WeakKeyDictionary

from uvicorn.config import Config

from lightfast.cache.entry import Entry
from lightfast.cache.memory import MemoryCache, Slot
from lightfast.http.dates import format_http_date
from lightfast.serving import Headers, Heads
from lightfast.tally import Reads
from lightfast.web.busy_polling import BusyPolling
from lightfast.web.hit_log import HitLog
from lightfast.web.plain import Choice, HeaderBlocks, Plain
from lightfast.web.popular import PopularAnswers, Popularity
from lightfast.web.upkeep import ConnectionLimits, Upkeep

MAX_TARGETS = 20_000
MAX_TARGETS_OF_ONE = 4
"""An image has two targets; a path in front of it can be written in any number of ways."""

MAX_CHOICES = 64
"""Sets of choosing fields that are told apart for one target: every browser has its own Accept."""

MAX_LENGTH = 1024
"""Bytes of a target, and of a set of choosing fields. Clients write them, so what is longer is not kept."""

MAX_DIFFERENT_CHOICES = 1_000
"""Sets of choosing fields of all targets together, each kept once."""

MAX_SHORTCUTS = 1_000
MAX_SEEN = 10_000
"""Requests that were answered once, of which nothing but a hash is kept."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The heads of the answers to one target, from behind the Date to the empty line."""

    whole: bytes
    unchanged: bytes
    etag: str
    until: float
    """Unix seconds until which they are right."""
    names_origin: bool
    """Whether a request with Origin is answered otherwise."""


class Voucher(Protocol):
    """Who vouches for what is in memory: the link to a store, most often."""

    trusted_epoch: int
    turning_until: float

    def after_catching_up(self, callback: Callable[[], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where what is at a target is, if it is in memory."""

    key: str
    memory: MemoryCache[str, Entry]
    link: Voucher
    reads: Reads
    choices: dict[Choice, str] | None = None
    """The keys by what chooses one of them; ``None`` where nothing does, and ``key`` counts."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The answer to a request of certain bytes, until ``until`` (Unix seconds), while ``link`` is in ``epoch``.

    It ends with the second, because its Date does; then the request is read again. It keeps no content.
    """

    until: float
    slot: Slot[str, Entry]
    link: Voucher
    epoch: int
    reads: Reads
    status: int
    has_body: bool
    head: bytes
    method: str
    target: bytes
    popularity: Popularity | None
    """Of an answer whose body is large."""

    def holds(self, now: float) -> bool:
        return now < self.until and self.epoch == self.link.trusted_epoch and self.slot.value is not None


class HotAnswers:
    """One for each server (a uvicorn ``Config``): what it answers without asking its application."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.places: dict[bytes, Place] = {}
        self.hit_log: HitLog | None = None
        self.upkeep = Upkeep(limits)
        self.draining = False
        """Whether the server ends: each connection is told so with its next answer, which takes the full path."""
        self.blocks = HeaderBlocks()
        self.shortcuts: dict[bytes, Shortcut] = {}
        """By all the bytes of a request."""
        self._alike: dict[tuple[bytes, Plain], Shortcut] = {}
        """By the request line, as far as its target, and what the header block says."""
        self._seen: set[int] = set()
        self.popular = PopularAnswers()
        self.polling = BusyPolling()
        self._choices: dict[Choice, Choice] = {}
        self.second = self.next_second = 0
        self.ok = self.not_modified = b""
        """How a 200 and a 304 begin from ``second`` until ``next_second`` (Unix seconds)."""

    def keep(
        self,
        target: bytes,
        place: Place,
        heads: Heads,
        more: Headers,
        names_origin: bool,
        choice: Choice | None = None,
    ) -> None:
        """Answer plain requests for ``target`` with ``heads`` and ``more`` from now on, while they are right; those
        with the same ``choice``, unless it is ``None``."""
        if self.draining or len(target) > MAX_LENGTH or sum(len(value) for _, value in choice or ()) > MAX_LENGTH:
            return
        if len(heads.entry.prepared) >= MAX_TARGETS_OF_ONE:
            heads.entry.prepared.clear()
        heads.entry.prepared[target] = Prepared(
            whole=_lines([*heads.whole, *more]),
            unchanged=_lines([*heads.unchanged, *more]),
            etag=heads.entry.meta.etag,
            until=heads.until,
            names_origin=names_origin,
        )
        self.places[target] = place if choice is None else self._chosen(target, place, self._kept_once(choice))
        if len(self.places) > MAX_TARGETS:
            del self.places[next(iter(self.places))]

    def _kept_once(self, choice: Choice) -> Choice:
        if choice not in self._choices and len(self._choices) >= MAX_DIFFERENT_CHOICES:
            self._choices.clear()
            self.places.clear()
        return self._choices.setdefault(choice, choice)

    def _chosen(self, target: bytes, place: Place, choice: Choice) -> Place:
        known = self.places.get(target)
        choices = known.choices if known is not None and known.memory is place.memory else None
        choices = {} if choices is None or len(choices) >= MAX_CHOICES else choices
        choices[choice] = place.key
        return replace(place, choices=choices)

    def drain(self) -> None:
        """Leave all answers to the full path from now on."""
        self.draining = True
        self.places.clear()
        self._choices.clear()
        self.shortcuts.clear()
        self._alike.clear()

    def recall(self, line: bytes, plain: Plain, now: float) -> Shortcut | None:
        """The answer to a request that differs from an earlier one only in what means nothing to it."""
        shortcut = self._alike.get((line, plain))
        return shortcut if shortcut is not None and shortcut.holds(now) else None

    def remember_alike(self, line: bytes, plain: Plain, shortcut: Shortcut) -> None:
        if len(self._alike) >= MAX_SHORTCUTS:
            self._alike.clear()
        self._alike[line, plain] = shortcut

    def remember(self, request: bytes, shortcut: Shortcut) -> None:
        """Answer ``request`` by ``shortcut`` if it comes for the second time: one with an id of its own never does."""
        mark = hash(request)
        if request in self.shortcuts or mark in self._seen:
            if len(self.shortcuts) >= MAX_SHORTCUTS:
                self.shortcuts.clear()
            self.shortcuts[request] = shortcut
            return
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(mark)

    def begin_second(self, now: float, server_headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Prepare how answers begin in the second of ``now``: status line, the server's own fields, Date."""
        self.second = math.floor(now)
        self.next_second = self.second + 1
        fields = [*server_headers]
        if not any(name.lower() == b"date" for name, _ in fields):
            fields.append((b"date", format_http_date(self.second).encode()))
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        self.ok = b"HTTP/1.1 200 OK\r\n" + lines
        self.not_modified = b"HTTP/1.1 304 Not Modified\r\n" + lines


_of_servers: WeakKeyDictionary[Config, HotAnswers] = WeakKeyDictionary()


def answers_of(server: Config) -> HotAnswers:
    """The answers that all connections of one server share."""
    try:
        return _of_servers[server]
    except KeyError:
        return _of_servers.setdefault(server, HotAnswers(ConnectionLimits(max(1, server.timeout_keep_alive))))


def _lines(headers: Headers) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1") + b"\r\n"
