"""Puts, deletes and their preconditions: versions in order, and exactly one winner."""

from __future__ import annotations

import asyncio
import math

import pytest

from lightfast.errors import PreconditionFailed
from lightfast.model import Precondition, meta_of

CREATE = Precondition(none_match=frozenset({"*"}))
UPDATE = Precondition(match=frozenset({"*"}))


def only(etag):
    return Precondition(match=frozenset({etag}))


async def test_other_bytes_are_a_replacement_one_whole_second_later(store, backend, draft):
    first = (await store.put(draft("a", b"one"), 60)).meta
    outcome = await store.put(draft("a", b"two"), 60)
    assert not outcome.created
    assert outcome.meta.replaced
    assert math.floor(outcome.meta.created) > math.floor(first.created)
    assert (await store.get("a")).content == b"two"
    assert meta_of(await store.head("a")).created == outcome.meta.created
    third = (await store.put(draft("a", b"three"), 60)).meta
    assert math.floor(third.created) > math.floor(outcome.meta.created)
    backend.clock.advance(100)
    assert (await store.put(draft("a", b"four"), 60)).meta.created == backend.clock.now


async def test_the_same_bytes_renew_the_expiry_and_nothing_else(store, backend, draft):
    first = (await store.put(draft("a", b"one"), 60)).meta
    backend.clock.advance(10)
    outcome = await store.put(draft("a", b"one"), 120)
    assert not outcome.created
    assert not outcome.meta.replaced
    assert outcome.meta.created == first.created
    assert outcome.meta.expires == backend.clock.now + 120
    assert meta_of(await store.head("a")).created == first.created
    assert meta_of(await store.head("a")).expires > backend.clock.now + 100


async def test_a_replacement_keeps_nothing_of_the_version_before(store, draft):
    await store.put(draft("a", b"one" * 1000, "image/png"), 60)
    await store.put(draft("a", b"2", "image/webp", None), 0)
    meta = (await store.get("a")).meta
    assert (meta.media_type, meta.width, meta.height, meta.size, meta.expires) == ("image/webp", None, None, 1, None)


async def test_a_deleted_version_still_counts_as_the_one_before(store, draft):
    first = (await store.put(draft("a", b"one"), 60)).meta
    assert await store.delete("a")
    assert await store.head("a") is None
    again = await store.put(draft("a", b"one"), 60)
    assert again.created
    assert not again.meta.replaced
    assert again.meta.created == first.created
    assert await store.delete("a")
    other = await store.put(draft("a", b"two"), 60)
    assert other.created
    assert other.meta.replaced
    assert math.floor(other.meta.created) > math.floor(first.created)
    assert await store.delete("a")
    assert (await store.put(draft("a", b"two"), 60)).meta.replaced


CASES = [
    (CREATE, None, True),
    (CREATE, b"one", False),
    (UPDATE, None, False),
    (UPDATE, b"one", True),
    (only("f97c5d29941bfb1b2fdab0874906ab82"), b"one", True),  # the MD5 of "one"
    (only("0" * 32), b"one", False),
    (Precondition(none_match=frozenset({"f97c5d29941bfb1b2fdab0874906ab82"})), b"one", False),
    (Precondition(none_match=frozenset({"0" * 32})), b"one", True),
    (Precondition(unmodified_since=1_700_000_000), b"one", True),
    (Precondition(unmodified_since=1_699_999_999), b"one", False),
]


@pytest.mark.parametrize(("precondition", "before", "allowed"), CASES)
async def test_a_put_happens_only_if_its_precondition_holds(store, draft, precondition, before, allowed):
    if before is not None:
        await store.put(draft("a", before), 60)
    if allowed:
        await store.put(draft("a", b"new"), 60, precondition)
        assert (await store.get("a")).content == b"new"
        return
    with pytest.raises(PreconditionFailed) as refusal:
        await store.put(draft("a", b"new"), 60, precondition)
    image = await store.get("a")
    assert (image and image.content) == before
    assert refusal.value.current == (image and image.meta.etag)


@pytest.mark.parametrize(("precondition", "before", "allowed"), CASES)
async def test_a_delete_happens_only_if_its_precondition_holds(store, draft, precondition, before, allowed):
    if before is not None:
        await store.put(draft("a", before), 60)
    if allowed:
        assert await store.delete("a", precondition) is (before is not None)
        assert await store.get("a") is None
        return
    with pytest.raises(PreconditionFailed):
        await store.delete("a", precondition)
    image = await store.get("a")
    assert (image and image.content) == before


@pytest.mark.parametrize("stores", [1, 2])
@pytest.mark.parametrize("before", [None, b"before"])
async def test_of_twenty_writers_with_one_condition_exactly_one_wins(backend, draft, stores, before):
    opened = [await backend.open() for _ in range(stores)]
    if before is not None:
        await opened[0].put(draft("a", before), 60)
    condition = CREATE if before is None else only(draft("a", before).etag)

    async def write(number):
        try:
            return await opened[number % stores].put(draft("a", b"%d" % number * 5000), 60, condition)
        except PreconditionFailed:
            return None

    for _ in range(5):
        outcomes = await asyncio.gather(*(write(number) for number in range(20)))
        winners = [outcome for outcome in outcomes if outcome is not None]
        assert len(winners) == 1
        assert meta_of(await opened[0].head("a")).etag == winners[0].meta.etag
        await opened[0].delete("a")
        if before is not None:
            await opened[0].put(draft("a", before), 60)


@pytest.mark.parametrize("stores", [1, 2])
async def test_of_twenty_deleters_exactly_one_finds_it(backend, draft, stores):
    opened = [await backend.open() for _ in range(stores)]
    await opened[0].put(draft("a", b"one"), 60)
    found = await asyncio.gather(*(opened[number % stores].delete("a") for number in range(20)))
    assert sum(found) == 1


async def test_unconditional_writers_all_succeed_each_in_a_second_of_its_own(backend, draft):
    opened = [await backend.open() for _ in range(2)]
    outcomes = await asyncio.gather(*(opened[n % 2].put(draft("a", b"%d" % n), 60) for n in range(20)))
    assert sum(outcome.created for outcome in outcomes) == 1
    assert len({math.floor(outcome.meta.created) for outcome in outcomes}) == 20


async def test_readers_never_see_half_a_write(backend, draft):
    writer, reader = await backend.open(), await backend.open()
    contents = [bytes([n]) * (1_000_000 + n) for n in range(4)]
    drafts = [draft("a", content) for content in contents]
    known = {one.etag: one.content for one in drafts}
    await writer.put(drafts[0], 60)
    done = False

    async def read():
        seen = 0
        while not done:
            image = await reader.get("a")
            assert image.content == known[image.meta.etag]
            meta = meta_of(await reader.head("a"))
            assert meta.size == len(known[meta.etag])
            seen += 1
            await asyncio.sleep(0)
        return seen

    readers = [asyncio.create_task(read()) for _ in range(2)]
    for number in range(200):
        await writer.put(drafts[number % 4], 60)
        await asyncio.sleep(0)
    done = True
    assert sum(await asyncio.gather(*readers)) > 10


async def test_a_cancelled_writer_leaves_a_whole_image_and_a_working_store(store, draft):
    contents = [bytes([n]) * 500_000 for n in range(8)]
    for turn in range(40):
        task = asyncio.create_task(store.put(draft("a", contents[turn % 8]), 60))
        for _ in range(turn % 10):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        image = await store.get("a")
        assert image is None or image.meta.etag == draft("a", image.content).etag
    await store.put(draft("b", b"still"), 60)
    assert (await store.get("b")).content == b"still"
