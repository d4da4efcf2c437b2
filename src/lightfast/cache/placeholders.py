"""Placeholders in memory. They are made from nothing but their URL, so nothing can make them outdated."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from dataclasses import replace

from lightfast.cache.coherence import UNTRUSTED
from lightfast.cache.entry import ENTRY_OVERHEAD, HIT, Entry, Found
from lightfast.cache.memory import MemoryCache
from lightfast.cache.pages import in_own_pages
from lightfast.cache.singleflight import SingleFlight
from lightfast.errors import Overloaded
from lightfast.http.caching import CacheOutcome, Forward
from lightfast.model import Clock, Meta, Picture
from lightfast.ports import Renderer
from lightfast.variant import Placeholder


class Unchanging:
    """The link of what never changes, in the place of ``coherence.Link``: it vouches for everything."""

    trusted_epoch = UNTRUSTED
    turning_until = math.inf

    def after_catching_up(self, act: Callable[[], None]) -> None:
        act()


MAX_WAITING = 32
"""Placeholders that wait their turn."""


class Placeholders:
    """In the same memory as the images, under keys that no image has. One that is asked for often is made once.

    There is no end of them and anybody may ask, so they are made one at a time: pictures of images don't wait for them.
    """

    def __init__(self, memory: MemoryCache[str, Entry], renderer: Renderer, *, timer: Clock) -> None:
        self.memory = memory
        self.link = Unchanging()
        self._renderer = renderer
        self._timer = timer
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._flights: SingleFlight[Placeholder, Found] = SingleFlight()

    async def find(self, wanted: Placeholder) -> Found:
        """Raises as ``Renderer.placeholder``, and ``Overloaded`` where too many wait."""
        entry = self.memory.get(key_of(wanted))
        if entry is not None:
            return Found(entry.meta, entry.content, HIT)
        found, joined = await self._flights.do(wanted, lambda: self._make(wanted))
        return replace(found, outcome=replace(found.outcome, collapsed=joined))

    def kept(self, wanted: Placeholder) -> Entry | None:
        """What memory has."""
        return self.memory.get(key_of(wanted))

    async def close(self) -> None:
        await self._flights.close()

    async def _make(self, wanted: Placeholder) -> Found:
        if self._waiting >= MAX_WAITING:
            raise Overloaded(f"{self._waiting} placeholders wait to be made already; try again later.")
        started = self._timer()
        self._waiting += 1
        try:
            async with self._turn:
                made = await self._renderer.placeholder(wanted)
        finally:
            self._waiting -= 1
        seconds = self._timer() - started
        meta = _meta(wanted, made, self._renderer.version)
        size = len(made.content) + ENTRY_OVERHEAD
        kept = self.memory.admits(size)
        if kept:
            self.memory.put(key_of(wanted), Entry(meta, in_own_pages(made.content), UNTRUSTED, 0.0), size)
        outcome = CacheOutcome(False, Forward.URI_MISS, stored=kept, detail="rendered")
        return Found(meta, made.content, outcome, render_seconds=seconds)


def key_of(wanted: Placeholder) -> str:
    """A slash is in no id."""
    return f"/{wanted!r}"


def _meta(wanted: Placeholder, made: Picture, version: str) -> Meta:
    # The same of both makes the same bytes.
    named = f"{wanted!r}\n{version}".encode()
    return Meta(
        id=wanted.id,
        etag=hashlib.md5(named, usedforsecurity=False).hexdigest(),
        media_type=made.media_type,
        size=len(made.content),
        width=made.width,
        height=made.height,
        created=None,
        replaced=False,
        expires=None,
    )
