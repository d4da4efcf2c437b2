"""The face that applications see: everything they can do with images, and the router that they include."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.routing import NoMatchFound

from lightfast.addresses import Addresses
from lightfast.assembly import Running, clock, make_store, start
from lightfast.errors import InvalidRequest, LightfastError, Missing
from lightfast.http.caching import CachePolicy
from lightfast.model import (
    ALWAYS,
    Image,
    Info,
    Listing,
    Precondition,
    Preview,
    Sighting,
    describe,
)
from lightfast.responsive import offered, responsive_img
from lightfast.serving import Serving
from lightfast.settings import load_settings
from lightfast.sync import SyncImages
from lightfast.tally import Reads
from lightfast.units import MAX_DURATION, parse_duration
from lightfast.variant import Colour, Placeholder
from lightfast.watching import sightings
from lightfast.web.answering import Answering, checked_id
from lightfast.web.body import Uploads
from lightfast.web.cors import CorsPolicy
from lightfast.web.hit_log import SHARE
from lightfast.web.image_metrics import image_samples, render_samples
from lightfast.web.metrics import Sample
from lightfast.web.placeholders import ReadingPlaceholders
from lightfast.web.previews import ReadingPreviews
from lightfast.web.reading import Reading
from lightfast.web.routes import image_router
from lightfast.web.upkeep import LIMITS, ConnectionLimits
from lightfast.web.wishes import VariantPolicy


class Lightfast:
    """Stores and serves images, in a FastAPI app or on its own.

    ::

        images = Lightfast("redis://localhost:6379/0")
        app = FastAPI(lifespan=images.lifespan)
        app.include_router(images.router)

    ``store`` is a URL (``sqlite:///path/file.db``, ``memory://``, ``redis://``, ``redis+cluster://``,
    ``redis+sentinel://``, each of the last three also with ``rediss`` for TLS). Every setting of
    ``lightfast.settings.Settings`` can be given by name; what isn't is read from ``LIGHTFAST_*`` in the environment.
    An app with a lifespan of its own enters ours inside it: ``async with images.lifespan(app) as state: yield state``.
    Scripts use
    ``async with Lightfast(…) as images:`` or ``images.sync``. Raises ``SettingsError`` for what can't be used.
    """

    def __init__(self, store: str | None = None, **settings: Any) -> None:
        self.settings = load_settings(store=store, **settings)
        self._policy = CachePolicy(
            browser_ttl=self.settings.browser_ttl,
            immutable=self.settings.browser_immutable,
            missing_ttl=self.settings.missing_ttl,
        )
        self._rules = self.settings.rules()
        self._running: Running | None = None
        self._reads = Reads()
        self._read_name = f"lightfast_image_{next(_instances)}"
        self._path_prefix = ""
        self._store = make_store(self.settings)
        self.router = self._build_router()
        """FastAPI router with every route of an image; include it under any prefix."""
        self.sync = SyncImages(self)
        """The same methods for code that is not async."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that Lightfast is open on, if it is open."""
        return self._running.loop if self._running is not None else None

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[dict[str, object]]:
        """Open for as long as ``app`` runs. Raises ``SettingsError`` where the store can't be opened.

        Gives the lifespan state by which ``HotProtocol`` keeps to the settings: time-outs, the share of logged hits. An
        app with a lifespan of its own passes it on: ``async with images.lifespan(app) as state: yield state``.
        """
        settings = self.settings
        self._path_prefix = self._find_prefix(app)
        await self.open()
        try:
            times = settings.keep_alive, settings.head_timeout, settings.send_timeout
            yield {LIMITS: ConnectionLimits(*times, settings.max_undelivered), SHARE: settings.log_hits}
        finally:
            await self.close()

    async def open(self) -> None:
        """Open the store on the running event loop. Raises ``SettingsError``; ``LightfastError`` if open already."""
        if self._running is not None:
            raise LightfastError("This Lightfast is open already.")
        self._running = await start(self.settings, self._store, self._policy)

    async def close(self) -> None:
        """Finish the writes under way and close the store. Closing twice is fine."""
        running, self._running = self._running, None
        if running is not None:
            await running.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def put(
        self,
        data: bytes,
        *,
        id: str | None = None,
        ttl: float | str | None = None,
        media_type: str | None = None,
        precondition: Precondition = ALWAYS,
    ) -> Info:
        """Store an image and describe it; ``.url`` of the answer is what to hand out.

        ``id``: 1 to 128 of ``A-Z a-z 0-9 . _ -`` without a dot in front; none: an unguessable one is made.
        ``ttl``: seconds or text like ``"2h"``, ``0`` = for ever; none: the setting. ``media_type``: what the bytes
        should be, if known. ``precondition``: what must hold of the current version.

        Raises ``InvalidRequest``, ``TooLarge``, ``UnsupportedMediaType``, ``InvalidImage``, ``PreconditionFailed``,
        ``StoreFull``, ``StoreUnavailable``.
        """
        seconds = _seconds(ttl)
        info, _ = await self.publish(data, id=id, ttl=seconds, media_type=media_type, precondition=precondition)
        return info

    async def publish(
        self, data: bytes, *, id: str | None, ttl: float | None, media_type: str | None, precondition: Precondition
    ) -> tuple[Info, bool]:
        """As ``put``, with ``ttl`` in seconds; also tells whether the id named nothing before."""
        if id is not None:
            checked_id(id)
        running, content = self._open, bytes(data)
        stored = await running.ingest.put(content, id=id, declared=media_type, ttl=ttl, precondition=precondition)
        preview = await running.finishing.begin(stored.meta, content)
        return describe(stored.meta, self._addresses.of(stored.meta), preview), stored.created

    async def get(self, id: str) -> Image | None:
        """The image with its bytes (``.content``) and ``.meta``, from memory where it is there; ``None`` if missing.

        Raises ``InvalidRequest``, ``BrokenRecord``, ``StoreUnavailable``.
        """
        checked_id(id)
        try:
            found = await self._open.tier.find(id)
        except Missing:
            return None
        return Image(found.meta, bytes(found.content or b""))

    async def info(self, id: str) -> Info | None:
        """Describe an image, with its preview if it can have one; ``None`` if missing. Raises as ``get``."""
        checked_id(id)
        try:
            meta = (await self._open.tier.find_meta(id)).meta
        except Missing:
            return None
        preview = None
        if self.settings.previews:
            with suppress(LightfastError):
                preview = await self._open.serving.preview(id)
        return describe(meta, self._addresses.of(meta), preview)

    async def preview(self, id: str) -> Preview:
        """What stands for the image until it is there: ThumbHash, BlurHash, colour, a tiny picture as data URL.

        Made now if it has not been. Raises ``Missing``, ``InvalidImage`` and others of ``ports.Renderer.preview``, and
        as ``get``.
        """
        checked_id(id)
        return await self._open.serving.preview(id)

    async def html(
        self,
        id: str,
        *,
        sizes: str = "100vw",
        alt: str = "",
        widths: Sequence[int] = (),
        loading: str = "lazy",
        decoding: str = "async",
        **parameters: object,
    ) -> str:
        """A complete ``<img>``: WebP in the listed sizes up to the image's own (or in ``widths``), room kept free, and
        its preview as background until it has loaded.

        ``parameters`` are those of a variant, but ``w``; ``fm="avif"`` for AVIF. Raises as ``preview`` and ``url``.
        """
        checked_id(id)
        meta = (await self._open.tier.find_meta(id)).meta
        shown = await self._open.serving.preview(id)
        return responsive_img(
            self._addresses,
            meta,
            shown,
            widths or offered(self.settings.sizes, shown),
            parameters,
            sizes=sizes,
            alt=alt,
            loading=loading,
            decoding=decoding,
        )

    async def placeholder(
        self,
        width: int,
        height: int,
        *,
        text: str = "",
        background: Colour | None = None,
        foreground: Colour | None = None,
        seed: str = "",
        format: str = "webp",
    ) -> bytes:
        """As ``lightfast.placeholder``, without blocking, and from memory where it was made before.

        Raises ``InvalidRequest``, ``Overloaded``, ``RenderTimeout``.
        """
        wanted = Placeholder(width, height, format, text, background, foreground, seed)
        return bytes((await self._open.placeholders.find(wanted)).content or b"")

    async def delete(self, id: str, *, precondition: Precondition = ALWAYS) -> bool:
        """Remove an image; whether there was one. Raises ``InvalidRequest``, ``PreconditionFailed``,
        ``StoreUnavailable``."""
        checked_id(id)
        return await self._open.ingest.delete(id, precondition)

    async def list(self, cursor: str | None = None, limit: int = 100) -> Listing:
        """Describe images page by page: pass the ``cursor`` of the page before. Raises ``InvalidRequest``,
        ``StoreUnavailable``."""
        if limit < 1:
            raise InvalidRequest("limit: a page holds at least one image.")
        page = await self._open.tier.link.ask(self._open.store.list(cursor, limit))
        addresses = self._addresses
        return Listing(tuple(describe(meta, addresses.of(meta)) for meta in page.items), page.cursor)

    async def url(self, id: str, *, expires: float | str | None = None, **parameters: object) -> str:
        """The URL of the image's current version, which caches may keep for ever; with ``parameters`` of a variant.

        ``await images.url("hero", w=512, fm="webp")``; names are those of imgix, with underscores for hyphens. It is
        signed where it has to be, or where ``expires`` is given: seconds from now, or text like ``"2h"``.

        Raises ``Missing``, as ``get``, ``InvalidRequest`` for a bad parameter, and ``Forbidden`` where a signature is
        needed and there is no ``LIGHTFAST_SIGNING_KEYS``.
        """
        checked_id(id)
        seconds = _seconds(expires, "expires")
        meta = (await self._open.tier.find_meta(id)).meta
        until = int(clock() + seconds) if seconds else None
        if not parameters and until is None:
            return self._addresses.of(meta)
        return self._addresses.of_variant(meta, parameters, until)

    async def ping(self) -> None:
        """Return if the store answers, else raise ``StoreUnavailable``."""
        await self._open.tier.link.ask(self._open.store.ping())

    def link_state(self) -> str:
        """``linked``, ``unlinked`` or ``store-away``: whether memory may be trusted without asking the store."""
        return self._open.tier.link.state.value

    def allocations(self) -> int:
        """Grows whenever images are read or stored; for those who tidy the heap."""
        running = self._open
        return sum(running.tier.store_latency.counts) + running.ingest.writes + running.rendering.jobs

    def samples(self) -> Sequence[Sample]:
        """This process's numbers, for ``lightfast.web.metrics.render``."""
        running = self._open
        return [*image_samples(self._reads, running.tier), *render_samples(running.rendering, running.variants)]

    def watch(self) -> AsyncIterator[Sighting]:
        """The store's changes as they arrive, whoever makes them, for ever: for debugging an invalidation."""
        return sightings(self._open.store, clock)

    @property
    def _open(self) -> Running:
        if self._running is None:
            raise LightfastError(
                "Lightfast is not open: give the app lifespan=images.lifespan, or use 'async with images:'."
            )
        return self._running

    def _build_router(self) -> APIRouter:
        settings = self.settings
        cors = CorsPolicy(settings.cors_origins)
        variants = VariantPolicy(
            rules=self._rules,
            open=settings.variants == "open",
            keys=settings.signing_keys,
            scheme=settings.signature,
            auto_format=settings.auto_format,
            hints=settings.client_hints,
            public_path=lambda: urlsplit(self._base).path,
        )
        answering = Answering(self._policy, cors, self._reads)

        def serving() -> Serving:
            return self._open.serving

        self.reading = Reading(serving, answering, variants, clock)
        return image_router(
            self.reading,
            ReadingPreviews(serving, answering, clock),
            ReadingPlaceholders(serving, answering, clock),
            self,
            Uploads(settings.max_upload),
            policy=self._policy,
            token=settings.write_token,
            clock=clock,
            read_name=self._read_name,
        )

    def _find_prefix(self, app: Any) -> str:
        """The prefix under which ``app`` includes the router."""
        try:
            path = str(app.url_path_for(self._read_name, id="-"))
        except (AttributeError, NoMatchFound):
            return ""
        return str(getattr(app, "root_path", "")).rstrip("/") + path.removesuffix("/images/-")

    @property
    def _base(self) -> str:
        return (self.settings.public_url or "").rstrip("/") or self._path_prefix

    @property
    def _addresses(self) -> Addresses:
        settings = self.settings
        return Addresses(
            base=self._base,
            rules=self._rules,
            open=settings.variants == "open",
            keys=settings.signing_keys,
            scheme=settings.signature,
            auto_format=settings.auto_format,
        )


_instances = itertools.count(1)


def _seconds(ttl: float | str | None, name: str = "ttl") -> float | None:
    if isinstance(ttl, str):
        try:
            return parse_duration(ttl)
        except ValueError as error:
            raise InvalidRequest(f"{name}: {error}") from error
    if ttl is not None and not 0 <= ttl <= MAX_DURATION:
        raise InvalidRequest(f"{name}: it is a number of seconds from 0 to {MAX_DURATION:.0f}; 0 is for ever.")
    return ttl
