"""Opening, closing, answering, and never standing in the event loop's way."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
import time

import pytest

from lightfast.errors import StoreUnavailable
from lightfast.stores.redis import RedisStore


async def test_closing_twice_and_closing_what_was_never_opened(backend):
    store = await backend.open()
    await store.ping()
    await store.close()
    await store.close()
    await backend.make().close()


async def test_a_closed_store_can_be_opened_again(backend, draft):
    store = await backend.open()
    await store.put(draft("a", b"one"), 60)
    await store.close()
    await store.open()
    assert (await store.get("a")).content == b"one"


@pytest.mark.parametrize("backend", ["sqlite", "valkey"], indirect=True)
async def test_a_store_that_is_not_open_is_unavailable(backend):
    store = backend.make()
    with pytest.raises(StoreUnavailable):
        await store.get("a")
    await store.open()
    await store.ping()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.ping()


async def test_many_readers_and_writers_at_once(store, draft):
    contents = {f"id-{number}": b"%d" % number * 1000 for number in range(200)}
    await asyncio.gather(*(store.put(draft(id, content), 60) for id, content in contents.items()))
    images = await asyncio.gather(*(store.get(id) for id in contents for _ in range(3)))
    assert all(image.content == contents[image.meta.id] for image in images)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_no_call_into_sqlite_is_made_on_the_loops_thread(backend, draft, monkeypatch):
    threads = set()
    connect = sqlite3.connect

    def traced(*args, **kwargs):
        threads.add(threading.current_thread())
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(lambda _statement: threads.add(threading.current_thread()))
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    store = await backend.open()
    await store.put(draft("a", b"one"), 60)
    await store.get("a")
    await store.head("a")
    await store.list(None, 10)
    await store.delete("a")
    await store.ping()
    await store.close()
    assert len(threads) >= 2
    assert threading.current_thread() not in threads


@pytest.mark.parametrize("backend", ["valkey"], indirect=True)
async def test_large_contents_are_hashed_off_the_loops_thread(backend, monkeypatch):
    threads = []
    md5 = hashlib.md5

    def traced(data=b"", **kwargs):
        threads.append((len(data), threading.current_thread()))
        return md5(data, **kwargs)

    content = b"x" * 1_000_000
    backend.server.command("HSET", "image:a", "content", content, "media_type", "image/png")
    store = await backend.open()
    monkeypatch.setattr(hashlib, "md5", traced)
    assert (await store.get("a")).content == content
    assert [size for size, _ in threads] == [len(content)]
    assert threads[0][1] is not threading.current_thread()


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_stopped_server_is_said_to_be_unavailable_fast(start_server, draft, kind):
    server = start_server(kind)
    store = RedisStore(server.url)
    await store.open()
    await store.put(draft("a", b"one"), 60)
    server.stop()
    begun = time.monotonic()
    calls = [
        store.ping(),
        store.get("a"),
        store.head("a"),
        store.put(draft("a", b"two"), 60),
        store.delete("a"),
        store.list(None, 10),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable) as error:
            await call
        assert str(server.port) not in str(error.value)
        assert "127.0.0.1" not in str(error.value)
        assert error.value.__cause__ is not None
    assert time.monotonic() - begun < 5
    await store.close()
