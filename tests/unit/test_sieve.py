from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lightfast.cache.memory import MemoryCache


@dataclass(eq=False)
class Item:
    key: str
    value: int
    size: int
    visited: bool = False


class NaiveSieve:
    """The algorithm of the paper on a plain list: newest in front, the hand an item of it or none."""

    def __init__(self, max_bytes: int, max_entries: int | None) -> None:
        self.queue: list[Item] = []
        self.hand: Item | None = None
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self.left: list[tuple[str, int]] = []
        self.evictions = 0

    def find(self, key: str) -> Item | None:
        return next((item for item in self.queue if item.key == key), None)

    def used(self) -> int:
        return sum(item.size for item in self.queue)

    def take_out(self, item: Item) -> None:
        place = self.queue.index(item)
        if self.hand is item:
            self.hand = self.queue[place - 1] if place > 0 else None
        self.queue.pop(place)
        self.left.append((item.key, item.value))

    def evict_one(self) -> None:
        item = self.hand or self.queue[-1]
        while item.visited:
            item.visited = False
            item = self.queue[self.queue.index(item) - 1]  # index -1 is the tail: round again
        self.hand = item
        self.take_out(item)
        self.evictions += 1

    def make_room(self, size: int, entries: int) -> None:
        while self.queue and (
            self.used() + size > self.max_bytes
            or (self.max_entries is not None and len(self.queue) + entries > self.max_entries)
        ):
            self.evict_one()

    def put(self, key: str, value: int, size: int) -> bool:
        if item := self.find(key):
            self.take_out(item)
        if size > self.max_bytes // 4 or self.max_entries == 0:
            return False
        self.make_room(size, 1)
        self.queue.insert(0, Item(key, value, size))
        return True


KEYS = st.sampled_from("abcdefghijkl")
SIZES = st.integers(1, 30)
BOUNDS = st.integers(0, 120)
COUNTS = st.none() | st.integers(0, 8)


class SieveAgainstThePaper(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.left: list[tuple[str, int]] = []
        self.cache: MemoryCache[str, int] = MemoryCache(100, on_evict=self.note)
        self.model = NaiveSieve(100, None)
        self.serial = 0
        self.accepted = 0

    def note(self, key: str, value: int) -> None:
        self.check_bounds()
        self.left.append((key, value))

    @rule(key=KEYS, size=SIZES)
    def put(self, key: str, size: int) -> None:
        self.serial += 1
        accepted = self.cache.put(key, self.serial, size)
        assert accepted is self.model.put(key, self.serial, size)
        self.accepted += accepted

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        item = self.model.find(key)
        assert self.cache.get(key) == (item.value if item else None)
        if item:
            item.visited = True

    @rule(key=KEYS)
    def peek(self, key: str) -> None:
        item = self.model.find(key)
        assert self.cache.peek(key) == (item.value if item else None)
        assert (key in self.cache) is (item is not None)

    @rule(key=KEYS)
    def remove(self, key: str) -> None:
        item = self.model.find(key)
        assert self.cache.remove(key) == (item.value if item else None)
        if item:
            self.model.take_out(item)

    @rule(max_bytes=BOUNDS, max_entries=COUNTS)
    def resize(self, max_bytes: int, max_entries: int | None) -> None:
        self.model.max_bytes, self.model.max_entries = max_bytes, max_entries
        self.model.make_room(0, 0)
        self.cache.resize(max_bytes, max_entries)

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        while self.model.queue:
            self.model.take_out(self.model.queue[-1])

    @invariant()
    def check_bounds(self) -> None:
        assert self.cache.bytes <= self.model.max_bytes
        assert self.model.max_entries is None or len(self.cache) <= self.model.max_entries

    @invariant()
    def agrees(self) -> None:
        assert list(self.cache) == [item.key for item in reversed(self.model.queue)]
        assert self.cache.bytes == self.model.used()
        assert len(self.cache) == len(self.model.queue)
        assert self.cache.evictions == self.model.evictions
        assert self.left == self.model.left
        assert self.accepted == len(self.left) + len(self.cache)


TestSieveAgainstThePaper = SieveAgainstThePaper.TestCase


def test_a_use_saves_an_entry_until_the_hand_comes_round_again() -> None:
    cache: MemoryCache[str, str] = MemoryCache(400, 3)
    for key in "abc":
        cache.put(key, key, 1)
    cache.get("a")
    cache.put("d", "d", 1)
    assert list(cache) == ["a", "c", "d"]
    cache.put("e", "e", 1)
    assert list(cache) == ["a", "d", "e"]
    cache.get("d")
    cache.get("e")
    cache.put("f", "f", 1)
    assert list(cache) == ["d", "e", "f"]


def test_a_peek_saves_nothing() -> None:
    cache: MemoryCache[str, str] = MemoryCache(400, 2)
    cache.put("a", "a", 1)
    cache.put("b", "b", 1)
    cache.peek("a")
    cache.put("c", "c", 1)
    assert list(cache) == ["b", "c"]


def test_a_scan_leaves_what_is_used_again_where_lru_loses_all_of_it() -> None:
    capacity, hot = 50, [f"hot-{n}" for n in range(25)]
    sieve: MemoryCache[str, str] = MemoryCache(capacity * 4, capacity)
    lru: OrderedDict[str, str] = OrderedDict()
    sieve_hits = lru_hits = 0
    for round in range(20):
        scan = [f"scan-{round}-{n}" for n in range(capacity)] if round > 1 else []
        for key in [*hot, *scan]:
            if sieve.get(key) is not None:
                sieve_hits += 1
            else:
                sieve.put(key, key, 4)
            if key in lru:
                lru_hits += 1
                lru.move_to_end(key)
            else:
                lru[key] = key
                if len(lru) > capacity:
                    lru.popitem(last=False)
    assert lru_hits == 2 * len(hot), "those before the first scan"
    assert sieve_hits == 19 * len(hot), "all but the very first uses"


@pytest.mark.parametrize(("size", "kept"), [(25, True), (26, False)])
def test_an_entry_takes_at_most_a_quarter(size: int, kept: bool) -> None:
    cache: MemoryCache[str, str] = MemoryCache(100)
    assert cache.admits(size) is kept
    assert cache.put("a", "a", size) is kept
    assert cache.peek("a") == ("a" if kept else None)
    assert cache.bytes == (size if kept else 0)


def test_a_refused_value_takes_its_outdated_predecessor_along() -> None:
    left: list[tuple[str, str]] = []
    cache: MemoryCache[str, str] = MemoryCache(100, on_evict=lambda key, value: left.append((key, value)))
    cache.put("a", "old", 10)
    assert not cache.put("a", "new", 26)
    assert "a" not in cache
    assert cache.bytes == 0
    assert left == [("a", "old")]
    assert cache.evictions == 0


def test_replacing_frees_the_old_size_before_anything_else_has_to_leave() -> None:
    cache: MemoryCache[str, str] = MemoryCache(100)
    for key in "abcd":
        cache.put(key, key, 25)
    assert cache.put("a", "new", 25)
    assert sorted(cache) == ["a", "b", "c", "d"]
    assert cache.evictions == 0


def test_the_bound_holds_at_every_step_inside_a_put() -> None:
    cache: MemoryCache[Watching, int] = MemoryCache(100, 7)
    seen: list[int] = []

    class Watching(str):
        __slots__ = ()

        def __hash__(self) -> int:
            seen.append(max(cache.bytes - 100, len(cache) - 7))
            return str.__hash__(self)

    for n in range(200):
        cache.put(Watching(n % 20), n, 1 + n * 7 % 25)
    assert len(seen) > 400
    assert max(seen) <= 0
    assert cache.evictions > 0


def test_what_leaves_may_use_the_cache() -> None:
    def note(key: str, value: str) -> None:
        left.append(key)
        if key == "a":
            cache.put("again", value, 25)

    left: list[str] = []
    cache: MemoryCache[str, str] = MemoryCache(100, on_evict=note)
    for key in "abcde":
        cache.put(key, key, 25)
    assert left == ["a", "b"]
    assert list(cache) == ["c", "d", "e", "again"]
    assert cache.bytes == 100


def test_a_bound_of_nothing_keeps_nothing() -> None:
    for cache in (MemoryCache[str, str](0), MemoryCache[str, str](1000, 0)):
        assert not cache.put("a", "a", 1)
        assert len(cache) == 0


@pytest.mark.parametrize(("max_bytes", "max_entries"), [(-1, None), (1, -1)])
def test_negative_bounds_are_refused(max_bytes: int, max_entries: int | None) -> None:
    with pytest.raises(ValueError, match="negative"):
        MemoryCache[str, str](max_bytes, max_entries)


@pytest.mark.parametrize("size", [0, -1])
def test_a_value_without_a_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        MemoryCache[str, str](100).put("a", "a", size)
