"""What was made from an image is kept as long as the image, and no longer."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from contextlib import asynccontextmanager, closing

import pytest
import redis
from tests.support import etag_of, until

from lightfast.errors import StoreUnavailable
from lightfast.model import Precondition, Rendition, meta_of
from lightfast.stores.redis import RedisStore

OWN_CLOCK = pytest.mark.parametrize("backend", ["memory", "sqlite"], indirect=True)
SEVERAL_PROCESSES = pytest.mark.parametrize(
    "backend", ["sqlite", "valkey", "redis", "cluster", "sentinel", "valkey-json", "cluster-json"], indirect=True
)

BYTES = b"\x00\n\r\xff{}" * 1000


def made(content=BYTES, media_type="image/webp", width=512, height=341):
    etag = etag_of(content)
    return Rendition(content, etag, media_type, width, height)


def few(monkeypatch, count):
    for room in ("memory_variants", "sqlite_variants", "redis_variants"):
        monkeypatch.setattr(f"lightfast.stores.{room}.MAX_VARIANTS", count)


def servers(backend):
    """Those of its server that hold keys; none for a store that is none of Redis."""
    if backend.server is None:
        return []
    kind = backend.name.partition("-")[0]
    return {"cluster": lambda it: it.servers, "sentinel": lambda it: [it.master]}.get(kind, lambda it: [it])(
        backend.server
    )


def keys(backend, pattern):
    """Every key like ``pattern`` with its expiry in milliseconds, -1 = none."""
    found = {}
    for server in servers(backend):
        with redis.Redis(port=server.port) as client:
            found |= {key: client.pttl(key) for key in client.keys(pattern)}
    return found


def rows(backend, path, statement="SELECT source, spec FROM variants ORDER BY number"):
    assert backend.name == "sqlite"
    with closing(sqlite3.connect(path / "images.db")) as connection:
        return connection.execute(statement).fetchall()


def kept(backend, path):
    """Versions of which anything is kept; only of those that other programs can look into."""
    if backend.name == "sqlite":
        return {source for source, _ in rows(backend, path)}
    return {key.split(b":")[1].decode().strip("{}") for key in keys(backend, "variant*")}


@pytest.fixture
async def source(store, draft):
    return (await store.put(draft("a", b"one"), 60)).meta


@pytest.mark.parametrize(
    "rendition",
    [made(), made(b"", "image/avif", 1, 1), made(b"\n", "application/json", 0, 0), made(b"x" * 3_000_000)],
    ids=["bytes", "empty", "not a picture", "large"],
)
async def test_what_is_put_comes_back_as_it_was(backend, store, source, rendition):
    assert await store.get_variant(source.etag, "fm=webp&w=512") is None
    await store.put_variant(source, "fm=webp&w=512", rendition)
    for reader in (store, await backend.open()):
        assert await reader.get_variant(source.etag, "fm=webp&w=512") == rendition
        assert await reader.get_variant(source.etag, "fm=webp&w=51") is None
        assert await reader.get_variant("0" * 32, "fm=webp&w=512") is None


@pytest.mark.parametrize("spec", ["p", "preview", "".join(map(chr, range(33, 127))), "w=" + "1" * 510, "a:b:c{d}*?[e]"])
async def test_any_spec_is_one_of_its_own(store, source, spec):
    await store.put_variant(source, spec, made())
    assert await store.get_variant(source.etag, spec) == made()
    assert await store.get_variant(source.etag, spec[:-1] + "~~") is None
    await store.drop_variants(source.etag)
    assert await store.get_variant(source.etag, spec) is None


async def test_better_bytes_take_the_place_of_the_first(store, source):
    await store.put_variant(source, "w=1", made(b"quickly"))
    await store.put_variant(source, "w=1", made(b"well", "image/avif", 2, 3))
    assert await store.get_variant(source.etag, "w=1") == made(b"well", "image/avif", 2, 3)


async def test_a_replaced_image_takes_its_variants_along(backend, store, source, draft, tmp_path):
    for spec in ("w=1", "w=2", "preview"):
        await store.put_variant(source, spec, made())
    other = await backend.open()
    new = (await other.put(draft("a", b"two"), 60)).meta
    for spec in ("w=1", "w=2", "preview"):
        assert await store.get_variant(source.etag, spec) is None
    await store.put_variant(new, "w=1", made(b"of the new one"))
    again = (await other.put(draft("a", b"one"), 60)).meta
    assert again.etag == source.etag
    assert await store.get_variant(source.etag, "w=1") is None
    assert await store.get_variant(new.etag, "w=1") is None
    assert backend.name == "memory" or kept(backend, tmp_path) == set()


async def test_a_deleted_image_takes_its_variants_along(backend, store, source, draft, tmp_path):
    for spec in ("w=1", "w=2"):
        await store.put_variant(source, spec, made())
    assert await (await backend.open()).delete("a")
    assert await store.get_variant(source.etag, "w=1") is None
    await store.put(draft("a", b"one"), 60)
    assert await store.get_variant(source.etag, "w=2") is None
    assert backend.name == "memory" or kept(backend, tmp_path) == set()


async def test_a_refused_write_takes_nothing_along(store, source, draft):
    await store.put_variant(source, "w=1", made())
    for write in (
        store.put(draft("a", b"two"), 60, Precondition(none_match=frozenset({"*"}))),
        store.delete("a", Precondition(match=frozenset({"0" * 32}))),
    ):
        with pytest.raises(Exception, match="precondition"):
            await write
    assert await store.get_variant(source.etag, "w=1") == made()


async def test_nothing_is_kept_for_a_version_that_is_not_current(backend, store, source, draft, tmp_path):
    two = (await store.put(draft("a", b"two"), 60)).meta
    await store.put_variant(source, "w=1", made())
    assert await store.delete("a")
    await store.put_variant(two, "w=1", made())
    assert backend.name == "memory" or kept(backend, tmp_path) == set()
    for content in (b"one", b"two"):
        meta = (await store.put(draft("a", content), 60)).meta
        assert await store.get_variant(meta.etag, "w=1") is None


@OWN_CLOCK
async def test_it_is_gone_when_its_source_has_expired(backend, store, source, draft):
    await store.put_variant(source, "w=1", made())
    backend.clock.advance(59.999)
    assert await store.get_variant(source.etag, "w=1") == made()
    backend.clock.advance(0.001)
    assert await store.get_variant(source.etag, "w=1") is None
    await store.put_variant(source, "w=2", made())
    assert await store.get_variant(source.etag, "w=2") is None
    await store.put(draft("a", b"two"), 60)
    await store.put(draft("a", b"one"), 60)
    assert await store.get_variant(source.etag, "w=1") is None


async def test_it_is_gone_with_its_source_for_real(backend, draft):
    store = await backend.open()
    backend.clock.now = time.time()
    meta = (await store.put(draft("a", b"one"), 0.4)).meta
    await store.put_variant(meta, "w=1", made())

    async def is_gone():
        backend.clock.now = time.time()
        return await store.get_variant(meta.etag, "w=1") is None

    await until(is_gone)
    assert await store.get("a") is None
    assert keys(backend, "variant*") == {}


@OWN_CLOCK
@pytest.mark.parametrize(
    ("ttl", "later", "there"), [(600, 599, True), (0, 10**9, True), (70, 71, False), (5, 6, False)]
)
async def test_the_same_bytes_again_give_it_the_life_of_the_image(backend, store, source, draft, ttl, later, there):
    await store.put_variant(source, "w=1", made())
    await store.put(draft("a", b"one"), ttl)
    assert await store.get_variant(source.etag, "w=1") == made()
    backend.clock.advance(later)
    assert (await store.get_variant(source.etag, "w=1") is not None) == there


async def test_two_ids_with_the_same_bytes_share_and_are_never_wrong(backend, store, source, draft):
    twin = (await store.put(draft("b", b"one"), 600)).meta
    assert twin.etag == source.etag
    await store.put_variant(source, "w=1", made())
    assert await store.get_variant(twin.etag, "w=1") == made()
    await store.put(draft("a", b"two"), 60)
    assert await store.get_variant(twin.etag, "w=1") in (made(), None)
    await store.put_variant(source, "w=2", made(b"not kept for what is current no more"))
    await store.put_variant(twin, "w=1", made())
    assert await store.get_variant(twin.etag, "w=1") == made()
    await store.delete("b")
    assert await store.get_variant(twin.etag, "w=1") is None
    assert await store.get_variant(twin.etag, "w=2") is None


async def test_over_the_bound_the_oldest_goes(store, source, draft, monkeypatch):
    few(monkeypatch, 3)
    other = (await store.put(draft("b", b"other"), 60)).meta
    await store.put_variant(other, "w=0", made())
    for number in (1, 2, 3):
        await store.put_variant(source, f"w={number}", made(b"%d" % number))
    await store.put_variant(source, "w=1", made(b"again"))
    for number in (4, 5):
        await store.put_variant(source, f"w={number}", made(b"%d" % number))
    found = [await store.get_variant(source.etag, f"w={number}") for number in range(1, 6)]
    assert found == [made(b"again"), None, None, made(b"4"), made(b"5")]
    assert await store.get_variant(other.etag, "w=0") == made()


async def test_the_bound_holds_for_many_at_once(backend, draft, monkeypatch):
    few(monkeypatch, 3)
    stores = [await backend.open() for _ in range(2)]
    meta = (await stores[0].put(draft("a", b"one"), 60)).meta
    for turn in range(4):
        specs = [f"w={turn}{number}" for number in range(8)]
        await asyncio.gather(*(stores[n % 2].put_variant(meta, spec, made()) for n, spec in enumerate(specs)))
        found = [await stores[0].get_variant(meta.etag, spec) for spec in specs]
        assert found.count(made()) == 3


async def test_dropping_takes_all_of_one_version(store, source, draft):
    other = (await store.put(draft("b", b"other"), 60)).meta
    for meta in (source, other):
        for number in range(20):
            await store.put_variant(meta, f"w={number}", made())
    await store.drop_variants(source.etag)
    await store.drop_variants(source.etag)
    await store.drop_variants("0" * 32)
    assert [await store.get_variant(source.etag, f"w={number}") for number in range(20)] == [None] * 20
    assert [await store.get_variant(other.etag, f"w={number}") for number in range(20)] == [made()] * 20
    await store.put_variant(source, "w=1", made())
    assert await store.get_variant(source.etag, "w=1") == made()


async def test_images_know_nothing_of_it(store, source):
    before = await store.get("a")
    for number in range(50):
        await store.put_variant(source, f"w={number}", made())
    await store.put_variant(source, "preview", made())
    metas, cursor = [], None
    while True:
        page = await store.list(cursor, 10)
        metas, cursor = [*metas, *page.items], page.cursor
        if cursor is None:
            break
    assert [meta.id for meta in metas] == ["a"]
    after = await store.get("a")
    assert (after.content, after.meta.etag, after.meta.created) == (before.content, source.etag, source.created)


class Recorder:
    def __init__(self):
        self.links, self.ids = 0, []

    def linked(self):
        self.links += 1

    def alive(self, lag=None):
        pass

    def changed(self, change):
        self.ids.append(change.id)


@asynccontextmanager
async def following(store):
    recorder = Recorder()
    task = asyncio.create_task(store.follow(recorder))

    async def is_linked():
        return recorder.links

    try:
        await until(is_linked)
        yield recorder
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def hear_of(recorder, id):
    async def is_told():
        return id in recorder.ids

    await until(is_told)


async def test_the_feed_does_not_tell_of_it(backend, store, source, draft):
    async with following(store) as recorder:
        for number in range(5):
            await store.put_variant(source, f"w={number}", made())
        await store.drop_variants(source.etag)
        await store.put(draft("last", b"x"), 60)
        await hear_of(recorder, "last")
        assert set(recorder.ids) == {"last"}


@pytest.mark.parametrize("prefix", ["v", "variant:", "variants:", "variant:a", "variants:0", "vario:"])
async def test_nor_does_it_with_a_prefix_that_looks_alike(valkey, clock, draft, prefix):
    store = RedisStore(valkey.url, prefix=prefix, clock=clock)
    await store.open()
    try:
        async with following(store) as recorder:
            meta = (await store.put(draft("a", b"one"), 60)).meta
            for spec in ("w=1", "preview"):
                await store.put_variant(meta, spec, made())
                assert await store.get_variant(meta.etag, spec) == made()
            assert [meta.id for meta in (await store.list(None, 10)).items] == ["a"]
            await store.delete("a")
            assert await store.get_variant(meta.etag, "w=1") is None
            await store.put(draft("last", b"x"), 60)
            await hear_of(recorder, "last")
            assert set(recorder.ids) == {"a", "last"}
    finally:
        await store.close()


async def test_many_at_once_are_all_kept(backend, draft):
    stores = [await backend.open() for _ in range(2)]
    meta = (await stores[0].put(draft("a", b"one"), 60)).meta
    await asyncio.gather(*(stores[n % 2].put_variant(meta, f"w={n}", made(b"%d" % n * 9)) for n in range(24)))
    found = await asyncio.gather(*(stores[n % 2].get_variant(meta.etag, f"w={n}") for n in range(24)))
    assert found == [made(b"%d" % n * 9) for n in range(24)]
    await stores[0].delete("a")
    assert await asyncio.gather(*(stores[1].get_variant(meta.etag, f"w={n}") for n in range(24))) == [None] * 24


async def test_readers_never_see_half_of_one(backend, draft):
    writer, reader = await backend.open(), await backend.open()
    meta = (await writer.put(draft("a", b"one"), 60)).meta
    choices = [made(bytes([n]) * (400_000 + n), f"image/x-{n}", n, n) for n in range(3)]
    await writer.put_variant(meta, "w=1", choices[0])
    done = False

    async def read():
        while not done:
            assert await reader.get_variant(meta.etag, "w=1") in choices
            await asyncio.sleep(0)

    reading = asyncio.create_task(read())
    for number in range(40):
        await writer.put_variant(meta, "w=1", choices[number % 3])
    done = True
    await reading


@SEVERAL_PROCESSES
async def test_whoever_comes_first_nothing_is_kept_of_what_is_gone(backend, draft, tmp_path):
    """Images come and go while others put variants of what they have just read."""
    writer, maker = await backend.open(), await backend.open()
    contents = [b"one", b"two", b"three"]
    stopping = False

    async def write():
        for _ in range(60):
            if random.random() < 0.4:
                await writer.delete("a")
            else:
                await writer.put(draft("a", random.choice(contents)), random.choice((0, 60)))

    async def make(number):
        while not stopping:
            meta = meta_of(await maker.head("a"))
            await asyncio.sleep(random.choice((0, 0, 0.002)))
            if meta is not None:
                await maker.put_variant(meta, f"w={number}", made(meta.etag.encode()))
                found = await maker.get_variant(meta.etag, f"w={number}")
                assert found in (None, made(meta.etag.encode()))
            await asyncio.sleep(0)

    makers = [asyncio.create_task(make(number)) for number in range(3)]
    await write()
    stopping = True
    await asyncio.gather(*makers)
    meta = meta_of(await writer.head("a"))
    assert kept(backend, tmp_path) <= ({meta.etag} if meta else set())


@SEVERAL_PROCESSES
async def test_a_cancelled_maker_leaves_a_working_store(backend, draft):
    store = await backend.open()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    for turn in range(40):
        task = asyncio.create_task(store.put_variant(meta, "w=1", made()))
        for _ in range(turn % 14):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await store.get_variant(meta.etag, "w=1") in (None, made())
    await store.put_variant(meta, "w=1", made())
    assert await store.get_variant(meta.etag, "w=1") == made()
    await store.delete("a")
    assert await store.get_variant(meta.etag, "w=1") is None


@pytest.mark.parametrize("backend", ["sqlite", "valkey"], indirect=True)
async def test_a_store_that_is_not_open_has_none(backend, draft):
    store = await backend.open()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    await store.close()
    for call in (store.get_variant(meta.etag, "w=1"), store.put_variant(meta, "w=1", made()), store.drop_variants("0")):
        with pytest.raises(StoreUnavailable):
            await call
