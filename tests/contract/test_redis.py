"""What the Redis store promises beyond the contract: other applications at the same keys, and a server's moods."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import signal
import threading
import time

import pytest
from tests.support import etag_of

from lightfast.errors import (
    BrokenRecord,
    InvalidRequest,
    PreconditionFailed,
    SettingsError,
    StoreFull,
    StoreUnavailable,
)
from lightfast.model import Meta, Precondition, meta_of
from lightfast.stores.redis import RedisStore

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cf500f0003860181a9f1d5b70000000049454e44ae426082"
)


@pytest.fixture(params=["valkey", "redis"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
async def open_store(server, clock):
    opened = []

    async def make(url=server.url, **options):
        store = RedisStore(url, **{"clock": clock} | options)
        opened.append(store)
        await store.open()
        return store

    yield make
    for store in opened:
        await store.close()


def record(content=PNG, **fields):
    return json.dumps({"base64_data": base64.b64encode(content).decode()} | (fields or {"mime_type": "image/png"}))


async def test_a_json_record_of_another_app_is_read(server, open_store, clock):
    store = await open_store()
    server.command("SET", "image:a", record(mime_type="image/png", prompt="a cat", base64="x"), "EX", "100")
    image = await store.get("a")
    assert image.content == PNG
    assert image.meta.etag == etag_of(PNG)
    assert (image.meta.media_type, image.meta.width, image.meta.height) == ("image/png", 1, 1)
    assert (image.meta.created, image.meta.replaced) == (None, False)
    assert clock.now + 99 < image.meta.expires <= clock.now + 100
    seen = await store.head("a")
    assert (seen.content, seen.meta.etag) == (PNG, image.meta.etag), "what had to be read is given"
    assert [meta.id for meta in (await store.list(None, 10)).items] == ["a"]
    server.command("SET", "image:a", record(b"\xff\xd8\xff another", mime_type="image/jpeg"))
    changed = await store.get("a")
    assert changed.content == b"\xff\xd8\xff another"
    assert changed.meta.expires is None


@pytest.mark.parametrize("form", ["hash", "json"])
async def test_a_put_replaces_a_foreign_record_and_counts_it(server, open_store, draft, form):
    store = await open_store(format=form)
    server.command("SET", "image:a", record())
    etag = etag_of(PNG)
    with pytest.raises(PreconditionFailed) as refusal:
        await store.put(draft("a", b"new"), 60, Precondition(none_match=frozenset({"*"})))
    assert refusal.value.current == etag
    outcome = await store.put(draft("a", b"new"), 60, Precondition(match=frozenset({etag})))
    assert (outcome.created, outcome.meta.replaced) == (False, True)
    assert (await store.get("a")).content == b"new"
    assert (b"+hash" if form == "hash" else b"+string") in server.command("TYPE", "image:a")


async def test_json_and_hash_writers_understand_each_other(server, open_store, draft):
    as_hash, as_json = await open_store(), await open_store(format="json")
    first = (await as_hash.put(draft("a", b"one"), 60)).meta
    second = (await as_json.put(draft("a", b"two"), 60)).meta
    assert second.replaced
    assert math.floor(second.created) > math.floor(first.created)
    found = (await as_hash.get("a")).meta
    assert (found.created, found.replaced, found.width) == (second.created, True, 3)
    third = (await as_hash.put(draft("a", b"two"), 60)).meta
    assert (third.created, third.replaced) == (second.created, True)


async def test_what_json_writes_another_app_can_read(server, open_store, draft):
    store = await open_store(format="json")
    await store.put(draft("a", b"\x00\xff" * 1000, "image/webp"), 60)
    reply = server.command("GET", "image:a").partition(b"\r\n")[2]
    parsed = json.loads(reply)
    assert base64.b64decode(parsed["base64_data"], validate=True) == b"\x00\xff" * 1000
    assert parsed["mime_type"] == "image/webp"


async def test_minimal_hashes_are_read_and_lying_ones_are_broken(server, open_store, draft):
    store = await open_store()
    server.command("HSET", "image:a", "content", PNG)
    image = await store.get("a")
    assert (image.content, image.meta.media_type, image.meta.width) == (PNG, "image/png", 1)
    assert await store.head("a") == image
    server.command("HSET", "image:b", "content", b"?", "content_type", "image/tiff")
    assert meta_of(await store.head("b")).media_type == "image/tiff"
    await store.put(draft("c", b"one"), 60)
    assert isinstance(await store.head("c"), Meta)
    server.command("HSET", "image:c", "content", b"another")
    for call in (store.get("c"), store.head("c")):
        with pytest.raises(BrokenRecord, match="size"):
            await call


BROKEN = {
    "no JSON": ("SET", "image:a", "{"),
    "JSON list": ("SET", "image:a", "[1]"),
    "no base64_data": ("SET", "image:a", "{}"),
    "no base64": ("SET", "image:a", '{"base64_data": "%%%", "mime_type": "image/png"}'),
    "unknown bytes": ("SET", "image:a", '{"base64_data": "AAAA"}'),
    "a list": ("RPUSH", "image:a", "x"),
    "a set": ("SADD", "image:a", "x"),
    "no content": ("HSET", "image:a", "etag", "0" * 32, "size", "0", "media_type", "image/png"),
    "nothing known": ("HSET", "image:a", "x", "y"),
    "text type": ("HSET", "image:a", "content", "x", "etag", "0" * 32, "size", "1", "media_type", "text/html"),
    "no number": ("HSET", "image:a", "content", "x", "etag", "0" * 32, "size", "one", "media_type", "image/png"),
}


@pytest.mark.parametrize("command", BROKEN.values(), ids=BROKEN.keys())
async def test_broken_records_say_so_and_can_be_overwritten_and_deleted(server, open_store, draft, command, caplog):
    store = await open_store()
    server.command(*command)
    for call in (store.get("a"), store.head("a")):
        with pytest.raises(BrokenRecord):
            await call
    await store.put(draft("b", b"fine"), 0)
    assert [meta.id for meta in (await store.list(None, 10)).items] == ["b"]
    assert "'a'" in caplog.text
    with pytest.raises(PreconditionFailed):
        await store.put(draft("a", b"new"), 60, Precondition(none_match=frozenset({"*"})))
    outcome = await store.put(draft("a", b"new"), 60)
    assert (outcome.created, outcome.meta.replaced) == (False, True)
    assert (await store.get("a")).content == b"new"
    server.command("DEL", "image:a")
    server.command(*command)
    assert await store.delete("a")
    assert await store.get("a") is None
    assert (await store.put(draft("a", b"new"), 60)).meta.replaced


async def test_the_time_to_live_is_the_keys_own(server, open_store, draft):
    store = await open_store()
    await store.put(draft("a", b"one"), 100)
    assert 99_000 < int(server.command("PTTL", "image:a")[1:]) <= 100_000
    await store.put(draft("a", b"one"), 0)
    assert server.command("PTTL", "image:a") == b":-1\r\n"
    server.command("PEXPIRE", "image:a", "50000")
    meta = meta_of(await store.head("a"))
    assert meta.expires is not None
    await store.delete("a")
    key = "lightfast:deleted:{image:a}"
    assert 3_590_000 < int(server.command("PTTL", key)[1:]) <= 3_600_000


@pytest.mark.parametrize("prefix", ["", "a*b?[c]\\^:", "{app}:image:", "a{b:", "{}x", "%s:", "é:"])
async def test_any_prefix_finds_its_own_images_only(server, open_store, draft, prefix):
    if prefix == "{}x":
        with pytest.raises(SettingsError, match="hash tag"):
            await open_store(prefix=prefix)
        return
    store = await open_store(prefix=prefix)
    await store.put(draft("one", b"1"), 0)
    server.command("SET", "aXbXcX:other", record())
    assert (await store.get("one")).content == b"1"
    assert [meta.id for meta in (await store.list(None, 10)).items] == ["one"]
    await store.delete("one")
    assert (await store.put(draft("one", b"2"), 0)).meta.replaced


@pytest.mark.parametrize("cursor", ["0.", "00.a", "-1.a", "1e3.a", "18446744073709551616.", "1", "1.a.png,..", "a"])
async def test_cursors_that_are_valid_elsewhere_are_not_here(open_store, cursor):
    store = await open_store()
    with pytest.raises(InvalidRequest):
        await store.list(cursor, 10)


async def test_one_page_does_a_bounded_amount_of_work(server, open_store, draft):
    store = await open_store()
    await store.put(draft("only", b"x"), 0)
    server.command("EVAL", "for i = 1, 200000 do redis.call('SET', 'other:' .. i, 'x') end", "0")
    pages, cursor, ids = 0, None, []
    while True:
        page = await store.list(cursor, 10)
        pages += 1
        ids += [meta.id for meta in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert ids == ["only"]
    assert 2 <= pages <= 20


async def test_a_full_server_takes_no_image_but_gives_and_deletes(server, open_store, draft):
    store = await open_store()
    server.command("SET", "image:foreign", record())
    await store.put(draft("a", b"one"), 60)
    await store.put(draft("b", b"two"), 60)
    server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreFull):
            await store.put(draft("a", b"new" * 1000), 60)
        with pytest.raises(PreconditionFailed):
            await store.put(draft("a", b"new"), 60, Precondition(none_match=frozenset({"*"})))
        assert (await store.get("a")).content == b"one"
        assert (await store.get("foreign")).content == PNG
        assert meta_of(await store.head("b")).size == 3
        assert len((await store.list(None, 10)).items) == 3
        with pytest.raises(StoreFull):
            await store.delete("a", Precondition(match=frozenset({"*"})))
        assert await store.delete("a")
        assert await store.get("a") is None
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
    await store.put(draft("a", b"new"), 60)


async def test_a_replica_refuses_writes_and_is_read(server, open_store, draft):
    store = await open_store()
    await store.put(draft("a", b"one"), 60)
    server.command("REPLICAOF", "127.0.0.1", "1")
    try:
        server.command("CONFIG", "SET", "replica-serve-stale-data", "yes")
        with pytest.raises(StoreUnavailable, match="replica"):
            await store.put(draft("a", b"new"), 60)
        assert (await store.get("a")).content == b"one"
        server.command("CONFIG", "SET", "replica-serve-stale-data", "no")
        with pytest.raises(StoreUnavailable, match="not ready"):
            await store.get("a")
    finally:
        server.command("CONFIG", "SET", "replica-serve-stale-data", "yes")
        server.command("REPLICAOF", "NO", "ONE")


async def test_a_wrong_or_missing_password_is_unavailable_and_not_repeated(server, open_store):
    server.command("CONFIG", "SET", "requirepass", "right")
    try:
        good = await open_store(server.url.replace("redis://", "redis://:right@"))
        await good.ping()
        for url in (server.url, server.url.replace("redis://", "redis://user:wrong-secret@")):
            store = await open_store(url)
            for call in (store.ping(), store.get("a")):
                with pytest.raises(StoreUnavailable, match="password") as error:
                    await call
                assert "secret" not in str(error.value)
                assert error.value.__cause__ is not None
    finally:
        await set_password_free(server)


async def set_password_free(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b'AUTH right\r\nCONFIG SET requirepass ""\r\n')
    assert await reader.readline() == b"+OK\r\n"
    assert await reader.readline() == b"+OK\r\n"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "redis://localhost:port",
        "redis://localhost:99999",
        "redis://localhost/zero",
        "redis://localhost/0?nonsense=1",
        "redis://localhost/0?socket_timeout=x",
        "unix:///tmp/redis.sock",
        "",
    ],
)
def test_a_url_that_cant_be_used_is_a_settings_error(url):
    with pytest.raises(SettingsError) as error:
        RedisStore(url.replace("://", "://user:secret@"))
    assert "secret" not in str(error.value)


async def test_options_in_the_url_dont_break_the_store(server, open_store, draft):
    store = await open_store(server.url + "?decode_responses=true&protocol=2")
    await store.put(draft("a", b"\xff\xfe"), 60)
    assert (await store.get("a")).content == b"\xff\xfe"


async def test_a_connection_that_broke_is_replaced_without_anybody_noticing(server, open_store, draft):
    store = await open_store(max_connections=2)
    await store.put(draft("a", b"one"), 60)
    for _ in range(5):
        server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert (await store.get("a")).content == b"one"
        server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await store.put(draft("a", b"one"), 60)


async def test_a_server_that_hangs_is_unavailable_after_the_timeout(start_server, draft):

    server = start_server("valkey")
    store = RedisStore(server.url, read_timeout=0.2, connect_timeout=0.2)
    await store.open()
    await store.put(draft("a", b"one"), 60)
    server.process.send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        for call in (store.get("a"), store.put(draft("a", b"two"), 60)):
            with pytest.raises(StoreUnavailable, match="in time"):
                await call
        assert time.monotonic() - begun < 5
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert (await store.get("a")).content in (b"one", b"two")
    await store.close()


async def test_the_pool_is_bounded_and_waits(server, open_store, draft):
    store = await open_store(max_connections=2)
    await store.put(draft("a", b"x" * 100_000), 60)
    images = await asyncio.gather(*(store.get("a") for _ in range(100)))
    assert {image.meta.etag for image in images} == {draft("a", b"x" * 100_000).etag}
    clients = server.command("CLIENT", "LIST", "TYPE", "normal")
    assert clients.count(b"cmd=") <= 3


async def test_cancelled_readers_never_mix_up_replies(open_store, draft):
    store = await open_store(max_connections=2)
    for name in "ab":
        await store.put(draft(name, name.encode() * 400_000), 60)
    for turn in range(60):
        task = asyncio.create_task(store.get("a"))
        for _ in range(turn % 12):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        image = await store.get("b")
        assert (image.meta.id, image.content[:1]) == ("b", b"b")


async def test_a_writer_cancelled_while_it_watches_leaves_a_clean_connection(server, open_store, draft, monkeypatch):
    store = await open_store(max_connections=1)
    content = b"x" * 1_000_000
    server.command("HSET", "image:a", "content", content, "media_type", "image/png")
    hashing, go_on = threading.Event(), threading.Event()
    md5 = hashlib.md5

    def slow(data=b"", **kwargs):
        hashing.set()
        go_on.wait(20)
        return md5(data, **kwargs)

    new = draft("a", b"new")
    monkeypatch.setattr(hashlib, "md5", slow)
    writer = asyncio.create_task(store.put(new, 60))
    await asyncio.to_thread(hashing.wait, 20)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    go_on.set()
    assert writer.cancelled()
    server.command("HSET", "image:a", "content", content)
    assert (await store.get("a")).content == content


async def test_a_write_whose_reply_is_lost_is_not_repeated(server, open_store, draft):
    async def forward(reader, writer):
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", server.port)
        replies = asyncio.create_task(pump(upstream_reader, writer))
        while request := await reader.read(1 << 16):
            cut = b"EXEC" in request
            if cut:
                replies.cancel()
            upstream.write(request)
            if cut:
                # The last reply is that of EXEC: the write has happened, and nobody hears of it.
                await asyncio.wait_for(upstream_reader.readuntil(b"*2\r\n:"), 10)
                break
        replies.cancel()
        upstream.close()
        writer.close()

    async def pump(reader, writer):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    server.command("CONFIG", "RESETSTAT")
    store = await open_store(f"redis://127.0.0.1:{port}/0")
    with pytest.raises(StoreUnavailable):
        await store.put(draft("a", b"one"), 0)
    assert b"cmdstat_hset:calls=1," in server.command("INFO", "commandstats")
    assert (await (await open_store()).get("a")).content == b"one"
    proxy.close()
    await store.close()
    await proxy.wait_closed()


async def test_a_reply_that_is_cut_is_asked_for_once_more(server, open_store):
    picture = PNG + bytes(1_000_000)
    server.command("SET", "image:a", record(picture))
    whole = 1

    async def forward(reader, writer):
        nonlocal whole
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", server.port)
        while request := await reader.read(1 << 16):
            upstream.write(request)
            if b"EXEC" in request and whole <= 0:
                writer.write(await upstream_reader.readexactly(500_000))
                break
            whole -= b"EXEC" in request
            end = b"EXEC" in request and b"\r\n:-1\r\n"
            reply = b""
            while not (reply.endswith(end) if end else reply):
                reply += await upstream_reader.read(1 << 16)
            writer.write(reply)
        whole += 1
        upstream.close()
        writer.close()

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0)
    store = await open_store(f"redis://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/0")
    assert (await store.get("a")).content == picture
    assert (await store.get("a")).content == picture  # the second connection
    whole = -2
    with pytest.raises(StoreUnavailable):
        await store.get("a")
    proxy.close()
    await store.close()
    await proxy.wait_closed()
