"""What the store in memory promises beyond the contract: its bound."""

from __future__ import annotations

import pytest

from lightfast.errors import StoreFull
from lightfast.model import Precondition
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
