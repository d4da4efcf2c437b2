"""What the embedded store does for variants beyond the contract: its table, its triggers, its disk."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import pytest
from tests.support import etag_of, until

from lightfast.errors import StoreFull, StoreUnavailable
from lightfast.model import Rendition
from lightfast.stores.sqlite import SqliteStore
from lightfast.stores.sqlite_file import SCHEMA_VERSION

SECOND_SCHEMA = """
CREATE TABLE images (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, etag TEXT NOT NULL, media_type TEXT NOT NULL,
    size INTEGER NOT NULL, width INTEGER, height INTEGER, created REAL, replaced INTEGER NOT NULL, expires REAL);
CREATE INDEX images_by_expiry ON images (expires) WHERE expires IS NOT NULL;
CREATE TABLE contents (number INTEGER PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE deleted (id TEXT PRIMARY KEY, etag TEXT NOT NULL, created REAL, replaced INTEGER NOT NULL,
    forgotten REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX deleted_by_time ON deleted (forgotten);
CREATE TABLE changes (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL,
    etag TEXT, expires REAL);
CREATE TRIGGER images_INSERT AFTER INSERT ON images BEGIN
    INSERT INTO changes (id, kind, at, etag, expires) VALUES (new.id, 'stored', 0, new.etag, new.expires); END;
CREATE TRIGGER images_UPDATE AFTER UPDATE ON images BEGIN
    INSERT INTO changes (id, kind, at, etag, expires) VALUES (new.id, 'stored', 0, new.etag, new.expires); END;
CREATE TRIGGER images_DELETE AFTER DELETE ON images BEGIN
    INSERT INTO changes (id, kind, at, etag, expires) VALUES (old.id, 'deleted', 0, NULL, NULL); END;
INSERT INTO images VALUES (1, 'old', 'f97c5d29941bfb1b2fdab0874906ab82', 'image/png', 3, 3, 5, 1.5, 0, NULL);
INSERT INTO contents VALUES (1, x'6f6e65');
PRAGMA application_id = 1279677268;
PRAGMA user_version = 2;
"""

MADE = Rendition(b"\x00made" * 100, "0123", "image/webp", 512, 341)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "images.db"


@pytest.fixture
async def open_store(path, clock):
    opened = []

    async def make(**options):
        store = SqliteStore(path, **{"clock": clock, "reclaim_interval": 3600} | options)
        opened.append(store)
        await store.open()
        return store

    yield make
    for store in opened:
        await store.close()


def run(path, statement, *values):
    """As another program does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()


def count(path):
    return run(path, "SELECT count(*) FROM variants")[0][0]


def contents(path):
    return run(path, "SELECT count(*) FROM variant_contents")[0][0]


async def test_a_file_without_variants_gets_a_place_for_them(open_store, path, draft):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SECOND_SCHEMA)
    store = await open_store()
    assert run(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    image = await store.get("old")
    assert image.content == b"one"
    await store.put_variant(image.meta, "w=1", MADE)
    assert await store.get_variant(image.meta.etag, "w=1") == MADE
    assert await store.delete("old")
    assert count(path) == 0
    assert run(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_new_file_is_as_one_that_was_brought_up_to_date(path, tmp_path):
    async def open_and_close(path):
        store = SqliteStore(path)
        await store.open()
        await store.close()

    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SECOND_SCHEMA)
    asyncio.run(open_and_close(path))
    asyncio.run(open_and_close(tmp_path / "new.db"))
    names = "SELECT type, name FROM sqlite_schema ORDER BY 1, 2"
    assert run(path, names) == run(tmp_path / "new.db", names)


FOREIGN = {
    "delete": "DELETE FROM images WHERE id = 'a'",
    "update": "UPDATE images SET etag = 'other' WHERE id = 'a'",
    "replace": (
        "INSERT OR REPLACE INTO images (id, etag, media_type, size, replaced) VALUES ('a', 'o', 'image/x', 0, 0)"
    ),
    "upsert": (
        "INSERT INTO images (id, etag, media_type, size, replaced) VALUES ('a', 'o', 'image/x', 0, 0) "
        "ON CONFLICT (id) DO UPDATE SET etag = excluded.etag"
    ),
    "all": "DELETE FROM images",
}


@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN.keys())
async def test_another_program_takes_them_along_too(open_store, path, draft, statement):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    other = (await store.put(draft("b", b"two"), 60)).meta
    for source in (meta, other):
        await store.put_variant(source, "w=1", MADE)
    run(path, statement)
    assert await store.get_variant(meta.etag, "w=1") is None
    assert run(path, "SELECT source FROM variants") == ([] if statement == FOREIGN["all"] else [(other.etag,)])


@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN.keys())
async def test_the_last_image_with_the_bytes_takes_them_along(open_store, path, draft, statement):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    await store.put(draft("twin", b"one"), 60)
    await store.put_variant(meta, "w=1", MADE)
    run(path, statement)
    gone = statement == FOREIGN["all"]
    assert await store.get_variant(meta.etag, "w=1") == (None if gone else MADE)
    await store.delete("twin")
    assert count(path) == 0


async def test_another_program_may_change_the_life_of_an_image(open_store, path, clock, draft):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    await store.put_variant(meta, "w=1", MADE)
    run(path, "UPDATE images SET expires = ? WHERE id = 'a'", clock.now + 1000)
    clock.advance(999)
    assert await store.get_variant(meta.etag, "w=1") == MADE
    run(path, "UPDATE images SET expires = ?, media_type = 'image/x'", clock.now)
    assert await store.get_variant(meta.etag, "w=1") is None


async def test_reclaiming_takes_them_in_portions(open_store, path, clock, draft, monkeypatch):
    monkeypatch.setattr("lightfast.stores.sqlite.RECLAIM_BYTES", 10_000)
    store = await open_store()
    large = Rendition(b"x" * 6000, "0", "image/webp", 1, 1)
    for id in "abcdef":
        meta = (await store.put(draft(id, id.encode()), 10)).meta
        await store.put_variant(meta, "w=1", large)
        await store.put_variant(meta, "w=2", large)
    stays = (await store.put(draft("stays", b"stays"), 0)).meta
    await store.put_variant(stays, "w=1", MADE)
    await store.close()
    clock.advance(10)
    left = []
    connect = sqlite3.connect

    def traced(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(lambda statement: left.append(contents(path)) if statement == "COMMIT" else None)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    store = await open_store(reclaim_interval=0.02)
    monkeypatch.setattr(sqlite3, "connect", connect)
    await until(lambda: contents(path) == 1)
    assert {13, 11, 9, 7, 5, 3} <= set(left)  # what was left before each portion was committed
    assert run(path, "SELECT count(*) FROM abandoned") == [(0,)]
    assert await store.get_variant(stays.etag, "w=1") == MADE


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE variant_contents SET content = 'text'",
        "UPDATE variant_contents SET content = x'00'",
        "DELETE FROM variant_contents",
        "UPDATE variants SET media_type = 'x'",
        "UPDATE variants SET etag = ''",
        "UPDATE variants SET width = 'wide'",
        "UPDATE variants SET size = 1.5",
    ],
)
async def test_a_broken_row_is_made_again(open_store, path, draft, change, caplog):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    await store.put_variant(meta, "w=1", MADE)
    run(path, change)
    assert await store.get_variant(meta.etag, "w=1") is None
    assert meta.etag in caplog.text
    await store.put_variant(meta, "w=1", MADE)
    assert await store.get_variant(meta.etag, "w=1") == MADE


async def test_what_is_put_again_or_dropped_leaves_nothing_for_long(open_store, path, draft):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 0)).meta
    for spec in ("w=1", "w=2", "w=1"):
        await store.put_variant(meta, spec, MADE)
    assert (count(path), contents(path)) == (2, 3)
    await store.drop_variants(meta.etag)
    await store.put_variant(meta, "w=3", MADE)
    await store.close()
    store = await open_store(reclaim_interval=0.02)
    await until(lambda: contents(path) == 1)
    assert await store.get_variant(meta.etag, "w=3") == MADE


async def test_a_full_disk_takes_none_and_changes_nothing(open_store, draft, monkeypatch):
    connect, connections = sqlite3.connect, []

    def limited(*args, **kwargs):
        connections.append(connect(*args, **kwargs))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", limited)
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 0)).meta
    await store.put_variant(meta, "w=1", MADE)
    connections[0].execute("PRAGMA max_page_count = 100").fetchall()
    for spec in ("w=1", "w=2"):
        with pytest.raises(StoreFull):
            await store.put_variant(meta, spec, Rendition(b"x" * 1_000_000, "0", "image/webp", 1, 1))
    assert await store.get_variant(meta.etag, "w=1") == MADE
    assert await store.get_variant(meta.etag, "w=2") is None
    assert (await store.get("a")).content == b"one"
    # Images still wait for the disk, also after a variant that was refused.
    assert connections[0].execute("PRAGMA synchronous").fetchall() == [(2,)]
    await store.drop_variants(meta.etag)
    assert connections[0].execute("PRAGMA synchronous").fetchall() == [(2,)]


async def test_a_lock_held_too_long_is_unavailable(open_store, path, draft):
    store = await open_store(busy_timeout=0.05)
    meta = (await store.put(draft("a", b"one"), 0)).meta
    await store.put_variant(meta, "w=1", MADE)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for call in (store.put_variant(meta, "w=2", MADE), store.drop_variants(meta.etag)):
            with pytest.raises(StoreUnavailable, match="busy"):
                await call
        assert await store.get_variant(meta.etag, "w=1") == MADE
        other.execute("ROLLBACK")
    await store.put_variant(meta, "w=2", MADE)


def test_the_md5_of_the_old_file_is_that_of_its_content():
    assert etag_of(b"one") in SECOND_SCHEMA
