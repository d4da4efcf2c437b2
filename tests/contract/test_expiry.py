"""An image is gone from the moment in its metadata on, for every way of asking."""

from __future__ import annotations

import asyncio
import time

import pytest

from lightfast.errors import PreconditionFailed
from lightfast.model import Precondition, meta_of


@pytest.mark.parametrize("backend", ["memory", "sqlite"], indirect=True)
async def test_gone_to_the_second_by_our_clock(backend, store, draft):
    await store.put(draft("a", b"one"), 10)
    await store.put(draft("b", b"two"), 0)
    backend.clock.advance(9.999)
    assert await store.get("a") is not None
    assert len((await store.list(None, 10)).items) == 2
    backend.clock.advance(0.001)
    assert await store.get("a") is None
    assert await store.head("a") is None
    assert [meta.id for meta in (await store.list(None, 10)).items] == ["b"]
    assert not await store.delete("a")
    with pytest.raises(PreconditionFailed):
        await store.put(draft("a", b"x"), 10, Precondition(match=frozenset({"*"})))
    assert (await store.put(draft("a", b"x"), 10, Precondition(none_match=frozenset({"*"})))).created
    assert (await store.get("a")).content == b"x"


async def test_gone_within_the_second_for_real(backend, draft):
    store = await backend.open()
    begun = time.monotonic()
    backend.clock.now = time.time()
    await store.put(draft("a", b"one"), 1)
    while await store.get("a") is not None:
        assert time.monotonic() < begun + 10
        await asyncio.sleep(0.01)
        backend.clock.now = time.time()
    assert time.monotonic() - begun >= 0.999
    assert await store.head("a") is None
    assert (await store.list(None, 10)).items == ()


async def test_no_time_to_live_is_for_ever(store, backend, draft):
    assert (await store.put(draft("a", b"one"), 60)).meta.expires is not None
    assert (await store.put(draft("a", b"one"), 0)).meta.expires is None
    backend.clock.advance(10**9)
    assert meta_of(await store.head("a")).expires is None
    assert (await store.get("a")).meta.expires is None
    assert (await store.list(None, 10)).items[0].expires is None


async def test_a_fraction_of_a_second_is_a_time_to_live(store, draft):
    await store.put(draft("a", b"one"), 0.0001)
    await store.put(draft("a", b"one"), 3600.5)
    assert await store.get("a") is not None
