"""What is made from images: in memory, else in the store, else made now, once for all who want it at the same time."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from lightfast.cache.coherence import UNTRUSTED
from lightfast.cache.entry import ENTRY_OVERHEAD, HIT, STALE_HIT, Entry, Found
from lightfast.cache.families import Families, key_of
from lightfast.cache.pages import in_own_pages
from lightfast.cache.singleflight import SingleFlight
from lightfast.cache.tiered import Fill, TieredCache
from lightfast.errors import InvalidImage, LightfastError, StoreFull, StoreUnavailable
from lightfast.http.caching import CacheOutcome, Forward
from lightfast.model import Clock, Content, Meta, Preview, Rendition
from lightfast.ports import Renderer, VariantStore
from lightfast.spec import canonical
from lightfast.variant import Variant

log = logging.getLogger("lightfast.variants")

PREVIEW = "preview"
"""Stands for the preview of an image where the canonical text of a variant stands else."""

JSON = "application/json"


ALWAYS_KEPT = 256 * 1024
"""Bytes. What is larger than this and than its source is not kept in the store, which strangers could fill with it."""

MAX_FAILURES = 1_000
"""Pictures that are known not to be had, because their source is damaged."""


class Outdated(Exception):
    """The image was replaced while something was made from it: what is wanted has to be found out again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A representation that is made from one version of an image. All of it is known before it is made."""

    source: Meta
    variant: Variant | None
    """``None``: the preview."""
    spec: str
    etag: str
    media_type: str

    @property
    def key(self) -> str:
        """Where it is in memory."""
        return key_of(self.source.id, self.spec)

    @property
    def transient(self) -> bool:
        """Whether a better one will take its place."""
        return self.variant is not None and self.variant.fast

    def meta(self, made: Rendition | None = None) -> Meta:
        """As what it is served; without a size until it is made. What is transient has no date: the better one has the
        same."""
        return replace(
            self.source,
            etag=self.etag,
            media_type=self.media_type,
            size=len(made.content) if made is not None else 0,
            width=made.width if made is not None else None,
            height=made.height if made is not None else None,
            created=None if self.transient else self.source.created,
        )


class Variants:
    """Variants and previews of the images in ``tier``, which lets them go with their sources.

    They share the memory of the images. Whatever fails while one is kept, in memory or in the store, does not concern
    whoever wants it. For one event loop.
    """

    def __init__(
        self,
        tier: TieredCache,
        families: Families,
        store: VariantStore,
        renderer: Renderer,
        *,
        clock: Clock,
        timer: Clock,
    ) -> None:
        self._tier = tier
        self._families = families
        self._store = store
        self._renderer = renderer
        self._clock = clock
        self._timer = timer
        self._flights: SingleFlight[tuple[str, str], Found] = SingleFlight()
        self._lookups: SingleFlight[tuple[str, str], bool] = SingleFlight()
        self._failures: OrderedDict[tuple[str, str], str] = OrderedDict()
        """Why what can't be made of damaged bytes can't be, by their ETag and spec: finding that out costs."""
        self._improving: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def joins(self) -> int:
        """How many requests shared what another had begun to make."""
        return self._flights.joins

    async def close(self) -> None:
        """Give up what is under way."""
        await self._flights.close()
        await self._lookups.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def wanted(self, source: Meta, variant: Variant | None) -> Wanted:
        """What ``variant`` of ``source`` is (``None``: its preview). Raises ``InvalidRequest``."""
        spec, media_type = PREVIEW, JSON
        if variant is not None:
            spec, media_type = canonical(variant), self._renderer.media_type(source.media_type, variant)
        parts = "\n".join((source.etag, spec, self._renderer.version))
        etag = hashlib.md5(parts.encode(), usedforsecurity=False).hexdigest()
        return Wanted(source, variant, spec, etag, media_type)

    async def moves(self, source: Found) -> bool:
        """Whether the image is an animation. Raises as ``TieredCache.find``, and ``Outdated``."""
        meta = source.meta
        if not self._renderer.may_move(meta.media_type):
            return False
        family = self._families.of(meta.id)
        if family is not None and family.moves is not None and family.source.meta.etag == meta.etag:
            return family.moves
        return self._renderer.moves(await self._content(meta))

    async def find(self, source: Found, wanted: Wanted) -> Found:
        """The representation with its bytes. ``source``: as its version has just been found.

        Raises ``Outdated``, what ``Renderer.render`` raises, and as ``TieredCache.find``.
        """
        entry = self._kept(wanted)
        if entry is None:
            found, joined = await self._flights.do((wanted.key, wanted.etag), lambda: self._obtain(wanted))
            if source.age is not None:
                return replace(found, outcome=replace(found.outcome, detail=STALE_HIT.detail), age=source.age)
            return replace(found, outcome=replace(found.outcome, collapsed=joined))
        if source.age is not None:
            return Found(entry.meta, entry.content, STALE_HIT, age=source.age)
        if entry.meta.expires != wanted.source.expires or entry.meta.replaced != wanted.source.replaced:
            entry.meta = replace(entry.meta, expires=wanted.source.expires, replaced=wanted.source.replaced)
            entry.prepared.clear()
        entry.epoch, entry.verified = source.epoch, self._clock()
        return Found(entry.meta, entry.content, HIT, source.epoch)

    async def is_made(self, wanted: Wanted, instead: Wanted) -> bool:
        """Whether ``wanted`` can be had without making it; if ``instead`` is in memory, that has been asked before."""
        if self._kept(wanted) is not None:
            return True
        if self._kept(instead) is not None:
            return False
        found, _ = await self._lookups.do((wanted.key, wanted.etag), lambda: self._look_up(wanted))
        return found

    def improve(self, wanted: Wanted, instead: Wanted) -> None:
        """Make ``wanted`` when there is nothing else to do; then it is what ``instead`` stood for."""
        mark = (wanted.key, wanted.etag)
        if mark not in self._improving:
            self._improving.add(mark)
            self._begin(self._improve(wanted, instead)).add_done_callback(lambda _: self._improving.discard(mark))

    async def preview(self, source: Found) -> Preview:
        """Of an image. Raises as ``find``."""
        found = await self.find(source, self.wanted(source.meta, None))
        return Preview.from_json(bytes(found.content or b""))

    async def preview_of(self, source: Meta, content: bytes) -> Preview:
        """As ``preview``, of an image that has just been stored. Its content is at hand, so nothing is read."""
        return Preview.from_json((await self.make(source, content, None)).content)

    async def make(self, source: Meta, content: bytes, variant: Variant | None) -> Rendition:
        """Make ``variant`` (``None``: the preview) of an image that has just been stored, before it is asked for."""
        wanted = self.wanted(source, variant)
        made = await self._rendered(wanted, content, idle=True)
        await self._save(wanted, made)
        return made

    def _kept(self, wanted: Wanted) -> Entry | None:
        entry = self._tier.memory.get(wanted.key)
        if entry is None or entry.meta.etag != wanted.etag or entry.meta.is_expired(self._clock()):
            return None
        return entry

    async def _look_up(self, wanted: Wanted) -> bool:
        with self._tier.reading(wanted.source.id) as fill:
            rendition = await self._stored(wanted)
            if rendition is not None:
                await self._keep(wanted, rendition, fill)
            return rendition is not None

    async def _obtain(self, wanted: Wanted, *, idle: bool = False) -> Found:
        """From the store, else by making it."""
        started = self._timer()
        with self._tier.reading(wanted.source.id) as fill:
            rendition = await self._stored(wanted)
            seconds, made = self._timer() - started, None
            if rendition is None:
                content = await self._content(wanted.source)
                begun = self._timer()
                rendition = await self._rendered(wanted, content, idle=idle)
                made = self._timer() - begun
                self._begin(self._save(wanted, rendition))
            kept = await self._keep(wanted, rendition, fill)
            outcome = CacheOutcome(False, Forward.URI_MISS, stored=kept, detail=None if made is None else "rendered")
            epoch = fill.epoch if kept else UNTRUSTED
            return Found(wanted.meta(rendition), rendition.content, outcome, epoch, seconds, render_seconds=made)

    async def _content(self, source: Meta) -> Content:
        found = await self._tier.find(source.id)
        if found.content is None or found.meta.etag != source.etag:
            raise Outdated
        return found.content

    async def _rendered(self, wanted: Wanted, content: Content, *, idle: bool) -> Rendition:
        mark = (wanted.source.etag, wanted.spec)
        if mark in self._failures:
            raise InvalidImage(self._failures[mark])
        try:
            return await self._render(wanted, content, idle=idle)
        except InvalidImage as error:
            self._failures[mark] = str(error)
            if len(self._failures) > MAX_FAILURES:
                self._failures.popitem(last=False)
            raise

    async def _render(self, wanted: Wanted, content: Content, *, idle: bool) -> Rendition:
        if wanted.variant is None:
            made = await self._renderer.preview(content, idle=idle)
            return Rendition(made.to_json(), wanted.etag, JSON, made.width, made.height)
        picture = await self._renderer.render(content, wanted.variant, idle=idle)
        return Rendition(picture.content, wanted.etag, picture.media_type, picture.width, picture.height)

    async def _stored(self, wanted: Wanted) -> Rendition | None:
        try:
            rendition = await self._tier.link.ask(self._store.get_variant(wanted.source.etag, wanted.spec))
        except StoreUnavailable:
            return None
        # Made by other encoders, it is another representation.
        if rendition is None or rendition.etag != wanted.etag:
            return None
        return rendition if wanted.variant is not None or _is_preview(rendition) else None

    async def _save(self, wanted: Wanted, rendition: Rendition) -> None:
        if len(rendition.content) > max(wanted.source.size, ALWAYS_KEPT):
            return
        try:
            await self._tier.link.ask(self._store.put_variant(wanted.source, wanted.spec, rendition))
        except (StoreUnavailable, StoreFull) as error:
            log.debug("%s of %s is not kept: %s", wanted.spec, wanted.source.id, error)

    async def _keep(self, wanted: Wanted, rendition: Rendition, fill: Fill) -> bool:
        """Keep it in memory, if it is still made from the current version. Raises ``Outdated`` if it is not."""
        tier = self._tier
        current = await tier.find_meta(wanted.source.id)
        if current.meta.etag != wanted.source.etag:
            raise Outdated
        size = len(rendition.content) + ENTRY_OVERHEAD
        if not fill.holds(current.meta) or not tier.memory.admits(size):
            return False
        # While the store is away it is kept all the same, so that it is made once; nobody has vouched for it since.
        verified = fill.begun if current.age is None else fill.begun - current.age
        entry = Entry(wanted.meta(rendition), in_own_pages(rendition.content), fill.epoch, verified)
        tier.memory.put(wanted.key, entry, size)
        moves = None
        if current.content is not None and self._renderer.may_move(current.meta.media_type):
            moves = self._renderer.moves(current.content)
        self._families.join(wanted.key, Entry(current.meta, b"", fill.epoch, verified), moves)
        return True

    async def _improve(self, wanted: Wanted, instead: Wanted) -> None:
        with suppress(Outdated):
            await self._obtain(wanted, idle=True)
        self._tier.memory.remove(instead.key)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_preview(rendition: Rendition) -> bool:
    try:
        Preview.from_json(rendition.content)
    except ValueError:
        return False
    return True


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except LightfastError as error:
        log.debug("not made beforehand: %s", error)
