"""What the embedded store promises beyond the contract: its file, its errors, its housekeeping."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys

import pytest
from tests.support import until

from lightfast.errors import SettingsError, StoreFull, StoreUnavailable
from lightfast.stores.sqlite import SqliteStore
from lightfast.stores.sqlite_file import SCHEMA_VERSION


@pytest.fixture
async def open_store(tmp_path, clock):
    opened = []

    async def make(path=tmp_path / "images.db", **options):
        store = SqliteStore(path, **{"clock": clock, "reclaim_interval": 3600} | options)
        opened.append(store)
        await store.open()
        return store

    yield make
    for store in opened:
        await store.close()


def query(path, statement):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()[0][0]
    finally:
        connection.close()


async def test_the_file_is_set_up_for_sharing_and_shrinking(open_store, tmp_path, draft):
    store = await open_store()
    await store.put(draft("a", b"one"), 0)
    await store.close()
    path = tmp_path / "images.db"
    assert query(path, "PRAGMA journal_mode") == "wal"
    assert query(path, "PRAGMA auto_vacuum") == 2
    assert query(path, "PRAGMA user_version") == SCHEMA_VERSION
    assert query(path, "PRAGMA integrity_check") == "ok"


async def test_a_clean_close_leaves_one_file(open_store, tmp_path, draft):
    store = await open_store()
    await asyncio.gather(*(store.put(draft(f"i{n}", b"x" * 100_000), 0) for n in range(20)))
    assert (tmp_path / "images.db-wal").exists()
    await store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["images.db"]


def make_text(path):
    path.write_bytes(b"This is no database, but long enough to look like one. " * 100)


def make_foreign(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.commit()
    connection.close()


def make_newer(path):
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {0x4C465354}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (make_text, "no SQLite database"),
        (make_foreign, "another application"),
        (make_newer, "newer version"),
        (lambda path: path.mkdir(), "is a directory"),
    ],
)
async def test_what_is_no_store_is_said_to_be_none_and_left_alone(open_store, tmp_path, make, says):
    path = tmp_path / "other.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(SettingsError, match=says):
        await open_store(path)
    assert (path.read_bytes() if path.is_file() else None) == before


async def test_a_missing_directory_is_a_settings_error(open_store, tmp_path):
    with pytest.raises(SettingsError, match="directory does not exist"):
        await open_store(tmp_path / "nowhere" / "images.db")


async def test_a_path_with_every_kind_of_character(open_store, tmp_path, draft):
    path = tmp_path / "a b?c#d%20é.db"
    store = await open_store(path)
    await store.put(draft("a", b"one"), 0)
    assert path.exists()


OPENER = """
import asyncio, sys
from lightfast.model import Draft
from lightfast.stores.sqlite import SqliteStore

async def work(path, id):
    store = SqliteStore(path)
    print("ready", flush=True)
    sys.stdin.readline()
    await store.open()
    await store.put(Draft(id, b"x", "9dd4e461268c8034f5c8564e155c67a6", "image/png", 1, 1), 0)
    await store.close()

asyncio.run(work(*sys.argv[1:]))
"""


def test_several_processes_open_a_new_file_at_the_same_moment(tmp_path):
    path = tmp_path / "images.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, path, f"id-{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for number in range(6)
    ]
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert query(path, "SELECT count(*) FROM images JOIN contents USING (number)") == 6
    assert query(path, "PRAGMA integrity_check") == "ok"
    assert query(path, "PRAGMA auto_vacuum") == 2


async def test_several_stores_open_a_new_file_at_the_same_moment(open_store, draft):
    stores = await asyncio.gather(*(open_store() for _ in range(8)))
    await asyncio.gather(*(store.put(draft(f"i{n}", b"x"), 0) for n, store in enumerate(stores)))
    assert len((await stores[0].list(None, 10)).items) == 8


async def test_a_lock_held_too_long_is_unavailable_and_passes(open_store, tmp_path, draft):
    store = await open_store(busy_timeout=0.1)
    await store.put(draft("a", b"one"), 0)
    other = sqlite3.connect(tmp_path / "images.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="busy"):
        await store.put(draft("a", b"two"), 0)
    assert (await store.get("a")).content == b"one"
    other.execute("ROLLBACK")
    other.close()
    await store.put(draft("a", b"two"), 0)
    assert (await store.get("a")).content == b"two"


async def test_a_full_disk_changes_nothing_and_passes(open_store, draft, monkeypatch):
    connect = sqlite3.connect
    connections = []

    def limited(*args, **kwargs):
        connections.append(connect(*args, **kwargs))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", limited)
    store = await open_store()
    await store.put(draft("a", b"one"), 0)
    pages = connections[0].execute("PRAGMA max_page_count = 100").fetchall()[0][0]
    assert pages == 100
    for id in ("a", "b"):
        with pytest.raises(StoreFull):
            await store.put(draft(id, b"x" * 1_000_000), 0)
    assert (await store.get("a")).content == b"one"
    assert await store.get("b") is None
    connections[0].execute("PRAGMA max_page_count = 100000")
    await store.put(draft("b", b"x" * 1_000_000), 0)


async def test_a_vanished_file_is_unavailable_and_nothing_is_lost_in_silence(open_store, tmp_path, draft):
    store = await open_store()
    await store.put(draft("a", b"one"), 0)
    (tmp_path / "images.db").rename(tmp_path / "moved.db")
    for call in (store.get("a"), store.put(draft("b", b"two"), 0), store.delete("a"), store.ping()):
        with pytest.raises(StoreUnavailable, match="vanished"):
            await call
    (tmp_path / "moved.db").rename(tmp_path / "images.db")
    await store.put(draft("b", b"two"), 0)


async def test_a_damaged_file_is_unavailable_not_a_crash(open_store, tmp_path, draft):
    store = await open_store()
    await store.put(draft("a", b"one" * 100_000), 0)
    await store.close()
    path = tmp_path / "images.db"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    try:
        store = await open_store()
    except SettingsError as error:
        assert "damaged" in str(error)  # noqa: PT017 - opening may notice it or not
        return
    with pytest.raises(StoreUnavailable, match="damaged"):
        await store.get("a")


async def test_expired_images_and_tombstones_are_reclaimed_and_the_file_shrinks(open_store, tmp_path, clock, draft):
    store = await open_store(reclaim_interval=0.02, remember_deleted=50)
    path = tmp_path / "images.db"
    await asyncio.gather(*(store.put(draft(f"i{n}", bytes([n]) * 300_000), 10) for n in range(100)))
    await store.put(draft("stays", b"x"), 1000)
    await store.put(draft("deleted", b"x"), 1000)
    await store.delete("deleted")
    assert query(path, "SELECT count(*) FROM deleted") == 1
    pages = query(path, "PRAGMA page_count")
    clock.advance(60)
    await until(lambda: query(path, "SELECT count(*) FROM images") == 1)
    await until(lambda: query(path, "SELECT count(*) FROM contents") == 1)
    await until(lambda: query(path, "SELECT count(*) FROM deleted") == 0)
    await until(lambda: query(path, "PRAGMA page_count") < pages / 10)
    assert (await store.get("stays")).content == b"x"


async def test_reclaiming_goes_on_after_an_error(open_store, tmp_path, clock, draft, caplog):
    store = await open_store(reclaim_interval=0.02, busy_timeout=0.02)
    await store.put(draft("a", b"one"), 10)
    path = tmp_path / "images.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await until(lambda: "not reclaimed" in caplog.text)
    other.execute("ROLLBACK")
    other.close()
    clock.advance(20)
    await until(lambda: query(path, "SELECT count(*) FROM images") == 0)


async def test_cancelled_callers_leave_no_transaction_open(open_store, tmp_path, draft):
    store = await open_store()
    tasks = [asyncio.create_task(store.put(draft(f"i{n}", b"x" * 200_000), 0)) for n in range(30)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    # What was handed over is finished, in order; this write comes after it.
    await store.put(draft("last", b"x"), 0)
    assert len((await store.list(None, 100)).items) == 31
    other = sqlite3.connect(tmp_path / "images.db", timeout=0, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    other.close()


async def test_listing_and_head_never_touch_the_contents(open_store, draft, monkeypatch):
    statements = []
    connect = sqlite3.connect

    def traced(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    store = await open_store()
    await store.put(draft("a", b"one"), 0)
    statements.clear()
    await store.head("a")
    await store.list(None, 10)
    reads = [statement for statement in statements if "FROM images WHERE id" in statement]
    assert len(reads) == 2
    assert not [statement for statement in reads if "contents" in statement]


async def test_more_calls_than_are_bounded_are_refused(open_store, draft, monkeypatch):
    monkeypatch.setattr("lightfast.stores.sqlite.MAX_WAITING", 10)
    store = await open_store()
    outcomes = await asyncio.gather(*(store.put(draft(f"i{n}", b"x"), 0) for n in range(20)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]
    assert len(refused) in (10, 11)  # the reclaimer may be one of those under way
    await store.put(draft("after", b"x"), 0)


async def test_opening_a_new_file_outlasts_whoever_gets_in_between(open_store, tmp_path, draft, monkeypatch):
    connect = sqlite3.connect
    other = connect(tmp_path / "images.db", isolation_level=None, check_same_thread=False)
    turned = []

    def interfere(statement):
        # SQLite does not wait when it changes to WAL while somebody writes.
        if "WAL" in statement:
            turned.append(statement)
            if len(turned) == 1:
                other.execute("BEGIN IMMEDIATE")
        elif "auto_vacuum" in statement and other.in_transaction:
            other.execute("ROLLBACK")

    def traced(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(interfere)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    store = await open_store()
    assert len(turned) == 2
    other.close()
    await store.put(draft("a", b"one"), 0)
