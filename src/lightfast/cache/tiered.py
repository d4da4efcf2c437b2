"""Memory over store: one read of an image, whichever level has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from lightfast.cache.coherence import UNTRUSTED, Link, LinkState
from lightfast.cache.entry import ENTRY_OVERHEAD, HIT, STALE_HIT, Entry, Found
from lightfast.cache.families import Families
from lightfast.cache.memory import MemoryCache
from lightfast.cache.missing import MissingIds
from lightfast.cache.pages import WORTHWHILE, in_own_pages
from lightfast.cache.replacements import Replacements
from lightfast.cache.singleflight import SingleFlight
from lightfast.cache.warming import Warming
from lightfast.errors import Missing, StoreUnavailable
from lightfast.http.caching import CacheOutcome, Forward
from lightfast.model import Change, Clock, Image, Meta, is_valid_id
from lightfast.ports import CostlyStore, FollowedStore
from lightfast.tally import Histogram

SETTLING = 0.05
"""Seconds after which a new copy moves to pages of its own: its first answer is on its way by then."""

TIDY_DELAY = 0.05
"""Seconds before what was made of an old version is dropped from the store: who waits for the new one goes first."""

EXPIRY_TOLERANCE = 1.0
"""Seconds by which an expiry may get later before a copy takes it over: Redis tells what remains, never twice the same.
An earlier one is taken over at once, for nothing is served that has expired."""


@dataclass(slots=True)
class Fill:
    """A read of the store under way. A change that arrives meanwhile voids it: what it brings is not kept."""

    epoch: int
    begun: float
    void: bool = False
    news: Change | None = None
    """The last change that was heard of meanwhile and says which version it made."""

    def holds(self, meta: Meta) -> bool:
        """Whether ``meta``, which was read, is still right as far as is known."""
        return not self.void and (self.news is None or self.news.made(meta))


class TieredCache:
    """The memory cache over a store, kept coherent by the store's own changes.

    While the link to the store is up, a copy is served without asking. Without it, the store is asked for the version;
    while the store is away, a copy is served as stale for ``stale_if_error`` seconds after it was last verified.
    What others have just stored is loaded before it is asked for, if ``warm``. Concurrent loads of one id are one
    store read. All of it runs on one event loop and nothing here blocks it.
    """

    def __init__(
        self,
        store: FollowedStore,
        memory: MemoryCache[str, Entry],
        missing: MissingIds,
        families: Families,
        *,
        stale_if_error: float,
        warm: bool,
        clock: Clock,
        timer: Clock,
    ) -> None:
        self.memory = memory
        self.link = Link(store, on_change=self._on_change, on_loss=missing.clear, clock=clock)
        self.store_latency = Histogram()
        self._store = store
        self._missing = missing
        self._stale_if_error = stale_if_error
        self._clock = clock
        self._timer = timer
        self._loads: SingleFlight[str, Found] = SingleFlight()
        self._version_requests: SingleFlight[str, Found] = SingleFlight()
        self._fills: dict[str, list[Fill]] = {}
        self._families = families
        self._replacements = Replacements(self._gone)
        self._tidying: set[asyncio.Task[None]] = set()
        self._warming = Warming(self._load_beforehand, clock) if warm else None

    @property
    def joins(self) -> int:
        """How many requests shared a store read that another had begun."""
        return self._loads.joins + self._version_requests.joins

    async def open(self) -> None:
        await self.link.open()
        if self._warming is not None and isinstance(self._store, CostlyStore):
            self._warming.begin(self._store, self)

    async def close(self) -> None:
        await self.link.close()
        if self._warming is not None:
            await self._warming.close()
        await self._loads.close()
        await self._version_requests.close()
        for task in self._tidying:
            task.cancel()
        if self._tidying:
            await asyncio.wait(self._tidying)
        self.memory.clear()

    async def find(self, id: str) -> Found:
        """The image with its bytes. Raises ``Missing``, ``BrokenRecord``, ``StoreUnavailable``."""
        found, forward = await self._look(id)
        if found is None or found.content is None:
            return await self._load(id, forward)
        return found

    async def _load_beforehand(self, id: str) -> int:
        return (await self.find(id)).meta.size + ENTRY_OVERHEAD

    def has(self, id: str) -> bool:
        """``warming.Room``"""
        return id in self.memory

    def is_free(self) -> bool:
        """``warming.Room``"""
        return self.link.state is LinkState.LINKED and not self._fills

    def has_room(self, loaded: int) -> bool:
        """``warming.Room``: half of the memory is for what is asked for. No image is larger than half of that."""
        return self.memory.is_half_empty and loaded < self.memory.max_bytes // 2

    async def find_meta(self, id: str) -> Found:
        """The image's metadata, with its bytes if they are in memory or had to be read. Raises as ``find``."""
        found, _ = await self._look(id)
        return found or await self._version(id)

    async def _look(self, id: str) -> tuple[Found | None, Forward]:
        """What memory has, verified where it has to be, or the version that has taken its place; else ``None``, and
        why the store has to be asked for the bytes."""
        if self._clock() > self.link.turning_until:
            await self.link.caught_up()
        entry = self._entry(id)
        if entry is None:
            return None, Forward.URI_MISS
        if entry.epoch == self.link.trusted_epoch:
            return Found(entry.meta, entry.content or None, HIT, entry.epoch), Forward.STALE
        return await self._reverify(entry), Forward.STALE

    def trusted(self, key: str) -> Entry | None:
        """What memory has under ``key``, if it may be served without asking the store."""
        entry = self.memory.get(key)
        if entry is None or entry.epoch != self.link.trusted_epoch or entry.meta.is_expired(self._clock()):
            return None
        return entry

    def drop(self, id: str) -> None:
        """Forget everything about ``id``, reads under way included: what they bring may be older than the change."""
        self._forget(id)
        for fill in self._fills.get(id, ()):
            fill.void = True

    def _forget(self, id: str) -> None:
        self._let_go(id)
        self._missing.discard(id)
        self._loads.forget(id)
        self._version_requests.forget(id)

    def _let_go(self, id: str) -> None:
        """Let the copy of ``id`` leave memory, and what was made from it."""
        self.memory.remove(id)
        for key in self._families.pop(id):
            self.memory.remove(key)

    def _gone(self, id: str, etag: str) -> None:
        """The version ``etag`` is no more. Who took it away may be a program that knows nothing of variants."""
        family = self._families.of(id)
        if family is not None and family.source.meta.etag == etag:
            self._let_go(id)
        task = asyncio.create_task(self._tidy(etag), name="lightfast-tidying")
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)

    async def _tidy(self, etag: str) -> None:
        await asyncio.sleep(TIDY_DELAY)
        with suppress(StoreUnavailable):  # they expire in any case
            await self.link.ask(self._store.drop_variants(etag))

    def drop_all(self) -> None:
        """``drop`` for every id."""
        for id in list(self._fills):
            self.drop(id)
        self.memory.clear()
        self._missing.clear()

    def _on_change(self, change: Change) -> None:
        if change.id is None:
            self.drop_all()
            return
        entry = self.memory.peek(change.id)
        if change.etag is None:
            self.drop(change.id)
        elif entry is None or not change.made(entry.meta):
            # What is being read now may be what the change has made: a write is often followed by a read at once.
            self._forget(change.id)
            for fill in self._fills.get(change.id, ()):
                fill.news = change
        if self._warming is not None and is_valid_id(change.id):
            self._warming.heard_of(change.id)

    def own_write(self, id: str) -> None:
        """A write through this process begins: what is heard of it is no news."""
        if self._warming is not None:
            self._warming.leave_out(id)

    def _entry(self, id: str) -> Entry | None:
        now = self._clock()
        if self._missing.contains(id, now):
            raise Missing(id)
        entry = self.memory.get(id)
        if entry is None and (family := self._families.of(id)) is not None:
            entry = family.source
        if entry is not None and entry.meta.is_expired(now):
            self._let_go(id)
            return None
        return entry

    async def _reverify(self, entry: Entry) -> Found:
        """Hold ``entry`` against the store's version. If it was outdated it is gone now, and that one is returned."""
        if self.link.state is LinkState.STORE_AWAY:
            return self._stale(entry)
        id = entry.meta.id
        try:
            current = await self._version(id)
        except StoreUnavailable:
            # It may be that only this question failed: then nobody can say that the copy is still right.
            if not await self.link.is_found_away():
                raise
            return self._stale(entry)
        if current.meta.etag != entry.meta.etag:
            if (self.memory.peek(id) or entry) is entry:
                self._let_go(id)
            return current
        if _renewed(entry.meta, current.meta):
            entry.meta = current.meta
            entry.prepared.clear()
        entry.epoch = current.epoch
        entry.verified = self._clock()
        return Found(entry.meta, entry.content or None, HIT, entry.epoch)

    def _stale(self, entry: Entry) -> Found:
        link = self.link
        # Until the link was last alive it would have brought any change of what it vouched for.
        verified = max(entry.verified, link.last_alive) if entry.epoch == link.epoch else entry.verified
        age = max(0.0, self._clock() - verified)
        if age > self._stale_if_error:
            raise StoreUnavailable
        return Found(entry.meta, entry.content or None, STALE_HIT, age=age)

    async def _version(self, id: str) -> Found:
        found, _ = await self._share(self._version_requests, id, self._ask_version)
        return found

    async def _share(
        self, flights: SingleFlight[str, Found], id: str, ask: Callable[[str], Awaitable[Found]]
    ) -> tuple[Found, bool]:
        """What ``ask`` finds, for all who want it at the same time; whether another had begun to ask."""
        if not flights.in_flight(id):
            return await flights.do(id, lambda: ask(id))
        epoch = self.link.trusted_epoch
        try:
            found, joined = await flights.do(id, lambda: ask(id))
            if self._is_trusted(found):
                return found, joined
        except Missing:
            if epoch == self.link.trusted_epoch >= 0:  # its being stored would have been told of
                raise
        # It was asked before this request began, so it may be older than a write that was acknowledged since.
        # What is joined now was not. So at most one question per id is under way, however many wait.
        return await flights.do(id, lambda: ask(id))

    async def _ask_version(self, id: str) -> Found:
        started = self._timer()
        with self.reading(id) as fill:
            seen = await self.link.ask(self._store.head(id))
        if seen is None:
            self._not_there(id, fill)
            raise Missing(id)
        if isinstance(seen, Image):
            # A copy that is the same stays, with all that is prepared for it.
            known = self.memory.peek(id)
            is_known = known is not None and known.meta.etag == seen.meta.etag
            return self._take(seen, fill, started, keep=not is_known)
        epoch = fill.epoch if fill.holds(seen) else UNTRUSTED
        return Found(self._replacements.observe(seen), None, CacheOutcome(False, Forward.URI_MISS), epoch)

    async def _load(self, id: str, forward: Forward) -> Found:
        found, joined = await self._share(self._loads, id, self._fetch)
        return replace(found, outcome=replace(found.outcome, forward=forward, collapsed=joined))

    async def _fetch(self, id: str) -> Found:
        started = self._timer()
        with self.reading(id) as fill:
            image = await self.link.ask(self._store.get(id))
        if image is None:
            self._not_there(id, fill)
            raise Missing(id)
        return self._take(image, fill, started, keep=True)

    def _take(self, image: Image, fill: Fill, started: float, *, keep: bool) -> Found:
        """What has been read whole, beginning at ``started`` on the timer."""
        seconds = self._timer() - started
        self.store_latency.observe(seconds)
        holds = fill.holds(image.meta)
        meta = self._replacements.observe(image.meta)
        stored = keep and holds and self._keep(meta, image.content, fill)
        outcome = CacheOutcome(False, Forward.URI_MISS, stored=stored)
        epoch = fill.epoch if holds else UNTRUSTED
        return Found(meta, image.content, outcome, epoch, seconds, image.decode_seconds)

    def _keep(self, meta: Meta, content: bytes, fill: Fill) -> bool:
        size = len(content) + ENTRY_OVERHEAD
        if not self.memory.admits(size):
            return False
        entry = Entry(meta, content, fill.epoch, fill.begun)
        kept = self.memory.put(meta.id, entry, size)
        if kept and len(content) >= WORTHWHILE:
            asyncio.get_running_loop().call_later(SETTLING, self._settle, meta.id)
        return kept

    def _settle(self, id: str) -> None:
        """Copying takes a large picture as long as receiving it, so whoever asked for it does not wait for that. It is
        looked up by its id: one that has left the cache meanwhile is not to be held for this."""
        entry = self.memory.peek(id)
        if entry is not None and isinstance(entry.content, bytes):
            entry.content = in_own_pages(entry.content)

    def _is_trusted(self, found: Found) -> bool:
        return found.epoch == self.link.trusted_epoch

    def _not_there(self, id: str, fill: Fill) -> None:
        if fill.void or fill.news is not None:
            return
        self._let_go(id)
        self._replacements.gone(id)
        if fill.epoch == self.link.trusted_epoch:
            self._missing.add(id, self._clock())

    @contextmanager
    def reading(self, id: str) -> Iterator[Fill]:
        """For as long as ``id`` is being read, and what follows from it is being made: whether it still holds."""
        fill = Fill(max(self.link.trusted_epoch, UNTRUSTED), self._clock())
        fills = self._fills.setdefault(id, [])
        fills.append(fill)
        try:
            yield fill
        finally:
            fills.remove(fill)
            if not fills:
                del self._fills[id]


def _renewed(known: Meta, current: Meta) -> bool:
    """Whether the same bytes have other metadata now: stored again, or given another time to live."""
    if known.expires is None or current.expires is None:
        return known.expires != current.expires or known.replaced != current.replaced
    later = current.expires - known.expires
    return not 0 <= later <= EXPIRY_TOLERANCE or known.replaced != current.replaced
