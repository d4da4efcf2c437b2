"""What was made from images in Redis: a key for each variant, and for each version an index of its variants.

A variant is at ``variant:{etag}:{spec}`` and has the expiry of its source. A server can't be asked for all keys that
begin alike without walking through all there are, so ``variants:{etag}`` is a sorted set of a version's specs, in the
order in which they were put, that lives at least as long as any of them. In a cluster both are in one slot, by the
version's ETag as hash tag (``variant:{…}:``, with the braces). The image is in another one, for several ids may have
the same bytes, so no transaction holds image and variant together. Instead:

- Who puts a variant writes it and its place in the index at first for ``BRIEF`` seconds. Then it asks whether the
  source is current, and gives both the source's expiry, or takes them away again.
- Who takes an image away does that first, and then takes away whatever the index has.

Whichever order these come in, nothing is left: either the source was asked for after it was taken away, or the variant
was in the index before. A process killed in between leaves a variant for ``BRIEF`` seconds, or until it would expire.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from redis.exceptions import ConnectionError

from lightfast.errors import BrokenRecord, LightfastError, StoreUnavailable
from lightfast.model import Clock, Meta, Rendition
from lightfast.stores.records import UNKNOWN_ETAG
from lightfast.stores.redis_connections import Line, Moving, commit, exchange, is_broken, translated
from lightfast.stores.redis_keys import Command, Reply, VariantKeys, milliseconds, value
from lightfast.stores.redis_servers import Servers, Work
from lightfast.stores.variants import MAX_VARIANTS, log_broken, record_from, rendition_from

BRIEF = 60.0
"""Seconds for which a variant is kept before its source has been found to be current."""

NONE = -2
"""The PTTL of a key that is not there."""

log = logging.getLogger("lightfast.stores.redis")


class RedisVariants:
    """Fulfils ``ports.VariantStore``. ``head`` tells the current version of an id, ``patience`` (seconds) is how long a
    transaction keeps trying against others."""

    def __init__(
        self,
        servers: Servers,
        keys: VariantKeys,
        head: Callable[[str], Awaitable[Meta | None]],
        *,
        patience: float,
        clock: Clock,
    ) -> None:
        self._servers = servers
        self._keys = keys
        self._head = head
        self._patience = patience
        self._clock = clock

    async def get_variant(self, source: str, spec: str) -> Rendition | None:
        key = self._keys.variant(source, spec)
        kind, raw = await self._servers.read(exchange, (key, [("TYPE", key), ("GET", key)]))
        with translated():
            if value(kind) == b"none" or raw is None:
                return None
            rendition = rendition_from(value(raw)) if kind == b"string" else None
        if rendition is None:
            log_broken(source, spec)
        return rendition

    async def put_variant(self, source: Meta, spec: str, rendition: Rendition) -> None:
        now = self._clock()
        if source.is_expired(now):
            return
        life = BRIEF if source.expires is None else min(BRIEF, source.expires - now)
        index, record = self._keys.index(source.etag), record_from(rendition)
        await self._transact(index, partial(self._enter, source.etag, spec, record, milliseconds(life)))
        try:
            current = await self._head(source.id)
        except BrokenRecord:
            current = None
        if current is None or current.etag != source.etag:
            await self._remove(source.etag, [spec])
            return
        left = current.expires - self._clock() if current.expires is not None else None
        await self._transact(index, partial(self._confirm, source.etag, spec, left))

    async def drop_variants(self, source: str) -> None:
        index = self._keys.index(source)
        (specs,) = await self._read(index, [("ZRANGE", index, 0, -1)])
        if specs:
            await self._remove(source, [spec.decode() for spec in specs])

    async def follow_write(self, old: Meta | None, new: Meta | None, ttl: float = 0) -> None:
        """Do to the variants of ``old`` what has been done to it: it was replaced by ``new``, or deleted.

        ``ttl`` is the life of ``new``, 0 = for ever. Raises no error of ours, for the write has happened.
        """
        if old is None or old.etag == UNKNOWN_ETAG:
            return
        try:
            if new is not None and new.etag == old.etag:
                await self._transact(self._keys.index(old.etag), partial(self._renew, old.etag, ttl or None))
            else:
                await self.drop_variants(old.etag)
        except LightfastError as error:
            log.warning("the variants of a version that is not current any more were left to expire: %s", error)

    async def _enter(self, source: str, spec: str, record: bytes, life: int, line: Line) -> bool:
        index, key = self._keys.index(source), self._keys.variant(source, spec)
        asked: list[Command] = [
            ("WATCH", index),
            ("PTTL", index),
            ("ZCARD", index),
            ("ZSCORE", index, spec),
            ("ZRANGE", index, 0, 0),
            ("ZRANGE", index, -1, -1, "WITHSCORES"),
        ]
        _, ttl, count, place, oldest, newest = map(value, await exchange(line, asked))
        commands: list[Command] = []
        if place is None and count >= MAX_VARIANTS:
            commands += self._removal(source, [oldest[0].decode()])
        commands.append(("ZADD", index, int(newest[0][1]) + 1 if newest else 0, spec))
        commands.append(("SET", key, record, "PX", life))
        if ttl == NONE or 0 <= ttl < life:
            commands.append(("PEXPIRE", index, life))
        return await commit(line, commands)

    async def _confirm(self, source: str, spec: str, left: float | None, line: Line) -> bool:
        index, key = self._keys.index(source), self._keys.variant(source, spec)
        _, ttl = map(value, await exchange(line, [("WATCH", index), ("PTTL", index)]))
        commands: list[Command] = []
        if ttl != NONE:  # else somebody has dropped all of them meanwhile
            commands.append(_expire(key, left))
            if left is None or 0 <= ttl < milliseconds(left):
                commands.append(_expire(index, left))
        return await commit(line, commands)

    async def _renew(self, source: str, ttl: float | None, line: Line) -> bool:
        index = self._keys.index(source)
        _, specs = map(value, await exchange(line, [("WATCH", index), ("ZRANGE", index, 0, -1)]))
        keys = [index, *(self._keys.variant(source, spec.decode()) for spec in specs)]
        return await commit(line, [_expire(key, ttl) for key in keys] if specs else [])

    async def _remove(self, source: str, specs: Sequence[str]) -> None:
        # Outside a transaction, so that it can be done while a cluster moves the slot, and on a full server.
        await self._read(self._keys.index(source), self._removal(source, specs))

    def _removal(self, source: str, specs: Sequence[str]) -> list[Command]:
        # The index first: a place in it without a variant does no harm, a variant without a place would stay.
        commands: list[Command] = [("ZREM", self._keys.index(source), *specs)]
        return commands + [("UNLINK", self._keys.variant(source, spec)) for spec in specs]

    async def _read(self, key: str, commands: Sequence[Command]) -> Sequence[Reply]:
        replies = await self._servers.read(exchange, (key, commands))
        with translated():
            return [value(reply) for reply in replies]

    async def _transact(self, key: str, work: Work[bool]) -> None:
        """Do ``work``, which may be done twice, until it was not disturbed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        chances = 1
        with translated():
            while True:
                try:
                    if await self._servers.attempt(key, work):
                        return
                except ConnectionError as error:
                    if not chances or not is_broken(error):
                        raise
                    chances -= 1
                    continue
                except Moving as error:
                    raise StoreUnavailable("The store is moving this image at the moment.") from error
                if loop.time() >= deadline:
                    raise StoreUnavailable("Too many others write variants of this image at the same time.")
                await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311 - no secret


def _expire(key: str, left: float | None) -> Command:
    return ("PERSIST", key) if left is None else ("PEXPIRE", key, milliseconds(left))
