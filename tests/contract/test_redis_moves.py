"""What the Redis store promises while a cluster moves slots and while sentinels make another server the master."""

from __future__ import annotations

import asyncio
import random
from contextlib import nullcontext, suppress
from functools import partial

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError
from tests.support import etag_of, until

from lightfast.errors import StoreUnavailable
from lightfast.model import Draft
from lightfast.stores.redis import RedisStore

pytestmark = pytest.mark.own_core  # a replica has a second to say that it follows

SLOT = key_slot(b"{moving}")
PREFIX = "{moving}image:"
"""With it, every image of a test is in one slot."""


class Recorder:
    def __init__(self):
        self.links, self.ids = 0, []

    def linked(self):
        self.links += 1

    def alive(self, lag=None):
        pass

    def changed(self, change):
        self.ids.append(change.id)


def draft(id, content):
    return Draft(id, content, etag_of(content), "image/png", 3, 5)


async def follow_for_ever(store, recorder):
    while True:
        with suppress(StoreUnavailable):
            await store.follow(recorder)
        await asyncio.sleep(0.01)


class Writers:
    """Each writes ids of its own, and after every acknowledged write reads it back.

    ``recorder`` must be told of every one, unless its link is made anew.
    """

    def __init__(self, store, recorder=None, count=4):
        self.store, self.recorder, self.count = store, recorder, count
        self.known = {}
        self.operations = self.refusals = 0
        self.stopping = False

    async def run(self):
        await asyncio.gather(*(self._write(number) for number in range(self.count)))

    async def _write(self, writer):
        number = 0
        while not self.stopping:
            number += 1
            id = f"w{writer}-{random.randrange(10)}"
            links, told = (self.recorder.links, len(self.recorder.ids)) if self.recorder else (0, 0)
            try:
                if random.random() < 0.3 and self.known.get(id):
                    assert await self.store.delete(id)
                    self.known[id] = None
                else:
                    content = f"{writer}-{number}".encode()
                    await self.store.put(draft(id, content), 0)
                    self.known[id] = content
                image = await self.store.get(id)
                assert (image and image.content) == self.known[id]
                if self.recorder:
                    await until(partial(self._is_told, id, links, told))
            except StoreUnavailable:
                # The write may have happened or not; the next one decides.
                self.refusals += 1
                self.known.pop(id, None)
                await asyncio.sleep(0.01)
            self.operations += 1

    def _is_told(self, id, links, told):
        return self.recorder.links > links or id in self.recorder.ids[told:]

    async def check(self):
        for id, content in self.known.items():
            image = await self.store.get(id)
            assert (image and image.content) == content


async def begin_move(cluster, source, target):
    target.command("CLUSTER", "SETSLOT", str(SLOT), "IMPORTING", cluster.id(source))
    source.command("CLUSTER", "SETSLOT", str(SLOT), "MIGRATING", cluster.id(target))


async def move_keys(source, target, limit=None):
    """Move keys one by one, as the tools do; whatever number of them there is."""
    client, moved = Redis(port=source.port), 0
    try:
        while keys := await client.execute_command("CLUSTER", "GETKEYSINSLOT", SLOT, 1):
            await client.execute_command("MIGRATE", "127.0.0.1", target.port, keys[0], 0, 5000)
            moved += 1
            if moved == limit:
                break
            await asyncio.sleep(0.005)
    finally:
        await client.aclose()


async def end_move(cluster, source, target):
    for server in (target, source, *(it for it in cluster.servers if it not in (source, target))):
        server.command("CLUSTER", "SETSLOT", str(SLOT), "NODE", cluster.id(target))


@pytest.mark.parametrize("form", ["hash", "json"])
async def test_a_slot_moves_while_it_is_written_and_read(start_cluster, form):
    cluster = start_cluster()
    store, reader = (RedisStore(cluster.url, prefix=PREFIX, format=form) for _ in range(2))
    await store.open()
    await reader.open()
    recorder = Recorder()
    following = asyncio.create_task(follow_for_ever(reader, recorder))
    await until(lambda: recorder.links)
    writers = Writers(store, recorder)
    writing = asyncio.create_task(writers.run())
    await until(lambda: writers.operations > 100)
    source = cluster.owners()[SLOT]
    target = next(it for it in cluster.servers if it is not source)
    for from_, to in ((source, target), (target, source)):
        await begin_move(cluster, from_, to)
        await move_keys(from_, to, limit=10)
        before = writers.operations
        await until(lambda before=before: writers.operations > before + 200 or writing.done())
        await move_keys(from_, to)
        await end_move(cluster, from_, to)
        before = writers.operations
        await until(lambda before=before: writers.operations > before + 100 or writing.done())
    writers.stopping = True
    await writing
    await writers.check()
    assert writers.refusals < writers.operations / 20
    page = await store.list(None, 1000)
    assert {meta.id for meta in page.items} == {id for id, content in writers.known.items() if content}
    await until(lambda: recorder.links > 1)  # a moved slot ends the link
    following.cancel()
    await asyncio.wait((following,))
    await store.close()
    await reader.close()


async def test_a_primary_that_joins_is_followed_before_it_has_a_slot(start_cluster):
    cluster = start_cluster()
    store = RedisStore(cluster.url, prefix=PREFIX)
    await store.open()
    recorder = Recorder()
    following = asyncio.create_task(follow_for_ever(store, recorder))
    await until(lambda: recorder.links)
    source, links = cluster.owners()[SLOT], recorder.links
    target = cluster.start_node()
    cluster.wait()
    await until(lambda: recorder.links > links)
    await begin_move(cluster, source, target)
    await store.put(draft("new", b"one"), 0)  # the source has no such key: it goes to the target
    assert b"new" in target.command("CLUSTER", "GETKEYSINSLOT", str(SLOT), "10")
    await until(lambda: "new" in recorder.ids)
    assert [meta.id for meta in (await store.list(None, 10)).items] == ["new"]
    await store.delete("new")
    outcome = await store.put(draft("new", b"two"), 0)
    assert outcome.meta.replaced
    following.cancel()
    await asyncio.wait((following,))
    await store.close()


async def test_what_was_deleted_is_remembered_across_a_move(start_cluster):
    cluster = start_cluster()
    store = RedisStore(cluster.url, prefix=PREFIX)
    await store.open()
    for id in ("a", "b"):
        await store.put(draft(id, b"one"), 0)
    await store.delete("a")
    source = cluster.owners()[SLOT]
    target = next(it for it in cluster.servers if it is not source)
    await begin_move(cluster, source, target)
    assert (await store.put(draft("a", b"two"), 0)).meta.replaced  # its tombstone is still at the source
    assert await store.delete("b")  # the image is at the source, the tombstone goes to the target
    assert await store.get("b") is None
    assert not await store.delete("b")
    assert (await store.put(draft("b", b"two"), 0)).meta.replaced
    await store.close()


async def test_a_listing_goes_on_while_slots_move_between_its_pages(start_cluster):
    cluster = start_cluster()
    store = RedisStore(cluster.url)
    await store.open()
    for number in range(300):
        await store.put(draft(f"i{number}", b"x"), 0)
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = await store.list(cursor, 10)
        found += [meta.id for meta in page.items]
        cursor, pages = page.cursor, pages + 1
        if pages == 8:
            source = cluster.owners()[SLOT]
            target = next(it for it in cluster.servers if it is not source)
            await begin_move(cluster, source, target)
            await end_move(cluster, source, target)
        assert pages < 200
    assert len(set(found)) == 300
    await store.close()


async def test_a_cluster_without_one_of_its_primaries_is_unavailable(start_cluster):
    cluster = start_cluster()
    store = RedisStore(cluster.url, connect_timeout=0.3, read_timeout=0.5)
    await store.open()
    await store.ping()
    cluster.servers[2].stop()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    gone = f":{cluster.servers[2].port}"
    key = next(id for id in map(str, range(1000)) if key_slot(f"image:{id}".encode()) > 11000)
    with pytest.raises(StoreUnavailable) as failure:
        await store.put(draft(key, b"x"), 0)
    assert gone not in str(failure.value)
    await store.close()


async def is_stored(store, id):
    try:
        await store.put(draft(id, b"x"), 0)
    except StoreUnavailable:
        return False
    return True


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_another_server_becomes_the_master(start_sentinels, kind):
    sentinels = start_sentinels(kind)
    old = sentinels.master
    # What the replica does not have, nobody is told that it is stored.
    old.command("CONFIG", "SET", "min-replicas-to-write", "1")
    old.command("CONFIG", "SET", "min-replicas-max-lag", "1")
    store = RedisStore(sentinels.url, connect_timeout=0.3, read_timeout=0.5)
    await store.open()
    recorder = Recorder()
    following = asyncio.create_task(follow_for_ever(store, recorder))
    await until(lambda: recorder.links)
    for number in range(100):
        # The replica tells once a second how far it is, and is late where the machine is.
        await until(lambda number=number: is_stored(store, f"i{number}"))
    await replicated(old)
    links = recorder.links
    old.stop()
    with pytest.raises(StoreUnavailable):
        await store.put(draft("early", b"x"), 0)
    writers = Writers(store)
    writing = asyncio.create_task(writers.run())
    await until(lambda: recorder.links > links)
    before = writers.operations
    await until(lambda: writers.operations > before + 50 and writers.known)
    writers.stopping = True
    await writing
    await writers.check()
    await until(lambda: sentinels.master is not old)  # the sentinels do not learn it all at once
    for number in range(100):
        assert (await store.get(f"i{number}")).content == b"x"
    recorder.ids.clear()
    sentinels.master.command("SET", "image:foreign", "x")
    await until(lambda: "foreign" in recorder.ids)
    following.cancel()
    await asyncio.wait((following,))
    await store.close()


async def test_a_demoted_master_is_left_at_once(start_sentinels):
    sentinels = start_sentinels("redis")
    store = RedisStore(sentinels.url)
    await store.open()
    recorder = Recorder()
    following = asyncio.create_task(follow_for_ever(store, recorder))
    await until(lambda: recorder.links)
    await store.put(draft("a", b"one"), 0)
    await replicated(sentinels.master)
    old, links = sentinels.master, recorder.links
    for attempt in range(4):
        # Sentinels refuse a failover while they are about another one, and may give one up.
        sentinels.sentinels[0].command("SENTINEL", "FAILOVER", "mymaster")
        with suppress(AssertionError) if attempt < 3 else nullcontext():
            await until(lambda: recorder.links > links and sentinels.master is not old)
            break
    for _ in range(50):
        with suppress(StoreUnavailable):
            await store.put(draft("a", b"two"), 0)
            break
        await asyncio.sleep(0.1)
    assert (await store.get("a")).content == b"two"
    assert b"two" in sentinels.master.command("HGET", "image:a", "content")
    following.cancel()
    await asyncio.wait((following,))
    await store.close()


async def replicated(master):
    client = Redis(port=master.port)
    try:
        with suppress(RedisError):
            assert await client.execute_command("WAIT", 1, 5000) == 1
    finally:
        await client.aclose()
