"""A store in this process's memory, for tests and demonstrations. Nothing survives the process."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from typing import NoReturn

from lightfast.errors import InvalidRequest, PreconditionFailed, StoreFull
from lightfast.model import (
    ALWAYS,
    Change,
    Clock,
    Draft,
    Image,
    Meta,
    Page,
    Precondition,
    Predecessor,
    Rendition,
    Stored,
    is_valid_id,
    next_version,
)
from lightfast.ports import FeedObserver
from lightfast.stores.memory_variants import MemoryVariants

RECORD_OVERHEAD = 512
"""Bytes that a record counts beyond its content, so that empty images are bounded too."""

HEARTBEAT = 0.5
"""Seconds between two signs of life, for those who measure how old a copy may be."""

MAX_REMEMBERED = 10_000
"""Deleted images that are remembered at most; the ones deleted longest ago are forgotten first."""


class MemoryStore:
    """Fulfils ``ports.Store``, ``ports.ChangeFeed`` and ``ports.VariantStore`` with dictionaries.

    ``max_bytes`` bounds the contents, those of variants too, and ``RECORD_OVERHEAD`` for each; variants give way to
    images. ``remember_deleted`` in seconds. No method awaits anything, so each is one atomic step on the event loop.
    """

    def __init__(self, *, max_bytes: int, clock: Clock = time.time, remember_deleted: float = 3600) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._remember_deleted = remember_deleted
        self._images: dict[str, Image] = {}
        self._ids: list[str] = []
        self._bytes = 0
        self._variants = MemoryVariants(_cost)
        self._deleted: OrderedDict[str, tuple[Predecessor, float]] = OrderedDict()
        self._observers: list[FeedObserver] = []

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def ping(self) -> None:
        pass

    async def get(self, id: str) -> Image | None:
        return self._current(id)

    async def head(self, id: str) -> Meta | None:
        image = self._current(id)
        return image.meta if image is not None else None

    async def put(self, draft: Draft, ttl: float, precondition: Precondition = ALWAYS) -> Stored:
        current = self._current(draft.id)
        _demand(precondition, current)
        now = self._clock()
        previous = current.meta if current is not None else self._predecessor(draft.id, now)
        self._make_room(draft, current)
        meta = next_version(draft, previous, now, ttl)
        self._variants.hold(meta.etag, draft.id)
        old = self._take(draft.id)
        if old is not None and old.meta.etag != meta.etag:
            self._variants.release(old.meta.etag, draft.id)
        self._images[draft.id] = Image(meta, draft.content)
        insort(self._ids, draft.id)
        self._bytes += _cost(len(draft.content))
        self._tell(draft.id, "stored")
        return Stored(meta, created=current is None)

    async def delete(self, id: str, precondition: Precondition = ALWAYS) -> bool:
        current = self._current(id)
        _demand(precondition, current)
        if current is None:
            return False
        self._take(id)
        meta = current.meta
        self._variants.release(meta.etag, id)
        predecessor = Predecessor(meta.etag, meta.created, meta.replaced)
        self._deleted[id] = predecessor, self._clock() + self._remember_deleted
        self._deleted.move_to_end(id)
        while len(self._deleted) > MAX_REMEMBERED:
            self._deleted.popitem(last=False)
        self._tell(id, "deleted")
        return True

    async def list(self, cursor: str | None, limit: int) -> Page:
        if cursor is not None and not is_valid_id(cursor):
            raise InvalidRequest("The cursor is none that this server gave.")
        now = self._clock()
        items: list[Meta] = []
        for at in range(bisect_right(self._ids, cursor) if cursor is not None else 0, len(self._ids)):
            meta = self._images[self._ids[at]].meta
            if meta.is_expired(now):
                continue
            if len(items) == limit:
                return Page(tuple(items), items[-1].id if items else cursor)
            items.append(meta)
        return Page(tuple(items), None)

    async def get_variant(self, source: str, spec: str) -> Rendition | None:
        if any(self._current(id) is not None for id in self._variants.holders(source)):
            return self._variants.get(source, spec)
        return None

    async def put_variant(self, source: Meta, spec: str, rendition: Rendition) -> None:
        current = self._current(source.id)
        if current is None or current.meta.etag != source.etag:
            return
        spare = self._max_bytes - self._variants.price(source.etag, spec, rendition)
        if self._used > spare:
            self._reclaim()
        if self._used > spare:
            raise StoreFull
        self._variants.put(source.etag, spec, rendition)

    async def drop_variants(self, source: str) -> None:
        self._variants.drop(source)

    async def follow(self, observer: FeedObserver) -> NoReturn:
        self._observers.append(observer)
        observer.linked()
        try:
            while True:
                await asyncio.sleep(HEARTBEAT)
                observer.alive(0.0)
        finally:
            self._observers.remove(observer)

    def _tell(self, id: str, kind: str) -> None:
        for observer in self._observers:
            observer.changed(Change(id, kind, self._clock()))

    def _current(self, id: str) -> Image | None:
        image = self._images.get(id)
        return None if image is None or image.meta.is_expired(self._clock()) else image

    def _predecessor(self, id: str, now: float) -> Predecessor | None:
        predecessor, forgotten = self._deleted.get(id, (None, 0.0))
        return predecessor if forgotten > now else None

    @property
    def _used(self) -> int:
        return self._bytes + self._variants.bytes

    def _make_room(self, draft: Draft, current: Image | None) -> None:
        spare = self._max_bytes - _cost(len(draft.content))
        if current is not None:
            spare += _cost(len(current.content))
        if self._used > spare:
            self._reclaim(keep=draft.id if current is not None else None)
        if self._bytes > spare:
            raise StoreFull
        self._variants.shrink(spare - self._bytes)

    def _reclaim(self, keep: str | None = None) -> None:
        now = self._clock()
        for id in [id for id, image in self._images.items() if image.meta.is_expired(now) and id != keep]:
            self._variants.release(self._images[id].meta.etag, id)
            self._take(id)

    def _take(self, id: str) -> Image | None:
        image = self._images.pop(id, None)
        if image is not None:
            self._bytes -= _cost(len(image.content))
            del self._ids[bisect_left(self._ids, id)]
        return image


def _cost(size: int) -> int:
    return size + RECORD_OVERHEAD


def _demand(precondition: Precondition, current: Image | None) -> None:
    meta = current.meta if current is not None else None
    if not precondition.allows(meta):
        raise PreconditionFailed(meta.etag if meta is not None else None)
