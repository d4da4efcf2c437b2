"""The story of a write, top to bottom. No I/O of its own."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from lightfast.cache.tiered import TieredCache
from lightfast.errors import TooLarge, UnsupportedMediaType
from lightfast.model import ALWAYS, Draft, Precondition, Stored
from lightfast.ports import Store
from lightfast.sniff import Sniffed, media_type_essence, sniff

T = TypeVar("T")

INLINE_LIMIT = 64 * 1024
"""Content up to this many bytes is examined on the event loop (about 0.2 ms), longer content in a thread."""

UNSPECIFIC_TYPES = frozenset(
    {"", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded"}
)
"""What clients send when they know no better (curl's ``--data-binary``): it claims nothing."""


class Ingest:
    """Validates images and puts them into the store; the cache learns of each change."""

    def __init__(self, store: Store, tier: TieredCache, *, ttl: float, max_bytes: int, max_pixels: int) -> None:
        self._store = store
        self._tier = tier
        self._ttl = ttl
        self.max_bytes = max_bytes
        self._max_pixels = max_pixels
        self.writes = 0
        """Writes that were begun."""
        self._writes: set[asyncio.Task[object]] = set()

    async def put(
        self,
        content: bytes,
        *,
        id: str | None = None,
        declared: str | None = None,
        ttl: float | None = None,
        precondition: Precondition = ALWAYS,
    ) -> Stored:
        """Store ``content`` under ``id`` (``None``: an unguessable one) for ``ttl`` seconds (``None``: the default).

        ``declared`` is the media type that the sender names, if any. Raises ``TooLarge``, ``UnsupportedMediaType``,
        ``InvalidImage``, ``PreconditionFailed``, ``StoreFull``, ``StoreUnavailable``.
        """
        if len(content) > self.max_bytes:
            raise TooLarge(self.max_bytes)
        if len(content) <= INLINE_LIMIT:
            draft = self._examine(content, id or new_id(), declared)
        else:
            draft = await asyncio.to_thread(self._examine, content, id or new_id(), declared)
        lifetime = self._ttl if ttl is None else ttl
        return await self._change(draft.id, lambda: self._store.put(draft, lifetime, precondition))

    async def delete(self, id: str, precondition: Precondition = ALWAYS) -> bool:
        """Remove an image; whether there was one. Raises ``PreconditionFailed``, ``StoreUnavailable``."""
        return await self._change(id, lambda: self._store.delete(id, precondition))

    async def close(self) -> None:
        """Wait for the writes under way."""
        if self._writes:
            await asyncio.wait(self._writes)

    def _examine(self, content: bytes, id: str, declared: str | None) -> Draft:
        found = sniff(content, self._max_pixels)
        _check_declared(declared, found)
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return Draft(id, content, etag, found.media_type, found.width, found.height)

    async def _change(self, id: str, write: Callable[[], Awaitable[T]]) -> T:
        self._tier.link.check()
        # A caller that goes away must not leave the store changed and the cache unaware of it. Nor does the write end
        # where the store is found to be away meanwhile: then nobody waits for it any more, but it may still happen.
        self.writes += 1
        task = asyncio.create_task(self._write_and_drop(id, write))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        task.add_done_callback(_notice)
        return await self._tier.link.ask(_outcome(task))

    async def _write_and_drop(self, id: str, write: Callable[[], Awaitable[T]]) -> T:
        self._tier.own_write(id)
        try:
            return await write()
        finally:
            # Also after a failure: a write whose answer was lost may have happened.
            self._tier.drop(id)


async def _outcome(task: asyncio.Task[T]) -> T:
    return await asyncio.shield(task)


def _notice(task: asyncio.Task[T]) -> None:
    """Take note of an error that nobody may be waiting for any more."""
    if not task.cancelled():
        task.exception()


def new_id() -> str:
    """An id that nobody can guess: 128 random bits."""
    return secrets.token_hex(16)


def _check_declared(declared: str | None, found: Sniffed) -> None:
    essence = media_type_essence(declared or "")
    if essence not in UNSPECIFIC_TYPES and essence != found.media_type:
        raise UnsupportedMediaType(f"The request says {essence!r}, but the bytes are {found.media_type!r}.")
