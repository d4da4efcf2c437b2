"""The file of the embedded store: its schema, connections to it, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightfast.errors import LightfastError, SettingsError, StoreFull, StoreUnavailable

APPLICATION_ID = 0x4C465354  # "LFST"; tells our files from those of other programs

JOURNAL_BYTES = 64 << 20
"""What the write-ahead log may keep on disk after a checkpoint."""

READER_CACHE_KIB = 256
"""Pages that a reading connection keeps. A picture's own are read once, and there are several such connections."""

Row = tuple[Any, ...]  # SQLite's columns are typed by value

_IMAGES = (
    "CREATE TABLE images ("
    "number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, etag TEXT NOT NULL, media_type TEXT NOT NULL, "
    "size INTEGER NOT NULL, width INTEGER, height INTEGER, created REAL, replaced INTEGER NOT NULL, expires REAL)",
    "CREATE INDEX images_by_expiry ON images (expires) WHERE expires IS NOT NULL",
    "CREATE TABLE contents (number INTEGER PRIMARY KEY, content BLOB NOT NULL)",
    "CREATE TABLE deleted ("
    "id TEXT PRIMARY KEY, etag TEXT NOT NULL, created REAL, replaced INTEGER NOT NULL, forgotten REAL NOT NULL"
    ") WITHOUT ROWID",
    "CREATE INDEX deleted_by_time ON deleted (forgotten)",
)

# Seconds since 1970 with a fraction; unixepoch('subsec') does the same from SQLite 3.42 on.
_NOW = "(julianday('now') - 2440587.5) * 86400.0"

# Triggers, so that a change by any other program that opens the file is told of as well.
_TELL = (
    "CREATE TRIGGER images_{0} AFTER {0} ON images BEGIN "
    "INSERT INTO changes (id, kind, at, etag, expires) VALUES ({1}); END"
)

_CHANGES = (
    "CREATE TABLE changes (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, kind TEXT NOT NULL, "
    "at REAL NOT NULL, etag TEXT, expires REAL)",
    _TELL.format("INSERT", f"new.id, 'stored', {_NOW}, new.etag, new.expires"),
    _TELL.format("UPDATE", f"new.id, 'stored', {_NOW}, new.etag, new.expires"),
    _TELL.format("DELETE", f"old.id, 'deleted', {_NOW}, NULL, NULL"),
)

# A version that no image has any more takes what was made of it along, whichever program does that. The last one is
# for INSERT OR REPLACE, which deletes without telling a trigger of it.
_ORPHANS = "DELETE FROM variants WHERE source = {0} AND NOT EXISTS (SELECT 1 FROM images WHERE etag = {0})"

_VARIANTS = (
    # Numbers are never used again (AUTOINCREMENT): a content may outlive its variant for a while.
    "CREATE TABLE variants ("
    "number INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, spec TEXT NOT NULL, etag TEXT NOT NULL, "
    "media_type TEXT NOT NULL, size INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, "
    "UNIQUE (source, spec))",
    "CREATE TABLE variant_contents (number INTEGER PRIMARY KEY, content BLOB NOT NULL)",
    "CREATE INDEX images_by_etag ON images (etag)",
    # Freeing fifty megabytes takes 0.3 s, for which whoever deletes an image would hold up all other writers.
    "CREATE TABLE abandoned (number INTEGER PRIMARY KEY, size INTEGER NOT NULL)",
    "CREATE TRIGGER variants_abandoned AFTER DELETE ON variants BEGIN "
    "INSERT OR REPLACE INTO abandoned VALUES (old.number, old.size); END",
    f"CREATE TRIGGER variants_deleted AFTER DELETE ON images BEGIN {_ORPHANS.format('old.etag')}; END",
    "CREATE TRIGGER variants_updated AFTER UPDATE OF etag ON images WHEN old.etag <> new.etag BEGIN "
    f"{_ORPHANS.format('old.etag')}; END",
    "CREATE TRIGGER variants_replaced BEFORE INSERT ON images BEGIN "
    "DELETE FROM variants WHERE source = (SELECT etag FROM images WHERE id = new.id AND etag <> new.etag) "
    "AND NOT EXISTS (SELECT 1 FROM images WHERE etag = variants.source AND id <> new.id); END",
)

_SCHEMAS = (_IMAGES, _CHANGES, _VARIANTS)
"""What each version of the schema adds to the one before."""

SCHEMA_VERSION = len(_SCHEMAS)

# SQLite's primary result codes (https://www.sqlite.org/rescode.html), and what they say of the store.
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "The store is busy: another process has been writing for too long.",
    sqlite3.SQLITE_LOCKED: "The store is busy: another process has been writing for too long.",
    sqlite3.SQLITE_READONLY: "The store's file can't be written.",
    sqlite3.SQLITE_PERM: "The store's file can't be written.",
    sqlite3.SQLITE_CORRUPT: "The store's file is damaged.",
    sqlite3.SQLITE_NOTADB: "The store's file is damaged.",
    sqlite3.SQLITE_CANTOPEN: "The store's file can't be opened.",
    sqlite3.SQLITE_IOERR: "The store's disk reports an error.",
}
_VANISHED = "The store's file has vanished."
_UNUSABLE = {
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
    sqlite3.SQLITE_CORRUPT: "the database is damaged",
    sqlite3.SQLITE_READONLY: "it can't be written",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
}


class Connection:
    """A connection to the file at ``path``, for one thread at a time. Statements commit by themselves."""

    def __init__(self, path: Path, busy_timeout: float, *, create: bool) -> None:
        self._path = path
        mode = "rwc" if create else "rw"
        self._sqlite = sqlite3.connect(
            f"{path.as_uri()}?mode={mode}", busy_timeout, uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            self.rows("PRAGMA synchronous = FULL")
            self.rows(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
            self._place = _place(path)
        except BaseException:
            self._sqlite.close()
            raise

    def rows(self, statement: str, *values: object) -> list[Row]:
        return self._sqlite.execute(statement, values).fetchall()

    def row(self, statement: str, *values: object) -> Row | None:
        rows = self.rows(statement, *values)
        return rows[0] if rows else None

    def number(self, statement: str) -> int:
        return int(self.rows(statement)[0][0])

    @contextmanager
    def lazy_transaction(self) -> Iterator[None]:
        """As ``transaction``, but a power failure may undo it: it does not wait for the disk (``synchronous=NORMAL``).

        Nothing else is lost with it, for the next ``transaction`` syncs what is in the log before it, too.
        """
        self.rows("PRAGMA synchronous = NORMAL")
        try:
            with self.transaction():
                yield
        finally:
            self.rows("PRAGMA synchronous = FULL")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what happens inside, all of it or nothing. Takes the write lock at once."""
        self.rows("BEGIN IMMEDIATE")
        try:
            yield
            self.rows("COMMIT")
        except BaseException:
            # Some errors (a full disk) have rolled back already.
            if self._sqlite.in_transaction:
                self.rows("ROLLBACK")
            raise

    def check_in_place(self) -> None:
        """Raise ``StoreUnavailable`` where the path names another file by now, or none.

        SQLite would go on in the file without a name, and everything stored would be lost on closing it.
        """
        if _place(self._path) != self._place:
            raise StoreUnavailable(_VANISHED)

    def close(self) -> None:
        self._sqlite.close()


def create(path: Path, busy_timeout: float) -> Connection:
    """Connect to the file at ``path`` and make it a store where it isn't one yet.

    Any number of processes may do so at the same moment. Raises ``SettingsError`` where the file is
    something else, and ``StoreUnavailable`` where it stays locked for ``busy_timeout`` seconds.
    """
    if not path.parent.is_dir():
        raise _unusable(path, "its directory does not exist")
    if path.is_dir():
        raise _unusable(path, "it is a directory")
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            return _create(path, busy_timeout)
        except sqlite3.Error as error:
            # The change to WAL does not wait for the busy timeout; so the whole attempt is repeated.
            if _code(error) == sqlite3.SQLITE_BUSY and time.monotonic() < deadline:
                time.sleep(0.01)
            elif _code(error) in _UNUSABLE:
                raise _unusable(path, _UNUSABLE[_code(error)]) from error
            else:
                raise


def connect(path: Path, busy_timeout: float) -> Connection:
    """Connect to a file that is a store, for reading. Raises ``StoreUnavailable`` where it is gone."""
    if _place(path) is None:
        raise StoreUnavailable(_VANISHED)
    connection = Connection(path, busy_timeout, create=False)
    connection.rows("PRAGMA query_only = ON")
    connection.rows(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
    return connection


@contextmanager
def translated() -> Iterator[None]:
    """Raise what SQLite raises as the fact that it is, with the cause chained."""
    try:
        yield
    except sqlite3.Error as error:
        raise _fact(error) from error


def _fact(error: sqlite3.Error) -> LightfastError:
    code = _code(error)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG):
        return StoreFull()
    return StoreUnavailable(_UNAVAILABLE.get(code, "The store reports an error."))


def _create(path: Path, busy_timeout: float) -> Connection:
    connection = Connection(path, busy_timeout, create=True)
    try:
        if _schema_version(connection, path) == 0:
            # Both before the first table: it can't be changed later without rewriting the file.
            connection.rows("PRAGMA auto_vacuum = INCREMENTAL")
            connection.rows("PRAGMA journal_mode = WAL")
        if _schema_version(connection, path) < SCHEMA_VERSION:
            with connection.transaction():
                for statements in _SCHEMAS[_schema_version(connection, path) :]:
                    for statement in statements:
                        connection.rows(statement)
                connection.rows(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.rows(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _schema_version(connection: Connection, path: Path) -> int:
    """Of the file, 0 = it is empty. Raises ``SettingsError`` where it is not ours, or newer."""
    # In this order: another process may be setting the file up, and its mark comes with its tables.
    tables = connection.number("SELECT count(*) FROM sqlite_schema")
    version = connection.number("PRAGMA user_version")
    application = connection.number("PRAGMA application_id")
    if application == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            known = f"schema {version}, this one knows {SCHEMA_VERSION}"
            raise _unusable(path, f"a newer version of Lightfast wrote it ({known})")
        return version
    if application or version or tables:
        raise _unusable(path, "it is the database of another application")
    return 0


def _unusable(path: Path, reason: str) -> SettingsError:
    return SettingsError(f"The store {str(path)!r} can't be used: {reason}.")


def _code(error: sqlite3.Error) -> int:
    # Extended result codes carry the primary one in their low byte; errors of the module itself have none.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _place(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - on the way of every read; Path.stat costs twice as much
    except OSError:
        return None
    return status.st_dev, status.st_ino
