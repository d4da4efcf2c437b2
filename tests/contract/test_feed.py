"""That every change is told, whoever makes it, and that a link that is none is found."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support import until

from lightfast.errors import StoreUnavailable
from lightfast.stores.memory import MemoryStore
from lightfast.stores.redis import RedisStore
from lightfast.stores.sqlite import REMEMBER_CHANGES, SqliteStore

FOREIGN = ["valkey", "redis", "cluster", "sentinel"]

only_redis = pytest.mark.parametrize("backend", FOREIGN, indirect=True)


class Recorder:
    """An observer that remembers."""

    def __init__(self):
        self.links = self.beats = 0
        self.lags = []
        self.changes = []

    def linked(self):
        self.links += 1

    def alive(self, lag=None):
        self.beats += 1
        self.lags += [] if lag is None else [lag]

    def changed(self, change):
        self.changes.append(change)

    @property
    def ids(self):
        return [change.id for change in self.changes]


@asynccontextmanager
async def following(store):
    recorder = Recorder()
    task = asyncio.create_task(store.follow(recorder))
    try:
        await until(lambda: recorder.links or task.done())
        if task.done():
            task.result()
        yield recorder, task
    finally:
        task.cancel()
        await asyncio.wait((task,))


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def fails_within(task, seconds):
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable) as failure:
        async with asyncio.timeout(seconds):
            await task
    assert time.monotonic() - begun < seconds
    return str(failure.value)


async def test_puts_and_deletes_are_told_once_linked(backend, draft):
    store = await backend.open()
    async with following(store) as (recorder, _):
        await store.put(draft("a", b"one"), 60)
        await until(lambda: "a" in recorder.ids)
        recorder.changes.clear()
        await store.delete("a")
        await until(lambda: "a" in recorder.ids)
        await until(lambda: recorder.beats >= 2)
        assert recorder.links == 1
        assert set(recorder.ids) == {"a"}


async def test_a_change_by_another_store_is_told(backend, draft):
    store = await backend.open()
    other = store if backend.name == "memory" else await backend.open()  # a store in memory has no other
    async with following(store) as (recorder, _):
        for content in (b"one", b"two"):
            recorder.changes.clear()
            await other.put(draft("a", content), 60)
            await until(lambda: "a" in recorder.ids)
        recorder.changes.clear()
        await other.delete("a")
        await until(lambda: "a" in recorder.ids)


async def test_several_followers_are_told_each(backend, draft):
    store = await backend.open()
    async with following(store) as (one, _), following(store) as (two, _):
        await store.put(draft("a", b"one"), 60)
        await until(lambda: "a" in one.ids and "a" in two.ids)


@only_redis
async def test_whatever_a_foreign_app_does_is_told(backend):
    store = await backend.open()
    server = backend.server
    async with following(store) as (recorder, _):
        for command in (
            ("SET", "image:a", "x"),
            ("EXPIRE", "image:a", "100"),
            ("GETEX", "image:a", "EX", "50"),
            ("DEL", "image:a"),
            ("HSET", "image:a", "content", "x"),
            ("HDEL", "image:a", "content"),
            ("SET", "image:a", "x", "PX", "20"),
        ):
            recorder.changes.clear()
            assert not server.command(*command).startswith(b"-")
            await until(lambda: "a" in recorder.ids)
        await until(lambda: recorder.ids.count("a") >= 2)  # the server has found it expired, with nobody asking
        recorder.changes.clear()
        server.locate()(b"image:b").command("FLUSHDB")
        await until(lambda: None in recorder.ids)
        server.command("SET", "other:a", "x")
        server.command("SET", "image:last", "x")
        await until(lambda: "last" in recorder.ids)
        assert set(recorder.ids) <= {None, "last"}


@only_redis
async def test_every_part_of_the_store_is_followed(backend):
    store = await backend.open()
    async with following(store) as (recorder, _):
        for number in range(200):
            backend.server.locate()(f"image:i{number}".encode()).command("SET", f"image:i{number}", "x")
        await until(lambda: len(set(recorder.ids)) == 200)
        assert recorder.lags
        assert all(0 <= lag < 5 for lag in recorder.lags)


@pytest.mark.parametrize("backend", ["sqlite", *FOREIGN], indirect=True)
async def test_a_process_that_stood_still_keeps_its_link(backend, draft):
    store, writer = await backend.open(), await backend.open()
    async with following(store) as (recorder, task):
        await until(lambda: recorder.beats)
        stored = asyncio.create_task(writer.put(draft("a", b"x"), 60))
        time.sleep(1.5)  # noqa: ASYNC251 - the event loop stands still, as if the machine had no time for it
        await stored
        beats = recorder.beats
        await until(lambda: task.done() or ("a" in recorder.ids and recorder.beats > beats))
        assert not task.done()


@pytest.mark.parametrize("backend", ["sqlite", *FOREIGN], indirect=True)
async def test_nothing_is_missed_from_the_moment_of_the_link_on(backend, draft):
    store, writer = await backend.open(), await backend.open()
    written, recorder = [], Recorder()

    async def write():
        for number in range(500):
            linked = recorder.links  # looked at before the write begins
            id = f"i{random.randrange(10_000)}-{number}"
            await writer.put(draft(id, b"x"), 60)
            written.extend([id] if linked else [])

    writing = asyncio.create_task(write())
    await asyncio.sleep(random.random() * 0.02)
    task = asyncio.create_task(store.follow(recorder))
    await writing
    await until(lambda: recorder.links)
    await until(lambda: set(written) <= set(recorder.ids))
    assert written
    task.cancel()
    await asyncio.wait((task,))


async def test_cancelling_gives_everything_back(backend, draft):
    store = await backend.open()
    await store.put(draft("a", b"one"), 60)
    await store.get("a")
    await asyncio.sleep(0)
    tasks, files = asyncio.all_tasks(), open_files()
    for _ in range(3):
        async with following(store):
            pass
    assert asyncio.all_tasks() == tasks
    feeds = lambda: [it for it in threading.enumerate() if "feed" in it.name]  # noqa: E731
    await until(lambda: not feeds())
    await store.close()
    await until(lambda: open_files() <= files)


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_silent_server_is_found_within_two_seconds(start_server, kind):
    server = start_server(kind)
    store = RedisStore(server.url)
    await store.open()
    async with following(store) as (recorder, task):
        await until(lambda: recorder.beats)
        server.process.send_signal(signal.SIGSTOP)
        assert await fails_within(task, 2) == "The store has gone silent."
        await fails_within(asyncio.create_task(store.follow(Recorder())), 2)
        server.process.send_signal(signal.SIGCONT)
    async with following(store) as (recorder, task):
        server.stop()
        await fails_within(task, 1)
        await fails_within(asyncio.create_task(store.follow(Recorder())), 2)
    await store.close()


async def test_one_silent_primary_is_found_and_no_link_made_without_it(start_cluster):
    cluster = start_cluster()
    store = RedisStore(cluster.url)
    await store.open()
    async with following(store) as (_, task):
        cluster.servers[2].process.send_signal(signal.SIGSTOP)
        await fails_within(task, 2)
        recorder = Recorder()
        await fails_within(asyncio.create_task(store.follow(recorder)), 2)
        assert recorder.links == 0
        cluster.servers[2].process.send_signal(signal.SIGCONT)
    cluster.wait()
    async with following(store) as (_, task):
        cluster.servers[1].stop()
        await fails_within(task, 2)
    await store.close()


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_server_that_refuses_tracking_gives_no_link(start_server, kind):
    server = start_server(kind)
    server.command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-client|tracking")
    store = RedisStore(server.url.replace("://", "://app:secret@"))
    await store.open()
    recorder = Recorder()
    message = await fails_within(asyncio.create_task(store.follow(recorder)), 2)
    assert "rights" in message
    assert (recorder.links, recorder.beats) == (0, 0)
    assert await store.get("a") is None
    await store.close()


@pytest.mark.parametrize("make", [RedisStore])
async def test_a_store_that_is_not_open_gives_no_link(make):
    for url in ("redis://127.0.0.1:1/0", "redis+cluster://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/m"):
        await fails_within(asyncio.create_task(make(url).follow(Recorder())), 2)


async def test_memory_tells_at_once(clock, draft):
    store = MemoryStore(max_bytes=1000, clock=clock)
    async with following(store) as (recorder, _):
        await store.put(draft("a", b"one"), 60)
        assert recorder.changes[-1].id == "a"
        assert recorder.changes[-1].at == clock.now


async def test_sqlite_tells_of_what_another_process_writes(tmp_path, draft):
    path = tmp_path / "images.db"
    store = SqliteStore(path)
    await store.open()
    await store.put(draft("a", b"one"), 0)
    async with following(store) as (recorder, _):
        for statement, id, kind in (
            ("UPDATE images SET expires = 1 WHERE id = 'a'", "a", None),
            ("DELETE FROM images WHERE id = 'a'", "a", "deleted"),
        ):
            recorder.changes.clear()
            script = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute({statement!r}); c.commit()"
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
            assert await process.wait() == 0
            await until(lambda: recorder.changes)
            assert recorder.changes[0].id == id
            assert kind in (None, recorder.changes[0].kind)
            assert abs(recorder.changes[0].at - time.time()) < 30
    await store.close()


async def test_sqlite_tells_of_a_transaction_only_once_it_is_committed(tmp_path, draft):
    path = tmp_path / "images.db"
    store = SqliteStore(path)
    await store.open()
    for id in ("a", "b"):
        await store.put(draft(id, b"one"), 0)
    async with following(store) as (recorder, _):
        foreign = sqlite3.connect(path)
        foreign.execute("UPDATE images SET expires = 1 WHERE id = 'a'")
        foreign.rollback()
        foreign.execute("UPDATE images SET expires = 1 WHERE id = 'b'")
        foreign.commit()
        foreign.close()
        await until(lambda: recorder.changes)
        assert recorder.ids == ["b"]
    await store.close()


@pytest.mark.parametrize("left", [True, False])
async def test_a_follower_from_whom_changes_were_tidied_away_is_told_that_anything_may_have_changed(
    tmp_path, draft, left
):
    path = tmp_path / "images.db"
    store = SqliteStore(path)
    await store.open()
    await store.put(draft("a", b"one"), 0)
    async with following(store) as (recorder, _):
        foreign = sqlite3.connect(path)
        foreign.execute("UPDATE images SET expires = 1 WHERE id = 'a'")
        foreign.execute("DELETE FROM changes")
        if left:
            foreign.execute("UPDATE images SET expires = 2 WHERE id = 'a'")
        foreign.commit()
        foreign.close()
        await until(lambda: None in recorder.ids)
        recorder.changes.clear()
        await store.put(draft("b", b"one"), 0)
        await until(lambda: "b" in recorder.ids)
        assert recorder.ids == ["b"]
    await store.close()


async def test_changes_are_tidied_away(tmp_path, draft):
    path = tmp_path / "images.db"
    store = SqliteStore(path, clock=lambda: time.time() + REMEMBER_CHANGES + 1, reclaim_interval=0.02)
    await store.open()
    await store.put(draft("a", b"one"), 0)

    def count():
        connection = sqlite3.connect(path)
        try:
            return connection.execute("SELECT count(*) FROM changes").fetchone()[0]
        finally:
            connection.close()

    await until(lambda: count() == 0)
    async with following(store) as (recorder, _):
        await store.put(draft("b", b"one"), 0)
        await until(lambda: recorder.ids)  # itself, or that anything may have changed if it is gone already
        assert set(recorder.ids) <= {"b", None}
    await store.close()
