"""What the store in memory promises beyond the contract: its bound."""

from __future__ import annotations

import pytest

from lightfast.errors import StoreFull
from lightfast.model import Precondition, Rendition
from lightfast.stores.memory import MAX_REMEMBERED, RECORD_OVERHEAD, MemoryStore

ROOM_FOR_TWO = 2 * (1000 + RECORD_OVERHEAD)


async def test_over_the_bound_nothing_changes(clock, draft):
    store = MemoryStore(max_bytes=ROOM_FOR_TWO, clock=clock)
    await store.put(draft("a", b"a" * 1000), 10)
    await store.put(draft("b", b"b" * 1000), 0)
    for id, size in (("c", 0), ("a", 1001)):
        with pytest.raises(StoreFull):
            await store.put(draft(id, b"c" * size), 0)
    assert (await store.get("a")).content == b"a" * 1000
    assert await store.get("c") is None
    assert not (await store.put(draft("a", b"c" * 1000), 10)).created
    await store.delete("b")
    await store.put(draft("c", b"c" * 1000), 0)


async def test_expired_images_make_room(clock, draft):
    store = MemoryStore(max_bytes=ROOM_FOR_TWO, clock=clock)
    await store.put(draft("a", b"a" * 1000), 10)
    await store.put(draft("b", b"b" * 1000), 10)
    clock.advance(10)
    for id in "acd":
        if id == "d":
            with pytest.raises(StoreFull):
                await store.put(draft(id, b"x" * 1000), 0)
        else:
            assert (await store.put(draft(id, b"x" * 1000), 0)).created
    assert [meta.id for meta in (await store.list(None, 10)).items] == ["a", "c"]


async def test_a_refused_write_does_not_make_room(clock, draft):
    store = MemoryStore(max_bytes=ROOM_FOR_TWO, clock=clock)
    await store.put(draft("a", b"a" * 1000), 10)
    clock.advance(10)
    with pytest.raises(StoreFull):
        await store.put(draft("a", b"x" * 10_000), 0)
    await store.put(draft("b", b"b" * 1000), 0)
    await store.put(draft("c", b"c" * 1000), 0, Precondition(none_match=frozenset({"*"})))


async def test_deleted_images_are_forgotten(clock, draft):
    store = MemoryStore(max_bytes=1 << 30, clock=clock, remember_deleted=60)
    await store.put(draft("a", b"one"), 0)
    await store.delete("a")
    clock.advance(60)
    assert not (await store.put(draft("a", b"two"), 0)).meta.replaced
    await store.delete("a")
    for number in range(MAX_REMEMBERED):
        await store.put(draft(f"i{number}", b"x"), 0)
        await store.delete(f"i{number}")
    assert not (await store.put(draft("a", b"three"), 0)).meta.replaced
    assert (await store.put(draft("i0", b"y"), 0)).meta.replaced


async def test_variants_count_and_give_way_to_images(clock, draft):
    store = MemoryStore(max_bytes=ROOM_FOR_TWO, clock=clock)
    meta = (await store.put(draft("a", b"a" * 1000), 10)).meta
    picture = Rendition(b"x" * 1000, "0", "image/webp", 1, 1)
    await store.put_variant(meta, "w=1", picture)
    with pytest.raises(StoreFull):
        await store.put_variant(meta, "w=2", picture)
    await store.put_variant(meta, "w=1", Rendition(b"y" * 1000, "0", "image/webp", 1, 1))
    with pytest.raises(StoreFull):
        await store.put_variant(meta, "w=1", Rendition(b"y" * 1001, "0", "image/webp", 1, 1))
    assert (await store.get_variant(meta.etag, "w=1")).content == b"y" * 1000
    with pytest.raises(StoreFull):
        await store.put(draft("b", b"b" * 1001), 10)
    assert await store.get_variant(meta.etag, "w=1") is not None
    await store.put(draft("b", b"b" * 1000), 10)
    assert await store.get_variant(meta.etag, "w=1") is None
    await store.delete("b")
    await store.put_variant(meta, "w=1", picture)
    await store.drop_variants(meta.etag)
    await store.put_variant(meta, "w=2", picture)
    clock.advance(10)
    for id in "cd":
        await store.put(draft(id, id.encode() * 1000), 0)


async def test_expired_images_make_room_for_variants(clock, draft):
    store = MemoryStore(max_bytes=ROOM_FOR_TWO, clock=clock)
    await store.put(draft("a", b"a" * 1000), 10)
    meta = (await store.put(draft("b", b"b" * 1000), 0)).meta
    picture = Rendition(b"x" * 1000, "0", "image/webp", 1, 1)
    with pytest.raises(StoreFull):
        await store.put_variant(meta, "w=1", picture)
    clock.advance(10)
    await store.put_variant(meta, "w=1", picture)
    assert await store.get_variant(meta.etag, "w=1") == picture


async def test_expired_images_take_their_variants_along(clock, draft):
    store = MemoryStore(max_bytes=ROOM_FOR_TWO, clock=clock)
    picture = Rendition(b"x" * 300, "0", "image/webp", 1, 1)
    short = (await store.put(draft("a", b""), 10)).meta
    await store.put_variant(short, "w=1", picture)
    meta = (await store.put(draft("b", b"b"), 0)).meta
    clock.advance(10)
    await store.put_variant(meta, "w=1", Rendition(b"y" * 1900, "0", "image/webp", 1, 1))
    assert (await store.get_variant(meta.etag, "w=1")).content == b"y" * 1900
