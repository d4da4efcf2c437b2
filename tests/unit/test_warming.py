"""The walk through what a store held before: it waits for everybody else, and for a store that is away."""

from __future__ import annotations

import asyncio

import pytest

from lightfast.cache import warming
from lightfast.cache.warming import Warming
from lightfast.errors import InvalidRequest, StoreUnavailable


class Shelf:
    """``CostlyStore`` of two steps with two ids each, that fails where it is told to."""

    def __init__(self, failures=()):
        self.failures = list(failures)
        self.asked = 0

    async def costly(self, position):
        self.asked += 1
        if self.failures:
            raise self.failures.pop()
        return (("a", "b"), "next") if position is None else (("c", "d"), None)


class Room:
    def __init__(self, room=100):
        self.room = room
        self.free = True

    def is_free(self):
        return self.free

    def has_room(self, loaded):
        return loaded < self.room

    def has(self, id):
        return id == "b"


@pytest.fixture
async def warm(monkeypatch, clock):
    monkeypatch.setattr(warming, "BUSY", 0.001)
    monkeypatch.setattr(warming, "AWAY", 0.001)
    loaded = []

    async def load(id):
        loaded.append(id)
        if id == "a":
            raise StoreUnavailable
        return 10

    it = Warming(load, clock)
    yield it, loaded
    await it.close()


async def walk(warm, shelf, room):
    it, loaded = warm
    it.begin(shelf, room)
    async with asyncio.timeout(5):
        await it.walked.wait()
    return sorted(loaded)


async def test_all_is_loaded_that_is_not_there(warm):
    assert await walk(warm, Shelf(), Room()) == ["a", "c", "d"]


async def test_a_store_that_is_away_is_asked_again(warm):
    assert await walk(warm, Shelf([StoreUnavailable()] * 3), Room()) == ["a", "c", "d"]


async def test_one_that_refuses_is_left_alone(warm, monkeypatch):
    monkeypatch.setattr(warming, "MAX_FAILURES", 3)
    shelf = Shelf([StoreUnavailable()] * 10)
    assert await walk(warm, shelf, Room()) == []
    assert shelf.asked == 3


async def test_a_walk_that_cant_go_on_ends(warm):
    assert await walk(warm, Shelf([InvalidRequest("another cursor")]), Room()) == []


async def test_it_ends_where_there_is_no_room(warm):
    assert len(await walk(warm, Shelf(), Room(10))) < 3


async def test_it_waits_for_who_waits_for_the_store(warm):
    it, loaded = warm
    room, shelf = Room(), Shelf()
    room.free = False
    it.begin(shelf, room)
    for _ in range(10):
        await asyncio.sleep(0.001)
    assert (shelf.asked, loaded) == (0, [])
    room.free = True
    async with asyncio.timeout(5):
        await it.walked.wait()
    assert len(loaded) == 3
