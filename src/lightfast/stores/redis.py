"""The store in Redis (from 6.2 on) or Valkey: one key for each image, that other applications may share.

One server, a master that sentinels watch over, or a cluster: ``redis_urls`` says how each is named.

Records are described in ``records``. An image expires with its key, so that ``EXPIRE`` by anybody counts. A
deleted image is remembered at ``lightfast:deleted:{key}``, in the same cluster slot.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, Literal, NoReturn, TypeVar

from redis.exceptions import ConnectionError

from lightfast.errors import (
    BrokenRecord,
    PreconditionFailed,
    StoreFull,
    StoreUnavailable,
)
from lightfast.model import (
    ALWAYS,
    Clock,
    Draft,
    Image,
    Meta,
    Page,
    Precondition,
    Predecessor,
    Stored,
    is_valid_id,
    next_version,
)
from lightfast.ports import FeedObserver
from lightfast.stores import records
from lightfast.stores.redis_cluster import ClusterServers
from lightfast.stores.redis_connections import (
    Connections,
    Limits,
    Line,
    Moving,
    commit,
    exchange,
    exchange_atomically,
    is_broken,
    translated,
)
from lightfast.stores.redis_keys import (
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
)
from lightfast.stores.redis_sentinel import MasterServer
from lightfast.stores.redis_servers import OneServer, Servers
from lightfast.stores.redis_urls import SCHEMES, parse_redis_url

__all__ = ["SCHEMES", "RedisStore", "make_servers"]

T = TypeVar("T")

INLINE_BYTES = 256 * 1024
"""Decoding and hashing more than this happens in a thread."""

SCANS_PER_PAGE = 100
MAX_SCAN_COUNT = 1000
"""SCANs for one page, and keys that one of them looks at, at most; other applications' keys count."""

MAX_CARRIED = 32
"""Ids beyond its page that a SCAN may find; more only if the server can't give fewer."""

HEADS_AT_ONCE = 32
"""Records that are described in one round trip of a listing."""

NO_RECORD = "its key is neither a hash nor a string"

log = logging.getLogger("lightfast.stores.redis")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a writer found: the current version, and the one that counts as the one before."""

    current: Meta | None
    previous: Meta | Predecessor | None


_Plan = Callable[[_Found], tuple[Sequence[Command], T]]
"""From what a writer found to what it does, each command on one key, and what it will have done."""


@dataclass(slots=True)
class _Write(Generic[T]):
    """A write under way, over as many attempts as it takes."""

    id: str
    precondition: Precondition
    plan: _Plan[T]
    begun: bool = False
    """Whether the last attempt may have written."""
    current: Meta | None = None
    outcome: T | None = None
    """What it has done if it was committed; ``None`` where the precondition does not hold."""
    commands: Sequence[Command] = ()
    aside: Sequence[Command] = ()
    """Commands that were executed on their own."""
    tombstone: bytes | None = None


class RedisStore:
    """Fulfils ``ports.Store`` over Redis or Valkey.

    ``url`` is described in ``redis_urls``. ``prefix`` comes
    before the id in a key; braces in it are a cluster's hash tag. ``format`` is what is written, both are
    read. ``remember_deleted``, ``connect_timeout`` (also the wait for one of ``max_connections``) and
    ``read_timeout`` (of one reply; also how long a write keeps trying against others) in seconds.
    Raises ``SettingsError``.
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
        self._patience = read_timeout
        self._clock = clock

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
        kind, values, text, ttl = await self._servers.read(exchange_atomically, (key, commands))
        expires = expiry(ttl, now)
        if kind == b"none" or ttl == -2:
            return None
        if kind == b"hash":
            return await _decode_hash(id, value(values), expires)
        if kind == b"string":
            raw: bytes = value(text)
            return await _decode(len(raw), lambda: records.image_from_json(id, raw, expires))
        raise BrokenRecord(id, NO_RECORD)

    async def head(self, id: str) -> Meta | None:
        key, now = self._prefix + id, self._clock()
        meta = read_head(id, await self._servers.read(exchange_atomically, (key, head_commands(key))), now)
        if meta is not UNREAD:
            return meta
        image = await self.get(id)
        return image.meta if image is not None else None

    async def put(self, draft: Draft, ttl: float, precondition: Precondition = ALWAYS) -> Stored:
        key, content = self._prefix + draft.id, draft.content
        encoded = b""
        if self._format == "json":
            encoded = await _offload(len(content), lambda: records.encode_content(content))

        def plan(found: _Found) -> tuple[list[Command], Stored]:
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

        return await self._change(draft.id, precondition, plan)

    async def delete(self, id: str, precondition: Precondition = ALWAYS) -> bool:
        key = self._prefix + id

        def plan(found: _Found) -> tuple[list[Command], bool]:
            if found.current is None:
                return [], False
            tombstone = records.tombstone_from(found.current)
            commands: list[Command] = [("UNLINK", key)]
            if self._remember_deleted:
                commands.append(("SET", self._tombstones % key, tombstone, "PX", milliseconds(self._remember_deleted)))
            return commands, True

        try:
            return await self._change(id, precondition, plan)
        except StoreFull:
            if precondition != ALWAYS:
                raise

            # A full server takes no transaction at all, but it lets go of keys, which is what it needs.
            async def let_go(line: Line) -> bool:
                return bool(value((await exchange(line, [("UNLINK", key)]))[0]))

            with translated():
                return await self._servers.attempt(key, let_go)

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

    async def _scan(self, at: str, count: int) -> tuple[str | None, Sequence[str]]:
        following, keys = await self._servers.scan(at, scan_pattern(self._prefix), count)
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

    async def _change(self, id: str, precondition: Precondition, plan: _Plan[T]) -> T:
        """Do what ``plan`` makes of the current version, unless that has changed in between: then try again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        chances = 1
        write = _Write(id, precondition, plan)
        with translated():
            while True:
                try:
                    committed = await self._servers.attempt(self._prefix + id, partial(self._attempt, write))
                except ConnectionError as error:
                    # What may have been written must not be written again.
                    if write.begun or not chances or not is_broken(error):
                        raise
                    chances -= 1
                    continue
                except Moving:
                    committed = False
                    await self._write_aside(write)
                if committed and write.outcome is not None:
                    return write.outcome
                if committed:
                    raise PreconditionFailed((write.current and write.current.etag) or None)
                if loop.time() >= deadline:
                    raise StoreUnavailable("Too many others write this image at the same time.")
                await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311 - no secret

    async def _attempt(self, write: _Write[T], line: Line) -> bool:
        write.begun, write.outcome = False, None
        found = await self._watch(line, write)
        write.current = found.current
        write.commands = ()
        if write.precondition.allows(found.current):
            write.commands, write.outcome = write.plan(found)
            write.begun = True
        # Without commands this proves that all that was read was so at one moment.
        return await commit(line, [command for command in write.commands if command not in write.aside])

    async def _write_aside(self, write: _Write[T]) -> None:
        """Write the tombstone on its own, since it can't be in one transaction with the image.

        While a cluster moves their slot, one of them may be at another node than the other. A tombstone beside an
        image means nothing, so it does no harm if the image then stays.
        """
        key = self._prefix + write.id
        write.aside = [command for command in write.commands if command[1] != key]
        for command in write.aside:
            value((await self._servers.read(exchange, (str(command[1]), [command])))[0])

    async def _watch(self, line: Line, write: _Write[T]) -> _Found:
        id, key, now = write.id, self._prefix + write.id, self._clock()
        commands: list[Command] = [("WATCH", key), ("GET", self._tombstones % key), *head_commands(key)]
        watched, tombstone, *replies = await exchange(line, commands)
        if isinstance(tombstone, bytes):
            # Where the image has moved on to another node, its tombstone may be left behind.
            write.tombstone = tombstone
        value(watched)
        try:
            current = read_head(id, replies, now)
            if current is UNREAD:
                current = await self._read_whole(line, id, replies[0])
        except BrokenRecord:
            current = records.broken_meta(id)
        if current is None:
            value(tombstone)
        return _Found(current, current or records.predecessor_from(write.tombstone))

    async def _read_whole(self, line: Line, id: str, kind: bytes) -> Meta:
        # A reply of another type means that the key has changed since; then the transaction fails anyway.
        key = self._prefix + id
        if kind == b"string":
            (raw,) = await exchange(line, [("GET", key)])
            if isinstance(raw, bytes):
                return (await _decode(len(raw), lambda: records.image_from_json(id, raw, None))).meta
        if kind == b"hash":
            (values,) = await exchange(line, [("HMGET", key, "content", *records.FIELDS)])
            if isinstance(values, list):
                return (await _decode_hash(id, values, None)).meta
        raise BrokenRecord(id, NO_RECORD)


def make_servers(url: str, limits: Limits) -> Servers:
    """What ``url`` names. Raises ``SettingsError``."""
    parsed = parse_redis_url(url)
    if parsed.kind == "sentinel":
        return MasterServer(parsed, limits)
    if parsed.kind == "cluster":
        return ClusterServers(parsed, limits)
    host, port = parsed.addresses[0]
    return OneServer(Connections({"host": host, "port": port} | parsed.options, limits))


async def _decode_hash(id: str, values: Sequence[bytes | None], expires: float | None) -> Image:
    content, *rest = values
    fields = dict(zip(records.FIELDS, rest, strict=True))
    hashed = len(content or b"") if fields["etag"] is None else 0
    return await _decode(hashed, lambda: records.image_from_hash(id, fields, content, expires))


async def _decode(size: int, decode: Callable[[], Image]) -> Image:
    begun = time.perf_counter()
    image = await _offload(size, decode)
    return replace(image, decode_seconds=time.perf_counter() - begun)


async def _offload(size: int, work: Callable[[], T]) -> T:
    """Do ``work`` on ``size`` bytes here if that is quick, else in a thread."""
    return await asyncio.to_thread(work) if size > INLINE_BYTES else work()
