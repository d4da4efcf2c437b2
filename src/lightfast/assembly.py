"""The composition root: the only room that names concrete classes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from lightfast.cache.entry import Entry
from lightfast.cache.families import Families
from lightfast.cache.memory import MemoryCache
from lightfast.cache.missing import MissingIds
from lightfast.cache.placeholders import Placeholders
from lightfast.cache.tiered import TieredCache
from lightfast.cache.variants import Variants
from lightfast.errors import SettingsError
from lightfast.finishing import Finishing
from lightfast.http.caching import CachePolicy
from lightfast.imaging.geometry import Limits
from lightfast.imaging.pool import RenderPool
from lightfast.imaging.rendering import Rendering
from lightfast.ingest import Ingest
from lightfast.ports import FollowedStore
from lightfast.serving import Serving
from lightfast.settings import Settings
from lightfast.stores.memory import MemoryStore
from lightfast.stores.redis import SCHEMES, RedisStore
from lightfast.stores.sqlite import SqliteStore

MEMORY_STORE_BYTES = 1024 * 1024 * 1024

clock = time.time
timer = time.perf_counter


@dataclass(frozen=True, slots=True)
class Running:
    """What exists while the store is open, all on one event loop."""

    loop: asyncio.AbstractEventLoop
    store: FollowedStore
    tier: TieredCache
    rendering: Rendering
    variants: Variants
    placeholders: Placeholders
    serving: Serving
    ingest: Ingest
    finishing: Finishing

    async def close(self) -> None:
        """Finish the writes under way, give up the pictures that are being made, and close the store."""
        await self.ingest.close()
        await self.finishing.close()
        await self.variants.close()
        await self.placeholders.close()
        await self.rendering.close()
        await self.tier.close()
        await self.store.close()


async def start(settings: Settings, store: FollowedStore, policy: CachePolicy) -> Running:
    """Open ``store`` on the running event loop, and build the rest on it. Raises ``SettingsError``."""
    await store.open()
    families = Families()
    memory: MemoryCache[str, Entry] = MemoryCache(settings.memory, settings.memory_entries, families.evicted)
    tier = TieredCache(
        store,
        memory,
        MissingIds(settings.missing_ttl),
        families,
        stale_if_error=settings.stale_if_error,
        warm=settings.warm,
        clock=clock,
        timer=timer,
    )
    try:
        await tier.open()
    except BaseException:  # a start that is given up, too, leaves nothing open
        await tier.close()
        await store.close()
        raise
    rendering = make_rendering(settings)
    variants = Variants(tier, families, store, rendering, clock=clock, timer=timer)
    placeholders = Placeholders(memory, rendering, timer=timer)
    return Running(
        loop=asyncio.get_running_loop(),
        store=store,
        tier=tier,
        rendering=rendering,
        variants=variants,
        placeholders=placeholders,
        serving=Serving(tier, variants, placeholders, policy, clock=clock, timer=timer),
        ingest=Ingest(store, tier, ttl=settings.ttl, max_bytes=settings.max_upload, max_pixels=settings.max_pixels),
        finishing=Finishing(variants, settings.prewarmed(), previews=settings.previews),
    )


def make_rendering(settings: Settings) -> Rendering:
    """What makes the pictures."""
    pool = RenderPool(threads=settings.render_threads, waiting=settings.render_queue, seconds=settings.render_timeout)
    limits = Limits(pixels_in=settings.max_pixels, pixels_out=settings.max_pixels_out)
    return Rendering(pool, limits, keep_metadata=settings.keep_metadata)


def make_store(settings: Settings) -> FollowedStore:
    """The store that ``settings.store`` names. Raises ``SettingsError``."""
    url = settings.store
    match url.partition(":")[0]:
        case "sqlite":
            return SqliteStore(
                _sqlite_path(url), remember_deleted=settings.browser_ttl, poll_interval=settings.sqlite_poll
            )
        case scheme if scheme in SCHEMES:
            return RedisStore(
                url,
                prefix=settings.redis_prefix,
                format=settings.redis_format,
                remember_deleted=settings.browser_ttl,
            )
        case "memory":
            return MemoryStore(max_bytes=MEMORY_STORE_BYTES, remember_deleted=settings.browser_ttl)
        case scheme:
            raise SettingsError(
                f"{scheme!r} is no kind of store; use sqlite:///file.db, redis://host:6379/0 (or rediss://, "
                "redis+cluster://, redis+sentinel://) or memory://"
            )


def _sqlite_path(url: str) -> Path:
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        raise SettingsError("a SQLite store is sqlite:///relative.db or, with four slashes, sqlite:////absolute.db")
    return Path(url.removeprefix("sqlite:///"))
