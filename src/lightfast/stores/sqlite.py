"""The embedded store: one SQLite file in WAL mode, safe for several processes at once.

Metadata and contents lie in tables of their own, so that listing and ``head`` never touch a picture. All of
SQLite happens in threads: one that writes, a few that read, each with a connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeVar

from lightfast.errors import InvalidRequest, LightfastError, PreconditionFailed, StoreUnavailable
from lightfast.model import (
    ALWAYS,
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
from lightfast.stores import sqlite_feed, sqlite_variants
from lightfast.stores.sqlite_file import Connection, Row, connect, create, translated

T = TypeVar("T")

READERS = 4
"""Threads, and so connections, that read."""

MAX_WAITING = 1024
"""Calls that may be under way or wait for a thread; more are refused as unavailable."""

REMEMBER_CHANGES = 60.0
"""Seconds. Who has not looked for longer is told that anything may have changed."""

RECLAIM_ROWS = 64
RECLAIM_BYTES = 8 << 20
RECLAIM_PAGES = 512
"""What one transaction of the reclaimer frees at most (at least one content), so that writers wait little."""

log = logging.getLogger("lightfast.stores.sqlite")

_FIELDS = "id, etag, media_type, size, width, height, created, replaced, expires"
_HEAD = f"SELECT {_FIELDS} FROM images WHERE id = ?"  # noqa: S608 - constants only
_GET = f"SELECT {_FIELDS}, content FROM images JOIN contents USING (number) WHERE id = ?"  # noqa: S608
_LIST = f"SELECT {_FIELDS} FROM images WHERE id > ? AND (expires IS NULL OR expires > ?) ORDER BY id LIMIT ?"  # noqa: S608
_PUT = (
    f"INSERT INTO images ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET etag = excluded.etag, media_type = excluded.media_type, size = excluded.size, "
    "width = excluded.width, height = excluded.height, created = excluded.created, replaced = excluded.replaced, "
    "expires = excluded.expires RETURNING number"
)


class SqliteStore:
    """Fulfils ``ports.Store``, ``ports.ChangeFeed`` and ``ports.VariantStore`` over the SQLite file at ``path``.

    It is created where there is none. ``remember_deleted``, ``busy_timeout`` (how long to wait for another process's
    write), ``reclaim_interval`` (between two looks for expired images) and ``poll_interval`` (between two looks for
    changes) in seconds. A write has reached the disk when ``put`` returns (``synchronous=FULL``).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Clock = time.time,
        remember_deleted: float = 3600,
        busy_timeout: float = 5.0,
        reclaim_interval: float = 30.0,
        poll_interval: float = 0.02,
    ) -> None:
        self._path = Path(path).absolute()
        self._clock = clock
        self._remember_deleted = remember_deleted
        self._busy_timeout = busy_timeout
        self._reclaim_interval = reclaim_interval
        self._poll_interval = poll_interval
        self._writer: _Lane | None = None
        self._readers: _Lane | None = None
        self._reclaimer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._writer is not None:
            return
        writer = _Lane("lightfast-sqlite-writer", 1, lambda: create(self._path, self._busy_timeout))
        try:
            await writer.run(lambda _connection: None)
        except BaseException:
            await writer.close()
            raise
        self._writer = writer
        self._readers = _Lane("lightfast-sqlite-reader", READERS, lambda: connect(self._path, self._busy_timeout))
        self._reclaimer = asyncio.create_task(self._keep_reclaiming(writer))

    async def close(self) -> None:
        reclaimer, readers, writer = self._reclaimer, self._readers, self._writer
        self._reclaimer = self._readers = self._writer = None
        if reclaimer is not None:
            reclaimer.cancel()
            await asyncio.gather(reclaimer, return_exceptions=True)
        if readers is not None:
            await readers.close()
        if writer is not None:
            # With busy readers in other processes there is nothing to truncate; theirs will do it.
            with contextlib.suppress(StoreUnavailable):
                await writer.run(lambda connection: connection.rows("PRAGMA wal_checkpoint(TRUNCATE)"))
            await writer.close()

    async def ping(self) -> None:
        await self._read(lambda connection: connection.rows("SELECT 1 FROM images LIMIT 1"))

    async def follow(self, observer: FeedObserver) -> NoReturn:
        await sqlite_feed.follow(lambda: connect(self._path, self._busy_timeout), observer, self._poll_interval)

    async def get(self, id: str) -> Image | None:
        row = await self._read(lambda connection: connection.row(_GET, id))
        if row is None:
            return None
        meta = _meta(row)
        return None if meta.is_expired(self._clock()) else Image(meta, row[9])

    async def head(self, id: str) -> Meta | None:
        return await self._read(lambda connection: _current(connection, id, self._clock()))

    async def put(self, draft: Draft, ttl: float, precondition: Precondition = ALWAYS) -> Stored:
        def work(connection: Connection) -> Stored:
            with connection.transaction():
                now = self._clock()
                current = _current(connection, draft.id, now)
                _demand(precondition, current)
                previous = current or _predecessor(connection, draft.id, now)
                meta = next_version(draft, previous, now, ttl)
                number = connection.rows(_PUT, *_values(meta))[0][0]
                connection.rows("INSERT OR REPLACE INTO contents VALUES (?, ?)", number, draft.content)
            return Stored(meta, created=current is None)

        return await self._write(work)

    async def delete(self, id: str, precondition: Precondition = ALWAYS) -> bool:
        def work(connection: Connection) -> bool:
            with connection.transaction():
                now = self._clock()
                current = _current(connection, id, now)
                _demand(precondition, current)
                if current is None:
                    return False
                number = connection.rows("DELETE FROM images WHERE id = ? RETURNING number", id)[0][0]
                connection.rows("DELETE FROM contents WHERE number = ?", number)
                remembered = (id, current.etag, current.created, current.replaced, now + self._remember_deleted)
                connection.rows("INSERT OR REPLACE INTO deleted VALUES (?, ?, ?, ?, ?)", *remembered)
            return True

        return await self._write(work)

    async def list(self, cursor: str | None, limit: int) -> Page:
        if cursor is not None and not is_valid_id(cursor):
            raise InvalidRequest("The cursor is none that this server gave.")
        after, now = cursor or "", self._clock()
        rows = await self._read(lambda connection: connection.rows(_LIST, after, now, limit + 1))
        items = tuple(map(_meta, rows[:limit]))
        return Page(items, items[-1].id if len(rows) > limit else None)

    async def get_variant(self, source: str, spec: str) -> Rendition | None:
        return await self._read(lambda connection: sqlite_variants.get(connection, source, spec, self._clock()))

    async def put_variant(self, source: Meta, spec: str, rendition: Rendition) -> None:
        await self._write(lambda connection: sqlite_variants.put(connection, source, spec, rendition, self._clock()))

    async def drop_variants(self, source: str) -> None:
        await self._write(lambda connection: sqlite_variants.drop(connection, source))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        if self._readers is None:
            raise StoreUnavailable("The store is not open.")
        return await self._readers.run(work)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        if self._writer is None:
            raise StoreUnavailable("The store is not open.")
        return await self._writer.run(work)

    async def _keep_reclaiming(self, writer: _Lane) -> None:
        while True:
            try:
                while await writer.run(lambda connection: _reclaim(connection, self._clock())):
                    pass
            except LightfastError as error:
                log.warning("expired images were not reclaimed: %s", error)
            await asyncio.sleep(self._reclaim_interval)


class _Lane:
    """A few threads, each with a connection of its own, and a bounded queue in front of them."""

    def __init__(self, name: str, threads: int, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._waiting = 0

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a thread. A cancelled caller leaves; what was handed over is finished."""
        if self._waiting >= MAX_WAITING:
            raise StoreUnavailable("The store has too much to do at the moment.")
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, self._do, work)
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Finish what was handed over, then give back threads and connections."""
        await asyncio.shield(asyncio.to_thread(self._shut))

    def _done(self, _future: asyncio.Future[T]) -> None:
        self._waiting -= 1

    def _do(self, work: Callable[[Connection], T]) -> T:
        with translated():
            connection: Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._connect()
                self._local.connection = connection
                self._connections.append(connection)
            connection.check_in_place()
            return work(connection)

    def _shut(self) -> None:
        self._executor.shutdown()
        while self._connections:
            with contextlib.suppress(sqlite3.Error):
                self._connections.pop().close()


def _current(connection: Connection, id: str, now: float) -> Meta | None:
    row = connection.row(_HEAD, id)
    if row is None:
        return None
    meta = _meta(row)
    return None if meta.is_expired(now) else meta


def _predecessor(connection: Connection, id: str, now: float) -> Predecessor | None:
    row = connection.row("SELECT etag, created, replaced FROM deleted WHERE id = ? AND forgotten > ?", id, now)
    return Predecessor(row[0], row[1], bool(row[2])) if row is not None else None


def _demand(precondition: Precondition, current: Meta | None) -> None:
    if not precondition.allows(current):
        raise PreconditionFailed(current.etag if current is not None else None)


def _meta(row: Row) -> Meta:
    id, etag, media_type, size, width, height, created, replaced, expires = row[:9]
    return Meta(id, etag, media_type, size, width, height, created, bool(replaced), expires)


def _values(meta: Meta) -> Row:
    place = meta.created, meta.replaced, meta.expires
    return meta.id, meta.etag, meta.media_type, meta.size, meta.width, meta.height, *place


def _reclaim(connection: Connection, now: float) -> bool:
    """Free a bounded part of what has expired; whether there may be more."""
    with connection.transaction():
        select = "SELECT number, size FROM images WHERE expires <= ? ORDER BY expires LIMIT ?"
        freed = 0
        for number, size in connection.rows(select, now, RECLAIM_ROWS):
            connection.rows("DELETE FROM images WHERE number = ?", number)
            connection.rows("DELETE FROM contents WHERE number = ?", number)
            freed += size + 1
            if freed >= RECLAIM_BYTES:
                break
        if freed < RECLAIM_BYTES:
            freed += sqlite_variants.reclaim(connection, RECLAIM_ROWS, RECLAIM_BYTES - freed)
        oldest = "SELECT id FROM deleted WHERE forgotten <= ? ORDER BY forgotten LIMIT ?"
        connection.rows(f"DELETE FROM deleted WHERE id IN ({oldest})", now, RECLAIM_ROWS)  # noqa: S608
        connection.rows("DELETE FROM changes WHERE at < ?", now - REMEMBER_CHANGES)
    return _shrink(connection) or freed > 0


def _shrink(connection: Connection) -> bool:
    """Give pages back to the file system, but keep some for the images to come; whether there may be more."""
    free = connection.number("PRAGMA freelist_count")
    if free <= connection.number("PRAGMA page_count") // 8:
        return False
    connection.rows(f"PRAGMA incremental_vacuum({RECLAIM_PAGES})")
    return connection.number("PRAGMA freelist_count") < free
