"""Listing by cursors: everything exactly once, whatever lies in between and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import socket

import pytest

from lightfast.errors import InvalidRequest, StoreUnavailable


async def follow(store, limit, between=None):
    ids, cursor = [], None
    while True:
        page = await store.list(cursor, limit)
        assert len(page.items) <= limit
        ids += [meta.id for meta in page.items]
        if page.cursor is None:
            return ids
        cursor = page.cursor
        if between is not None:
            await between(len(ids))


async def fill(store, draft, ids):
    async def put(id):
        try:
            await store.put(draft(id, id.encode()), 0)
        except StoreUnavailable:  # a machine that stood still while many connections were made
            await store.put(draft(id, id.encode()), 0)

    for start in range(0, len(ids), 500):
        await asyncio.gather(*map(put, ids[start : start + 500]))


async def test_ten_thousand_records_each_exactly_once(backend, store, draft):
    ids = [f"image-{number:05}" for number in range(10_000)]
    if backend.server is None:
        await fill(store, draft, ids)
    else:
        fill_redis(backend.server, ids)
    for limit in (99, 1000, 20_000):
        assert sorted(await follow(store, limit)) == ids
    page = await store.list(None, 7)
    assert len(page.items) <= 7
    assert page.cursor is not None


async def test_small_pages(store, draft):
    ids = [f"{number:03}" for number in range(150)]
    await fill(store, draft, ids)
    for limit in (1, 2, 7, 149, 150, 151):
        assert sorted(await follow(store, limit)) == ids


async def test_an_empty_store_is_one_empty_page(store):
    page = await store.list(None, 10)
    assert (page.items, page.cursor) == ((), None)


@pytest.mark.parametrize("limit", [10, 400])
async def test_what_was_there_all_the_time_is_listed_while_others_come_and_go(store, draft, limit):
    staying = [f"stay-{number:04}" for number in range(1000)]
    await fill(store, draft, staying)
    number = 0

    async def come_and_go(_listed):
        nonlocal number
        for _ in range(4):
            number += 1
            await store.put(draft(f"come-{number}", b"x"), 0)
            if number > 3:
                await store.delete(f"come-{number - 3}")

    listed = [id for id in await follow(store, limit, come_and_go) if id.startswith("stay")]
    assert sorted(listed) == staying


@pytest.mark.parametrize(
    "cursor",
    ["", ".", "..", "a/b", "é", "x" * 1000, " 1.a", "0.a/b", "\x00", "१.a", "1.a,", "1.,a", "{}", "9" * 200],
)
async def test_a_cursor_that_no_store_gave_is_an_invalid_request(store, cursor):
    with pytest.raises(InvalidRequest):
        await store.list(cursor, 10)


def fill_redis(server, ids):
    """Records as another app writes them, between keys that are no images: in one pipeline, it's many."""

    def pack(*words):
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)

    png = b'{"base64_data": "AAAA", "mime_type": "image/png"}'
    locate, lines = server.locate(), {}

    def add(command, key, *words):
        lines.setdefault(locate(key).port, []).append(pack(command, key, *words))

    for number, id in enumerate(id.encode() for id in ids):
        fields = (b"content", b"abc", b"media_type", b"image/png", b"size", b"3", b"replaced", b"0")
        etag = b"900150983cd24fb0d6963f7d28e17f72"  # the MD5 of "abc"
        if number % 100 == 0:
            add(b"SET", b"image:" + id, png)
        else:
            add(b"HSET", b"image:" + id, *fields, b"etag", etag)
        add(b"SET", b"session:" + id, b"x")
        if number % 50 == 0:
            add(b"SET", b"image:" + id + b":thumb", b"no id")
            add(b"SADD", b"image:set-" + id, b"no record")
            add(b"SET", b"image:broken-" + id, b"no JSON")
    for port, commands in lines.items():
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"".join(commands))
            received = b""
            while received.count(b"\r\n") < len(commands):
                received += connection.recv(1 << 20)
        assert b"-" not in received
