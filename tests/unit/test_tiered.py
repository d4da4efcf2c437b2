"""Memory over a store that can be held back at any point: what wins when a change and a read meet."""

from __future__ import annotations

import asyncio
import gc

import pytest
from tests.support import etag_of, until
from tests.unit.held_store import HeldStore

from lightfast.cache.coherence import LinkState
from lightfast.cache.entry import Entry
from lightfast.cache.families import Families
from lightfast.cache.memory import MemoryCache
from lightfast.cache.missing import MissingIds
from lightfast.cache.tiered import TieredCache
from lightfast.errors import Missing, StoreUnavailable
from lightfast.model import Draft
from lightfast.stores.memory import MemoryStore


class CountedStore(HeldStore):
    """Its answers wait after they were made."""

    def __init__(self, clock):
        super().__init__(clock)
        self.heads = self.gets = 0

    async def get(self, id):
        self.gets += 1
        return await self.held(await super().get(id))

    async def head(self, id):
        self.heads += 1
        return await self.held(await super().head(id))


@pytest.fixture
async def store(clock):
    return CountedStore(clock)


@pytest.fixture
async def tier(store, clock):
    memory = MemoryCache(1 << 20)
    tier = TieredCache(
        store, memory, MissingIds(1.0), Families(), stale_if_error=10, warm=False, clock=clock, timer=clock
    )
    await tier.open()
    yield tier
    store.answering.set()
    await tier.close()


async def put(store, content, id="id", ttl=0):
    await store.put(Draft(id, content, etag_of(content), "image/png", 1, 1), ttl)


async def relink(store, tier):
    epoch = tier.link.epoch
    store.lose()
    await until(lambda: tier.link.epoch > epoch and tier.link.state is LinkState.LINKED)


async def test_a_change_during_a_load_wins(store, tier):
    await put(store, b"old")
    store.hold()
    loading = asyncio.create_task(tier.find("id"))
    await store.asked.wait()
    await put(store, b"new")
    later = asyncio.create_task(tier.find("id"))
    await until(lambda: store.gets == 2)
    store.answering.set()
    assert (await loading).content == b"old"  # it asked before the change
    assert (await later).content == b"new"
    assert (await tier.find("id")).content == b"new"
    assert store.gets == 2


async def test_a_flush_during_a_load_wins(store, tier):
    await put(store, b"old")
    store.hold()
    loading = asyncio.create_task(tier.find("id"))
    await store.asked.wait()
    tier.drop_all()
    store.answering.set()
    await loading
    assert len(tier.memory) == 0


async def test_a_change_while_an_id_is_found_missing_wins(store, tier):
    store.hold()
    loading = asyncio.create_task(tier.find("id"))
    await store.asked.wait()
    await put(store, b"new")
    store.answering.set()
    with pytest.raises(Missing):
        await loading
    assert (await tier.find("id")).content == b"new"


async def test_what_was_loaded_over_a_lost_link_is_verified_again(store, tier):
    await put(store, b"old")
    store.hold()
    loading = asyncio.create_task(tier.find("id"))
    await store.asked.wait()
    await relink(store, tier)
    store.answering.set()
    await loading
    assert store.heads == 0
    await tier.find("id")
    await tier.find("id")
    assert (store.heads, store.gets) == (1, 1)


async def test_a_request_never_joins_a_question_older_than_itself_without_a_link(store, tier):
    await put(store, b"old")
    await tier.find("id")
    epoch = tier.link.epoch
    store.away = True
    store.lose()
    await until(lambda: tier.link.state is LinkState.STORE_AWAY)
    store.away = False
    tier.link.state = LinkState.UNLINKED  # as if the store answered while its changes can't be followed
    store.hold()
    first = asyncio.create_task(tier.find("id"))
    await store.asked.wait()
    await MemoryStore.put(store, Draft("id", b"new", etag_of(b"new"), "image/png", 1, 1), 0)
    second = [asyncio.create_task(tier.find("id")) for _ in range(50)]
    await asyncio.sleep(0)
    assert store.heads == 1
    assert tier.link.epoch == epoch
    store.answering.set()
    assert (await first).content == b"old"
    assert {(await one).content for one in second} == {b"new"}
    assert store.heads == 2  # all who joined shared the next one
    assert store.gets <= 3


async def test_nor_does_it_join_the_news_that_nothing_is_there(store, tier):
    store.lose()
    await until(lambda: tier.link.state is not LinkState.LINKED)
    store.away = True
    tier.link.state = LinkState.UNLINKED  # as if the store answered while its changes can't be followed
    store.away = False
    store.hold()
    first = asyncio.create_task(tier.find("id"))
    await store.asked.wait()
    await MemoryStore.put(store, Draft("id", b"new", etag_of(b"new"), "image/png", 1, 1), 0)
    second = asyncio.create_task(tier.find("id"))
    await asyncio.sleep(0)
    store.answering.set()
    with pytest.raises(Missing):
        await first
    assert (await second).content == b"new"


async def test_a_question_that_fails_while_the_store_answers_brings_no_stale_copy(store, tier):
    await put(store, b"old")
    await tier.find("id")
    await relink(store, tier)

    async def refuse(id):
        raise StoreUnavailable

    store.head = refuse
    with pytest.raises(StoreUnavailable):
        await tier.find("id")


async def test_ten_thousand_requests_after_a_new_link_are_one_question(store, tier):
    await put(store, b"old")
    await tier.find("id")
    await relink(store, tier)
    store.hold()
    asking = [asyncio.create_task(tier.find("id")) for _ in range(10_000)]
    await store.asked.wait()
    store.answering.set()
    assert all(found.outcome.hit for found in await asyncio.gather(*asking))
    assert (store.heads, store.gets) == (1, 1)


async def test_a_change_during_a_version_request_wins(store, tier):
    await put(store, b"old")
    await tier.find("id")
    await relink(store, tier)
    store.hold()
    asking = asyncio.create_task(tier.find("id"))
    await store.asked.wait()
    await put(store, b"new")
    store.answering.set()
    await asking
    assert (await tier.find("id")).content == b"new"


async def test_what_has_taken_an_outdated_copys_place_is_asked_for_once(store, tier):
    await put(store, b"old")
    await tier.find("id")
    await relink(store, tier)
    store._observers.clear()  # what comes now is not told of
    await put(store, b"new")
    assert (await tier.find_meta("id")).meta.etag == etag_of(b"new")
    assert (store.heads, store.gets) == (1, 1)


async def test_an_earlier_expiry_is_taken_over_to_the_millisecond(store, tier, clock):
    await put(store, b"same", ttl=10)
    await tier.find("id")
    await relink(store, tier)
    store._observers.clear()  # what comes now is not told of
    await put(store, b"same", ttl=9.5)
    await tier.find("id")
    clock.advance(9.6)
    with pytest.raises(Missing):
        await tier.find("id")


async def test_copies_age_from_the_last_sign_of_life(store, tier, clock):
    await put(store, b"old")
    await tier.find("id")
    clock.advance(5)
    tier.link.alive(2.0)  # asked for two seconds ago: what happened since may still be on its way
    store.away = True
    store.lose()
    await until(lambda: tier.link.state is LinkState.STORE_AWAY)
    clock.advance(1)
    assert (await tier.find("id")).age == pytest.approx(3)
    clock.advance(7.5)
    with pytest.raises(StoreUnavailable):
        await tier.find("id")


async def test_a_question_under_way_ends_when_the_store_is_found_to_be_away(store, tier):
    await put(store, b"old")
    store.hold()
    asking = asyncio.create_task(tier.find("id"))
    await store.asked.wait()
    store.away = True
    store.lose()
    with pytest.raises(StoreUnavailable):
        await asking
    with pytest.raises(StoreUnavailable):
        await tier.find("other")


def read_whole(store):
    """Let ``store`` tell versions as one that has to read all of them for it."""

    async def head(id):
        store.heads += 1
        return await store.held(await MemoryStore.get(store, id))

    store.head = head


async def test_what_a_question_for_the_version_had_to_read_is_kept(store, tier):
    read_whole(store)
    await put(store, b"bytes")
    asked = await tier.find_meta("id")
    assert (asked.content, asked.outcome.stored) == (b"bytes", True)
    found = await tier.find("id")
    assert (found.content, found.outcome.hit) == (b"bytes", True)
    assert (store.heads, store.gets) == (1, 0)


async def test_a_copy_that_is_still_right_stays(store, tier):
    read_whole(store)
    await put(store, b"bytes")
    await tier.find("id")
    entry = tier.memory.peek("id")
    await relink(store, tier)
    assert (await tier.find("id")).outcome.hit
    assert tier.memory.peek("id") is entry
    store._observers.clear()  # what comes now is not told of
    await put(store, b"other")
    await relink(store, tier)
    assert (await tier.find("id")).content == b"other"
    assert (await tier.find("id")).outcome.hit
    assert store.gets == 1


async def test_a_change_wins_over_what_a_question_had_to_read(store, tier):
    read_whole(store)
    await put(store, b"old")
    store.hold()
    asking = asyncio.create_task(tier.find_meta("id"))
    await store.asked.wait()
    await put(store, b"new")
    store.answering.set()
    assert (await asking).content == b"old"
    assert (await tier.find("id")).content == b"new"


async def test_a_large_copy_moves_to_pages_of_its_own(store, tier):
    await put(store, b"large" * 10_000)
    await tier.find("id")
    entry = tier.memory.peek("id")
    await until(lambda: isinstance(entry.content, memoryview))
    assert (await tier.find("id")).content == b"large" * 10_000


async def test_a_copy_that_has_left_is_held_by_nobody(store, tier):
    await put(store, b"large" * 10_000)
    await tier.find("id")
    tier.memory.remove("id")
    assert not [it for it in gc.get_objects() if isinstance(it, Entry) and it.meta.id == "id"]
