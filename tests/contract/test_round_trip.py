"""What goes in comes out: any bytes, every field, under any valid id."""

from __future__ import annotations

import random

import pytest

from lightfast.model import Image, meta_of

CONTENTS = {
    "empty": b"",
    "one byte": b"\x00",
    "every value": bytes(range(256)),
    "line ends": b"\r\n\r\n$-1\r\n*0\r\n",
    "text like JSON": b'{"base64_data": "AAAA"}',
    "larger than an inline decode": random.Random(1).randbytes(300_000),
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
async def test_bytes_and_metadata_come_back(store, backend, draft, content):
    stored = await store.put(draft("a", content), 60)
    assert stored.created
    meta = stored.meta
    assert (meta.id, meta.etag, meta.media_type) == ("a", draft("a", content).etag, "image/png")
    assert (meta.size, meta.width, meta.height) == (len(content), 3, 5)
    assert (meta.created, meta.replaced) == (backend.clock.now, False)
    assert meta.expires == backend.clock.now + 60
    image = await store.get("a")
    assert image.content == content
    assert same(image.meta, meta)
    seen = await store.head("a")
    assert same(meta_of(seen), meta)
    assert not isinstance(seen, Image) or seen.content == content
    page = await store.list(None, 10)
    assert len(page.items) == 1
    assert same(page.items[0], meta)
    assert page.cursor is None


async def test_twenty_five_mebibytes(store, draft):
    content = random.Random(2).randbytes(25 << 20)
    meta = (await store.put(draft("large", content), 60)).meta
    image = await store.get("large")
    assert image.content == content
    assert image.meta.etag == meta.etag == meta_of(await store.head("large")).etag


async def test_unknown_dimensions_stay_unknown(store, draft):
    await store.put(draft("a", b"x", "image/x-other", None), 0)
    meta = meta_of(await store.head("a"))
    assert (meta.width, meta.height, meta.media_type) == (None, None, "image/x-other")
    assert same((await store.get("a")).meta, meta)


@pytest.mark.parametrize("id", ["a", "A", "0", "_", "-", "a.b", "x" * 128, "__proto__", "a--b..c"])
async def test_every_valid_id_names_an_image_of_its_own(store, draft, id):
    await store.put(draft(id, b"this"), 0)
    await store.put(draft("other", b"that"), 0)
    assert (await store.get(id)).content == b"this"
    assert await store.delete(id)
    assert (await store.get("other")).content == b"that"


async def test_what_is_not_there_is_none(store):
    assert await store.get("nothing") is None
    assert await store.head("nothing") is None
    assert not await store.delete("nothing")


async def test_another_store_over_the_same_data_sees_it_at_once(backend, draft):
    first, second = await backend.open(), await backend.open()
    meta = (await first.put(draft("a", b"one"), 60)).meta
    assert (await second.get("a")).content == b"one"
    assert same(meta_of(await second.head("a")), meta)
    await second.delete("a")
    assert await first.get("a") is None


def same(found, stored):
    """Equal; an expiry that a server counts down may have been rounded, never to later by more than its unit."""
    if found.expires != stored.expires:
        assert stored.expires - 5 < found.expires <= stored.expires + 0.001
    fields = ("id", "etag", "media_type", "size", "width", "height", "created", "replaced")
    return all(getattr(found, field) == getattr(stored, field) for field in fields)
