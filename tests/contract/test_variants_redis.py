"""What the Redis store does for variants beyond the contract: its keys, their expiry, and what comes in between."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
import redis
from redis.crc import key_slot
from tests.support import etag_of

from lightfast.errors import StoreFull, StoreUnavailable
from lightfast.model import Rendition, meta_of
from lightfast.stores.redis import RedisStore
from lightfast.stores.redis_keys import variant_keys
from lightfast.stores.redis_variants import BRIEF, RedisVariants

MADE = Rendition(b"\x00made\n" * 100, "0123", "image/webp", 512, 341)
ONE = etag_of(b"one")


@pytest.fixture(params=["valkey", "redis"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(server):
    with redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture
async def open_store(clock, request):
    opened = []

    async def make(url=None, **options):
        store = RedisStore(url or request.getfixturevalue("server").url, **{"clock": clock} | options)
        opened.append(store)
        await store.open()
        return store

    yield make
    for store in opened:
        await store.close()


async def test_where_it_is_and_for_how_long(client, open_store, draft):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 600)).meta
    await store.put_variant(meta, "fm=webp&w=512", MADE)
    await store.put_variant(meta, "preview", MADE)
    assert sorted(client.keys("variant*")) == [
        f"variant:{ONE}:fm=webp&w=512".encode(),
        f"variant:{ONE}:preview".encode(),
        f"variants:{ONE}".encode(),
    ]
    left = client.pttl("image:a")
    assert all(599_000 < client.pttl(key) <= left + 100 for key in client.keys("variant*"))
    head, _, content = client.get(f"variant:{ONE}:preview").partition(b"\n")
    assert content == MADE.content
    assert json.loads(head) == {
        "etag": "0123",
        "media_type": "image/webp",
        "size": len(content),
        "width": 512,
        "height": 341,
    }


async def test_no_expiry_for_what_stays_for_ever(client, open_store, draft):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 0)).meta
    await store.put_variant(meta, "w=1", MADE)
    assert [client.pttl(key) for key in client.keys("variant*")] == [-1, -1]


@pytest.mark.parametrize(("first", "then", "low", "high"), [(600, 9000, 8990, 9000), (600, 0, -1, -1), (0, 50, 40, 50)])
async def test_the_same_bytes_again_change_the_expiry(client, open_store, draft, first, then, low, high):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), first)).meta
    await store.put_variant(meta, "w=1", MADE)
    await store.put(draft("a", b"one"), then)
    assert all(low <= client.ttl(key) <= high for key in client.keys("variant*"))
    assert await store.get_variant(meta.etag, "w=1") == MADE


async def test_the_index_outlives_every_variant_in_it(client, open_store, draft):
    store = await open_store()
    long = (await store.put(draft("a", b"one"), 9000)).meta
    short = (await store.put(draft("b", b"one"), 100)).meta
    await store.put_variant(short, "w=1", MADE)
    assert client.ttl(f"variants:{ONE}") <= 100
    await store.put_variant(long, "w=2", MADE)
    await store.put_variant(short, "w=3", MADE)
    assert client.ttl(f"variants:{ONE}") > 8900
    assert client.ttl(f"variant:{ONE}:w=3") <= 100


async def test_the_life_that_another_app_has_given_its_image_counts(client, open_store, draft):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    client.expire("image:a", 5000)
    await store.put_variant(meta, "w=1", MADE)
    assert client.ttl(f"variant:{ONE}:w=1") > 4900


async def test_a_foreign_record_has_variants_until_somebody_notices(client, open_store):
    store = await open_store()
    record = json.dumps({"base64_data": base64.b64encode(b"one").decode(), "mime_type": "image/png"})
    client.set("image:a", record, ex=100)
    meta = meta_of(await store.head("a"))
    await store.put_variant(meta, "w=1", MADE)
    assert await store.get_variant(ONE, "w=1") == MADE
    assert 90 < client.ttl(f"variant:{ONE}:w=1") <= 100
    client.set("image:a", record.replace("b25l", "dHdv"))
    await store.put_variant(meta, "w=2", MADE)
    assert await store.get_variant(ONE, "w=2") is None
    assert await store.get_variant(ONE, "w=1") == MADE
    await store.drop_variants(ONE)
    assert client.keys("variant*") == []


@pytest.mark.parametrize("change", ["delete", "replace", "foreign", "broken", "kill"])
async def test_what_happens_to_the_source_in_between_counts(server, client, open_store, draft, clock, change):
    """The moments before and after the source is looked at, with the change exactly there."""
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 0)).meta

    async def head(id):
        match change:
            case "delete":
                await store.delete(id)
            case "replace":
                await store.put(draft(id, b"two"), 0)
            case "foreign":
                client.delete("image:a")
            case "broken":
                client.set("image:a", "{")
            case "kill":
                raise StoreUnavailable
        return await store.head(id)

    variants = RedisVariants(store._servers, variant_keys("image:", tagged=False), head, patience=1, clock=clock)
    if change == "kill":
        with pytest.raises(StoreUnavailable):
            await variants.put_variant(meta, "w=1", MADE)
        assert len(client.keys("variant*")) == 2
        assert all(0 < client.ttl(key) <= BRIEF for key in client.keys("variant*"))
    else:
        await variants.put_variant(meta, "w=1", MADE)
        assert client.keys("variant*") == []


async def test_what_happens_right_after_the_look_counts_too(client, open_store, draft, clock):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 0)).meta

    async def head(id):
        seen = await store.head(id)
        await store.delete(id)
        return seen

    variants = RedisVariants(store._servers, variant_keys("image:", tagged=False), head, patience=1, clock=clock)
    await variants.put_variant(meta, "w=1", MADE)
    assert client.keys("variant*") == []


async def test_what_has_lost_its_index_is_left_to_go(client, open_store, draft, clock):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 0)).meta

    async def head(id):
        client.delete(f"variants:{ONE}")  # as a server does that evicts keys
        return await store.head(id)

    variants = RedisVariants(store._servers, variant_keys("image:", tagged=False), head, patience=1, clock=clock)
    await variants.put_variant(meta, "w=1", MADE)
    assert 0 < client.ttl(f"variant:{ONE}:w=1") <= BRIEF


BROKEN = {
    "a list": lambda client, key: (client.delete(key), client.rpush(key, "x")),
    "empty": lambda client, key: client.set(key, b""),
    "no line": lambda client, key: client.set(key, b"x" * 5000),
    "no JSON": lambda client, key: client.set(key, b"{\n"),
    "no object": lambda client, key: client.set(key, b"[]\n"),
    "cut off": lambda client, key: client.set(key, client.get(key)[:-1]),
    "no type": lambda client, key: client.set(key, b'{"etag":"0","size":0,"width":1,"height":1}\n'),
    "bad bytes": lambda client, key: client.set(key, b"\xff\n"),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_record_is_made_again(client, open_store, draft, damage, caplog):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    await store.put_variant(meta, "w=1", MADE)
    damage(client, f"variant:{ONE}:w=1")
    assert await store.get_variant(ONE, "w=1") is None
    assert ONE in caplog.text
    await store.put_variant(meta, "w=1", MADE)
    assert await store.get_variant(ONE, "w=1") == MADE


async def test_a_full_server_takes_none_but_lets_go(client, open_store, draft):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    for spec in ("w=1", "w=2"):
        await store.put_variant(meta, spec, MADE)
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreFull):
            await store.put_variant(meta, "w=3", MADE)
        assert await store.get_variant(ONE, "w=1") == MADE
        assert await store.get_variant(ONE, "w=3") is None
        assert await store.delete("a")
        assert client.keys("variant*") == []
    finally:
        client.config_set("maxmemory", "0")


async def test_a_write_succeeds_where_its_variants_cant_be_dropped(client, open_store, draft, caplog):
    store = await open_store()
    await store.put(draft("a", b"one"), 60)
    client.set(f"variants:{ONE}", "of another application")
    assert (await store.put(draft("a", b"one"), 60)).meta.etag == ONE
    assert (await store.put(draft("a", b"two"), 60)).meta.replaced
    assert "left to expire" in caplog.text
    assert (await store.get("a")).content == b"two"


async def test_a_lost_connection_is_replaced_without_anybody_noticing(client, open_store, draft):
    store = await open_store(max_connections=2)
    meta = (await store.put(draft("a", b"one"), 60)).meta
    for _ in range(5):
        client.client_kill_filter(_type="normal", skipme=True)
        await store.put_variant(meta, "w=1", MADE)
        client.client_kill_filter(_type="normal", skipme=True)
        assert await store.get_variant(ONE, "w=1") == MADE
        client.client_kill_filter(_type="normal", skipme=True)
        await store.drop_variants(ONE)


async def test_a_stopped_server_is_unavailable(start_server, draft):
    server = start_server("valkey")
    store = RedisStore(server.url)
    await store.open()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    server.stop()
    for call in (store.get_variant(ONE, "w=1"), store.put_variant(meta, "w=1", MADE), store.drop_variants(ONE)):
        with pytest.raises(StoreUnavailable) as error:
            await call
        assert str(server.port) not in str(error.value)
    await store.close()


async def test_in_a_cluster_a_version_has_one_slot_and_versions_have_many(cluster, open_store, draft):
    store = await open_store(cluster.url)
    slots = set()
    for number in range(12):
        meta = (await store.put(draft(f"i{number}", b"%d" % number), 60)).meta
        for spec in ("w={1}", "preview"):
            await store.put_variant(meta, spec, MADE)
            assert await store.get_variant(meta.etag, spec) == MADE
        names = [f"variant:{{{meta.etag}}}:w={{1}}", f"variant:{{{meta.etag}}}:preview", f"variants:{{{meta.etag}}}"]
        assert {key_slot(name.encode()) for name in names} == {key_slot(meta.etag.encode())}
        slots.add(key_slot(meta.etag.encode()))
        for name in names:
            assert cluster.command("EXISTS", name) == b":1\r\n"
    assert len(slots) == 12


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
async def test_while_their_slot_moves_none_is_wrong_and_all_can_go(start_cluster, draft, clock, moved):
    cluster = start_cluster()
    slot = key_slot(ONE.encode())
    source = cluster.owners()[slot]
    target = next(server for server in cluster.servers if server is not source)
    store = RedisStore(cluster.url, clock=clock)
    await store.open()
    meta = (await store.put(draft("a", b"one"), 0)).meta
    for spec in ("w=1", "w=2"):
        await store.put_variant(meta, spec, MADE)
    target.command("CLUSTER", "SETSLOT", str(slot), "IMPORTING", cluster.id(source))
    source.command("CLUSTER", "SETSLOT", str(slot), "MIGRATING", cluster.id(target))
    with redis.Redis(port=source.port) as old:
        names = sorted(old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10))
        assert len(names) == 3
        for name in names[:moved]:
            old.execute_command("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
    assert await store.get_variant(ONE, "w=1") == MADE
    try:
        await store.put_variant(meta, "w=3", MADE)
    except StoreUnavailable as error:
        assert "moving" in str(error)  # noqa: PT017 - depends on which keys have moved
    assert await store.get_variant(ONE, "w=2") == MADE
    assert await store.get_variant(ONE, "w=3") in (None, MADE)
    assert await store.delete("a")
    for spec in ("w=1", "w=2", "w=3"):
        assert await store.get_variant(ONE, spec) is None
    for server in (source, target):
        with redis.Redis(port=server.port) as node:
            assert node.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) == 0
    await store.close()


async def test_many_keys_are_dropped_and_renewed_at_once(client, open_store, draft):
    store = await open_store()
    meta = (await store.put(draft("a", b"one"), 60)).meta
    await asyncio.gather(*(store.put_variant(meta, f"w={number}", MADE) for number in range(100)))
    await store.put(draft("a", b"one"), 600)
    assert all(client.ttl(key) > 590 for key in client.keys("variant*"))
    await store.put(draft("a", b"two"), 60)
    assert client.keys("variant*") == []
