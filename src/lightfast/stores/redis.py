"""The store in Redis (from 6.2 on) or Valkey: one key for each image, that other applications may share.

One server, a master that sentinels watch over, or a cluster: ``redis_urls`` says how each is named.

Records are described in ``records``. An image expires with its key, so that ``EXPIRE`` by anybody counts. A
deleted image is remembered at ``lightfast:deleted:{key}``, in the same cluster slot. ``redis_variants`` says where is
what was made from images.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Literal, NoReturn

from lightfast.errors import BrokenRecord, StoreFull
from lightfast.model import (
    ALWAYS,
    Clock,
    Draft,
    Image,
    Meta,
    Page,
    Precondition,
    Rendition,
    Stored,
    is_valid_id,
    meta_of,
    next_version,
)
from lightfast.ports import FeedObserver
from lightfast.stores import records
from lightfast.stores.redis_cluster import ClusterServers
from lightfast.stores.redis_connections import (
    Connections,
    Limits,
    Line,
    exchange,
    exchange_atomically,
    translated,
)
from lightfast.stores.redis_decoding import decode_hash, decode_string, offload
from lightfast.stores.redis_keys import (
    START,
    UNREAD,
    Command,
    expiry,
    head_commands,
    make_cursor,
    milliseconds,
    parse_cursor,
    read_head,
    scan_pattern,
    tombstone_pattern,
    value,
    variant_keys,
)
from lightfast.stores.redis_replies import Places
from lightfast.stores.redis_sentinel import MasterServer
from lightfast.stores.redis_servers import OneServer, Servers
from lightfast.stores.redis_urls import SCHEMES, parse_redis_url
from lightfast.stores.redis_variants import RedisVariants
from lightfast.stores.redis_writes import NO_RECORD, Found, Writes

__all__ = ["SCHEMES", "RedisStore", "make_servers"]

SCANS_PER_PAGE = 100
MAX_SCAN_COUNT = 1000
"""SCANs for one page, and keys that one of them looks at, at most; other applications' keys count."""

KEYS_AT_ONCE = 500
"""Keys that a step of a walk looks at: about a fifth of a millisecond of the server's time."""

MAX_CARRIED = 32
"""Ids beyond its page that a SCAN may find; more only if the server can't give fewer."""

HEADS_AT_ONCE = 32
"""Records that are described in one round trip of a listing."""

log = logging.getLogger("lightfast.stores.redis")


class RedisStore:
    """Fulfils ``ports.Store``, ``ChangeFeed``, ``VariantStore`` and ``CostlyStore`` over Redis or Valkey.

    ``url`` is described in ``redis_urls``. ``prefix`` comes before the id in a key; braces in it are a cluster's hash
    tag. ``format`` is what is written, both are read. ``remember_deleted``, ``connect_timeout`` (also the wait for one
    of ``max_connections``) and ``read_timeout`` (of one reply; also how long a write keeps trying against others) in
    seconds. Raises ``SettingsError``.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "image:",
        format: Literal["hash", "json"] = "hash",
        remember_deleted: float = 3600,
        max_connections: int = 32,
        connect_timeout: float = 1.0,
        read_timeout: float = 5.0,
        clock: Clock = time.time,
    ) -> None:
        self._servers = make_servers(url, Limits(max_connections, connect_timeout, read_timeout))
        self._prefix = prefix
        self._tombstones = tombstone_pattern(prefix)
        self._format = format
        self._remember_deleted = remember_deleted
        self._clock = clock
        self._places = Places()
        self._writes = Writes(self._servers, prefix, self._tombstones, patience=read_timeout, clock=clock)
        keys = variant_keys(prefix, tagged=parse_redis_url(url).kind == "cluster")
        self._variants = RedisVariants(self._servers, keys, self._meta, patience=read_timeout, clock=clock)

    async def open(self) -> None:
        self._servers.open()

    async def close(self) -> None:
        await self._servers.close()

    async def ping(self) -> None:
        await self._servers.ping()

    async def follow(self, observer: FeedObserver) -> NoReturn:
        await self._servers.follow(self._prefix, observer)

    async def get(self, id: str) -> Image | None:
        key, now = self._prefix + id, self._clock()
        commands: list[Command] = [
            ("TYPE", key),
            ("HMGET", key, "content", *records.FIELDS),
            ("GET", key),
            ("PTTL", key),
        ]
        place = self._places.take()
        read = partial(exchange_atomically, place=place)
        kind, values, text, ttl = await self._servers.read(read, (key, commands))
        expires = expiry(ttl, now)
        if kind == b"none" or ttl == -2:
            return None
        if kind == b"hash":
            image = await decode_hash(id, value(values), expires)
        elif kind == b"string":
            image = await decode_string(id, value(text), expires)
        else:
            raise BrokenRecord(id, NO_RECORD)
        # Not of a read that was cancelled: a thread may still be decoding there.
        self._places.give_back(place)
        return image

    async def head(self, id: str) -> Meta | Image | None:
        key, now = self._prefix + id, self._clock()
        meta = read_head(id, await self._servers.read(exchange_atomically, (key, head_commands(key))), now)
        return await self.get(id) if meta is UNREAD else meta

    async def _meta(self, id: str) -> Meta | None:
        seen = await self.head(id)
        return meta_of(seen) if seen is not None else None

    async def put(self, draft: Draft, ttl: float, precondition: Precondition = ALWAYS) -> Stored:
        key, content = self._prefix + draft.id, draft.content
        before: Meta | None = None
        encoded = b""
        if self._format == "json":
            encoded = await offload(len(content), lambda: records.encode_content(content))

        def plan(found: Found) -> tuple[list[Command], Stored]:
            nonlocal before
            before = found.current
            meta = next_version(draft, found.previous, self._clock(), ttl)
            # The old key goes first: its type may differ, and nothing of it may be left.
            commands: list[Command] = [("UNLINK", key)]
            if self._format == "json":
                commands.append(("SET", key, records.json_from(meta, encoded)))
            else:
                commands.append(("HSET", key, *records.hash_from(meta, content)))
            if ttl:
                commands.append(("PEXPIRE", key, milliseconds(ttl)))
            return commands, Stored(meta, created=found.current is None)

        stored = await self._writes.change(draft.id, precondition, plan)
        await self._variants.follow_write(before, stored.meta, ttl)
        return stored

    async def delete(self, id: str, precondition: Precondition = ALWAYS) -> bool:
        key = self._prefix + id
        before: Meta | None = None

        def plan(found: Found) -> tuple[list[Command], bool]:
            nonlocal before
            before = found.current
            if found.current is None:
                return [], False
            tombstone = records.tombstone_from(found.current)
            commands: list[Command] = [("UNLINK", key)]
            if self._remember_deleted:
                commands.append(("SET", self._tombstones % key, tombstone, "PX", milliseconds(self._remember_deleted)))
            return commands, True

        try:
            deleted = await self._writes.change(id, precondition, plan)
        except StoreFull:
            if precondition != ALWAYS:
                raise

            # A full server takes no transaction at all, but it lets go of keys, which is what it needs.
            async def let_go(line: Line) -> bool:
                return bool(value((await exchange(line, [("UNLINK", key)]))[0]))

            with translated():
                deleted = await self._servers.attempt(key, let_go)
        await self._variants.follow_write(before, None)
        return deleted

    async def get_variant(self, source: str, spec: str) -> Rendition | None:
        return await self._variants.get_variant(source, spec)

    async def put_variant(self, source: Meta, spec: str, rendition: Rendition) -> None:
        await self._variants.put_variant(source, spec, rendition)

    async def drop_variants(self, source: str) -> None:
        await self._variants.drop_variants(source)

    async def list(self, cursor: str | None, limit: int) -> Page:
        """See ``ports.Store``. ``limit`` from 1 on.

        This walks with SCAN, whose promises are the server's: a key may come twice if the server shrinks its
        table meanwhile, after most of its keys were deleted. What a SCAN finds beyond the page is carried in
        the cursor: the same SCAN would find something else once keys have come or gone.
        """
        at, ids = parse_cursor(cursor)
        items = list(await self._describe(ids[:limit]))
        ids, count = ids[limit:], limit
        for _ in range(SCANS_PER_PAGE):
            room = limit - len(items)
            if ids or at is None or room == 0:
                break
            following, found = await self._scan(at, count)
            if len(found) > room + MAX_CARRIED and count > room:
                # So much does not go into a cursor; less of it is asked for again.
                count = room
                continue
            items += await self._describe(found[:room])
            at, ids = following, found[room:]
            # Most keys may be other applications'; then larger steps get there sooner.
            count = max(1, limit - len(items)) if found else min(count * 4, MAX_SCAN_COUNT)
        return Page(tuple(items), make_cursor(at, ids))

    async def costly(self, position: str | None) -> tuple[Sequence[str], str | None]:
        """Strings: JSON has to be decoded and hashed, while a hash has its ETag with it."""
        following, ids = await self._scan(position or START, KEYS_AT_ONCE, "string")
        return ids, following

    async def _scan(self, at: str, count: int, kind: str | None = None) -> tuple[str | None, Sequence[str]]:
        following, keys = await self._servers.scan(at, scan_pattern(self._prefix), count, kind)
        start = len(self._prefix.encode())
        # A key may come several times in one reply while the server moves its table.
        ids = {key[start:].decode("ascii", "replace") for key in keys}
        return following, sorted(filter(is_valid_id, ids))

    async def _describe(self, ids: Sequence[str]) -> Sequence[Meta]:
        """The images among ``ids``. Records that have to be read whole are read one at a time."""
        metas: list[Meta] = []
        for start in range(0, len(ids), HEADS_AT_ONCE):
            chunk, now = ids[start : start + HEADS_AT_ONCE], self._clock()
            requests = [(key, head_commands(key)) for key in (self._prefix + id for id in chunk)]
            described = await self._servers.read_each(exchange_atomically, requests)
            for id, replies in zip(chunk, described, strict=True):
                try:
                    meta = read_head(id, replies, now)
                    if meta is UNREAD:
                        image = await self.get(id)
                        meta = image.meta if image is not None else None
                except BrokenRecord as error:
                    log.warning("left out of a listing: %s", error)
                else:
                    metas += [meta] if meta is not None else []
        return metas


def make_servers(url: str, limits: Limits) -> Servers:
    """What ``url`` names. Raises ``SettingsError``."""
    parsed = parse_redis_url(url)
    if parsed.kind == "sentinel":
        return MasterServer(parsed, limits)
    if parsed.kind == "cluster":
        return ClusterServers(parsed, limits)
    host, port = parsed.addresses[0]
    return OneServer(Connections({"host": host, "port": port} | parsed.options, limits))
