"""Variants over a store that can be held back and a clock that is set: what only the order of events shows."""

from __future__ import annotations

import asyncio

import pytest
import pyvips
from tests.support import etag_of, until
from tests.unit.held_store import HeldStore

from lightfast.cache.coherence import LinkState
from lightfast.cache.families import Families
from lightfast.cache.memory import MemoryCache
from lightfast.cache.missing import MissingIds
from lightfast.cache.tiered import TieredCache
from lightfast.cache.variants import Outdated, Variants
from lightfast.errors import InvalidImage, Missing, StoreUnavailable
from lightfast.imaging.geometry import Limits
from lightfast.imaging.pool import RenderPool
from lightfast.imaging.rendering import Rendering
from lightfast.model import Draft, Rendition
from lightfast.variant import Fit, Format, Variant

SMALL = Variant(width=4)
OTHER = Variant(width=3, format=Format.WEBP)


def painted(grey):
    image = (pyvips.Image.black(8, 8, bands=3) + grey).cast("uchar").copy(interpretation="srgb")
    return bytes(image.write_to_buffer(".png"))


OLD, NEW = painted(20), painted(220)


def grey_of(found):
    return round(pyvips.Image.new_from_buffer(bytes(found.content), "").avg())


class VariantStore(HeldStore):
    """Its variants come late."""

    def __init__(self, clock):
        super().__init__(clock)
        self.heads = self.puts = 0

    async def head(self, id):
        self.heads += 1
        self.check()
        return await super().head(id)

    async def get(self, id):
        self.check()
        return await super().get(id)

    async def get_variant(self, source, spec):
        return await self.held(await super().get_variant(source, spec))

    async def put_variant(self, source, spec, rendition):
        self.puts += 1
        self.check()
        await super().put_variant(source, spec, rendition)


@pytest.fixture
async def store(clock):
    return VariantStore(clock)


@pytest.fixture
async def tier(store, clock):
    families = Families()
    memory = MemoryCache(1 << 20, on_evict=families.evicted)
    tier = TieredCache(
        store, memory, MissingIds(1.0), families, stale_if_error=10, warm=False, clock=clock, timer=clock
    )
    tier.families = families
    await tier.open()
    yield tier
    store.answering.set()
    await tier.close()


@pytest.fixture
async def rendering():
    rendering = Rendering(RenderPool(threads=1, seconds=30), Limits())
    yield rendering
    await rendering.close()


@pytest.fixture
async def variants(tier, store, rendering, clock):
    variants = Variants(tier, tier.families, store, rendering, clock=clock, timer=clock)
    yield variants
    store.answering.set()
    await variants.close()


async def put(store, content, ttl=0):
    await store.put(Draft("id", content, etag_of(content), "image/png", 8, 8), ttl)


@pytest.fixture
def find(tier, variants):
    """Reads as ``serving`` does: the version first, then the variant of it."""

    async def find(variant=SMALL):
        source = await tier.find_meta("id")
        return await variants.find(source, variants.wanted(source.meta, variant))

    return find


async def relink(store, tier):
    epoch = tier.link.epoch
    store.lose()
    await until(lambda: tier.link.epoch > epoch and tier.link.state is LinkState.LINKED)


async def test_a_hit_costs_the_store_nothing(store, tier, find, rendering):
    await put(store, OLD)
    made = await find()
    assert (grey_of(made), made.outcome.stored, made.outcome.detail) == (20, True, "rendered")
    tier.memory.remove("id")
    heads = store.heads
    for _ in range(3):
        assert (await find()).outcome.hit
    assert (store.heads, rendering.renders) == (heads, 1)


async def test_a_change_while_the_store_is_asked_wins(store, tier, find, rendering):
    await put(store, OLD)
    store.hold()
    finding = asyncio.create_task(find())
    await store.asked.wait()
    await put(store, NEW)
    store.answering.set()
    with pytest.raises(Outdated):
        await finding
    assert not any("?" in key for key in tier.memory)
    assert grey_of(await find()) == 220


async def test_a_deletion_while_the_store_is_asked_wins(store, tier, find):
    await put(store, OLD)
    store.hold()
    finding = asyncio.create_task(find())
    await store.asked.wait()
    await store.delete("id")
    store.answering.set()
    with pytest.raises(Missing):
        await finding
    assert list(tier.memory) == []


async def test_news_that_says_nothing_new_of_the_version_is_enough_not_to_keep_it(store, tier, find):
    await put(store, OLD)
    store.hold()
    finding = asyncio.create_task(find())
    await store.asked.wait()
    tier.drop("id")  # as a write through this process does, whatever comes of it
    store.answering.set()
    found = await finding
    assert (grey_of(found), found.outcome.stored) == (20, False)
    assert not any("?" in key for key in tier.memory)


async def test_the_first_caller_may_leave(store, find, rendering):
    await put(store, OLD)
    store.hold()
    first = asyncio.create_task(find())
    await store.asked.wait()
    second = asyncio.create_task(find())
    await asyncio.sleep(0)
    first.cancel()
    store.answering.set()
    assert grey_of(await second) == 20
    assert rendering.renders == 1


async def test_after_a_new_link_the_version_is_asked_for_and_nothing_made_again(store, tier, find, rendering):
    await put(store, OLD)
    for variant in (SMALL, OTHER):
        await find(variant)
    tier.memory.remove("id")
    await relink(store, tier)
    heads = store.heads
    for variant in (SMALL, OTHER, SMALL):
        assert (await find(variant)).outcome.hit
    assert (store.heads, rendering.renders) == (heads + 1, 2)
    assert tier.trusted("id?w=4") is not None


async def test_what_changed_between_two_links_is_found_by_that_question(store, tier, find):
    await put(store, OLD)
    await find()
    tier.memory.remove("id")
    store.lose()
    await until(lambda: tier.link.state is not LinkState.LINKED)
    await put(store, NEW)
    assert grey_of(await find()) == 220
    await until(lambda: tier.link.state is LinkState.LINKED)
    assert grey_of(await find()) == 220


async def test_stale_for_so_long_and_no_longer(store, tier, find, clock, rendering):
    await put(store, OLD)
    await find()
    tier.memory.remove("id")
    store.away = True
    store.lose()
    await until(lambda: tier.link.state is LinkState.STORE_AWAY)
    clock.advance(9)
    found = await find()
    assert (grey_of(found), found.age, found.outcome.hit, found.outcome.detail) == (20, 9, True, "stale-store-away")
    clock.advance(2)
    with pytest.raises(StoreUnavailable):
        await find()
    store.away = False
    await until(lambda: tier.link.state is LinkState.LINKED)
    found = await find()
    assert (found.age, rendering.renders) == (None, 1)


async def test_what_is_made_while_the_store_is_away_is_made_once_and_lasts_no_longer(
    store, tier, find, clock, rendering
):
    await put(store, OLD)
    await tier.find("id")
    store.away = True
    store.lose()
    await until(lambda: tier.link.state is LinkState.STORE_AWAY)
    clock.advance(3)
    first = await find()
    assert (grey_of(first), first.age, first.outcome.hit, first.outcome.stored) == (20, 3, False, True)
    tier.memory.remove("id")
    clock.advance(6)
    second = await find()
    assert (grey_of(second), second.age, second.outcome.hit, rendering.renders) == (20, 9, True, 1)
    clock.advance(2)  # the image was vouched for eleven seconds ago, and ten are allowed
    with pytest.raises(StoreUnavailable):
        await find()
    store.away = False
    await put(store, NEW)
    await until(lambda: tier.link.state is LinkState.LINKED)
    assert grey_of(await find()) == 220


async def test_gone_at_the_moment_of_its_expiry(store, tier, find, clock):
    await put(store, OLD, ttl=10)
    await find()
    tier.memory.remove("id")
    clock.advance(9.999)
    assert (await find()).outcome.hit
    clock.advance(0.001)
    with pytest.raises(Missing):
        await find()
    assert list(tier.memory) == []


async def test_an_expiry_that_was_put_off_is_told_without_making_anything(store, tier, find, clock, rendering):
    await put(store, OLD, ttl=10)
    first = await find()
    await put(store, OLD, ttl=100)
    later = await find()
    assert later.meta.expires == first.meta.expires + 90
    assert later.meta.etag == first.meta.etag
    assert rendering.renders == 1
    clock.advance(50)
    assert (await find()).outcome.hit


async def test_an_expiry_that_was_put_off_while_nobody_listened_is_told_as_well(store, tier, find, clock, rendering):
    await put(store, OLD, ttl=10)
    first = await find()
    key = "id?w=4"
    tier.memory.peek(key).prepared[b"/"] = "a head that says when it expires"
    store.lose()
    await until(lambda: tier.link.state is not LinkState.LINKED)
    await put(store, OLD, ttl=100)
    later = await find()
    assert later.outcome.hit
    assert later.meta.expires == first.meta.expires + 90
    assert tier.memory.peek(key).prepared == {}
    await until(lambda: tier.link.state is LinkState.LINKED)
    clock.advance(50)
    assert (await find()).outcome.hit
    assert rendering.renders == 1


async def test_a_store_that_keeps_nothing_does_not_concern_who_asks(store, find, rendering):
    await put(store, OLD)
    found = await find()
    await until(lambda: store.puts == 1)
    store.get_variant = store.put_variant = _refused
    assert grey_of(found) == 20
    assert grey_of(await find(OTHER)) == 20
    assert rendering.renders == 2


async def _refused(*_):
    raise StoreUnavailable


async def test_families_go_with_their_members(store, tier, find):
    await put(store, OLD)
    for variant in (SMALL, OTHER):
        await find(variant)
    assert tier.families.of("id").keys == {"id?w=4", "id?fm=webp&w=3"}
    tier.memory.remove("id?w=4")
    assert tier.families.of("id").keys == {"id?fm=webp&w=3"}
    tier.memory.remove("id?fm=webp&w=3")
    assert tier.families.of("id") is None
    await find()
    tier.drop("id")
    assert tier.families.of("id") is None
    assert list(tier.memory) == []


async def test_what_is_damaged_is_decoded_once_for_each_thing_that_is_wanted_of_it(tier, variants, store, rendering):
    broken = OLD[:-30]
    await store.put(Draft("a", broken, etag_of(broken), "image/png", 8, 8), 60)
    source = await tier.find("a")
    for variant in (SMALL, SMALL, OTHER, OTHER, None, None):
        with pytest.raises(InvalidImage, match="truncated"):
            await variants.find(source, variants.wanted(source.meta, variant))
    assert rendering.jobs == 3


async def test_what_is_larger_than_its_source_is_not_kept_in_the_store(variants, store, tier, monkeypatch):
    await put(store, OLD)
    source = await tier.find("id")
    for limit, puts in ((0, 0), (10_000, 1)):
        monkeypatch.setattr("lightfast.cache.variants.ALWAYS_KEPT", limit)
        wanted = variants.wanted(source.meta, Variant(width=100 + puts, fit=Fit.SCALE, format=Format.PNG))
        found = await variants.find(source, wanted)
        assert len(found.content) > len(OLD)
        assert (await variants.find(source, wanted)).outcome.hit, "memory keeps it"
        await until(lambda: not variants._tasks)
        assert store.puts == puts


async def test_a_preview_that_can_not_be_read_is_made_again(variants, store, tier, rendering):
    await put(store, OLD)
    source = await tier.find("id")
    wanted = variants.wanted(source.meta, None)
    await store.put_variant(source.meta, wanted.spec, Rendition(b"{}", wanted.etag, "application/json", 8, 8))
    assert (await variants.preview(source)).width == 8
    assert rendering.jobs == 1
