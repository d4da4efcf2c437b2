"""What readers see while images are written at random, in quiet times and while things break.

Nobody gets a version older than one acknowledged 50 ms (SQLite: 100 ms) before, unless the answer says so.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial

import pytest
from redis.crc import key_slot
from tests.faults.history import Rules
from tests.faults.recorder import ApiWriter, HttpWriter, Recorder, foreign_cluster_writers, foreign_writers, now

STALE_BOUND = 60.0
REDIS = Rules(stale_bound=STALE_BOUND)
SQLITE = Rules(grace=0.1, stale_bound=STALE_BOUND)


@pytest.fixture
def start_two(start_lightfast):
    """The ports of two servers over one store."""

    def start(store):
        return [start_lightfast(store=store, log="off", stale_if_error=f"{STALE_BOUND}").port for _ in range(2)]

    return start


@pytest.fixture
def record(start_two, small_picture):
    """``record("redis://…", port, seed)``: two servers over the first, foreign writers straight on the other."""

    def make(store, port, seed):
        ports = start_two(store)
        return Recorder(ports, [*map(HttpWriter, ports), *foreign_writers(port)], small_picture, seed)

    return make


def check(recorder, rules, seconds):
    assert recorder.violations(rules) == []
    # Who sees little finds little.
    assert len(recorder.history.reads) > 100 * seconds
    assert len(recorder.history.writes) > 20 * seconds


def check_it_was_felt(recorder):
    """Faults that nobody notices prove nothing."""
    assert any(read.age is not None for read in recorder.history.reads)
    assert any(read.status == 503 for read in recorder.history.reads)


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_quiet(kind, request, record, history_seconds):
    server = request.getfixturevalue(kind)
    recorder = record(server.url, server.port, seed=1)
    await recorder.run(history_seconds)
    check(recorder, REDIS, history_seconds)
    unknown = [write for write in recorder.history.writes if write.acknowledged is None]
    assert len(unknown) <= len(recorder.writers)  # what was under way at the end


async def test_quiet_sqlite(tmp_path, start_two, small_picture, history_seconds):
    store = f"sqlite:///{tmp_path}/images.db"
    ports = start_two(store)
    writers = [*map(HttpWriter, (*ports, ports[0])), await ApiWriter.start(store)]
    recorder = Recorder(ports, writers, small_picture, seed=2)
    await recorder.run(history_seconds)
    check(recorder, SQLITE, history_seconds)


async def test_a_link_that_is_cut_delayed_and_swallowed(breakable, proxy, record, history_seconds):
    recorder, chance = record(proxy.url, breakable.port, seed=3), random.Random(3)

    async def cut():
        async with recorder.fault("cut"):
            proxy.cut()

    async def refuse():
        async with recorder.fault("refuse"):
            proxy.refuse()
            await asyncio.sleep(chance.uniform(0.1, 1.0))
            proxy.heal()

    async def delay():
        async with recorder.fault("delay", silent=True):
            proxy.delay(0.2, 0.2)
            await asyncio.sleep(chance.uniform(0.3, 1.5))
            proxy.heal()

    async def swallow():
        way = chance.choice([{}, {"to_store": False}, {"from_store": False}])
        async with recorder.fault("blackhole", silent=True):
            proxy.blackhole(**way)
            await asyncio.sleep(chance.uniform(0.1, 2.0))
            proxy.heal()

    await recorder.run(
        history_seconds, lambda: one_after_the_other(history_seconds, chance, cut, refuse, delay, swallow)
    )
    check(recorder, REDIS, history_seconds)
    check_it_was_felt(recorder)


async def test_a_paused_store(breakable, record, history_seconds):
    recorder, chance = record(breakable.url, breakable.port, seed=4), random.Random(4)

    async def pause(shortest):
        async with recorder.fault("pause"):
            breakable.pause()
            await asyncio.sleep(chance.uniform(shortest, 2.0))
            breakable.resume()

    # A short pause may go unnoticed. Servers know within a second that the store is away, so a long one is felt.
    long, any_length = partial(pause, 1.5), partial(pause, 0.1)
    await recorder.run(history_seconds, lambda: one_after_the_other(history_seconds, chance, long, any_length))
    check(recorder, REDIS, history_seconds)
    check_it_was_felt(recorder)


async def test_a_store_that_is_killed_and_comes_back_empty(breakable, record, history_seconds):
    recorder, chance = record(breakable.url, breakable.port, seed=5), random.Random(5)

    async def kill():
        async with recorder.fault("kill, empty"):
            begun = now()
            breakable.kill()
            await asyncio.sleep(chance.uniform(0, 1.0))
            await asyncio.to_thread(breakable.start)
            recorder.emptied(begun)

    await recorder.run(history_seconds, lambda: one_after_the_other(history_seconds, chance, kill))
    check(recorder, REDIS, history_seconds)
    check_it_was_felt(recorder)


async def test_a_store_that_is_killed_and_comes_back_with_its_data(start_breakable, record, history_seconds):
    server = start_breakable("--appendonly", "yes", "--appendfsync", "always")
    recorder, chance = record(server.url, server.port, seed=6), random.Random(6)

    async def kill():
        async with recorder.fault("kill"):
            server.kill()
            await asyncio.sleep(chance.uniform(0, 1.0))
            await asyncio.to_thread(server.start)

    await recorder.run(history_seconds, lambda: one_after_the_other(history_seconds, chance, kill))
    check(recorder, REDIS, history_seconds)
    check_it_was_felt(recorder)


async def test_a_cluster_while_slots_move(start_cluster, start_two, small_picture, history_seconds):
    cluster = start_cluster()
    ports, chance = start_two(cluster.url), random.Random(7)
    writers = [*map(HttpWriter, ports), *foreign_cluster_writers(cluster.servers[0].port)]
    recorder = Recorder(ports, writers, small_picture, seed=7)

    async def move():
        slot = key_slot(f"image:{chance.choice(recorder.ids)}".encode())
        source = (await asyncio.to_thread(cluster.owners))[slot]
        target = chance.choice([server for server in cluster.servers if server is not source])
        async with recorder.fault("move"):
            await asyncio.to_thread(move_slot, cluster, slot, source, target)

    await recorder.run(history_seconds, lambda: one_after_the_other(history_seconds, chance, move, move))
    check(recorder, REDIS, history_seconds)


def move_slot(cluster, slot, source, target):
    """As the tools do it, key by key."""
    target.command("CLUSTER", "SETSLOT", f"{slot}", "IMPORTING", cluster.id(source))
    source.command("CLUSTER", "SETSLOT", f"{slot}", "MIGRATING", cluster.id(target))
    while keys := source.command("CLUSTER", "GETKEYSINSLOT", f"{slot}", "100").split(b"\r\n")[2::2]:
        for key in keys:
            source.command("MIGRATE", "127.0.0.1", f"{target.port}", key, "0", "5000")
    for server in (target, source, *cluster.servers):
        server.command("CLUSTER", "SETSLOT", f"{slot}", "NODE", cluster.id(target))


async def test_a_master_that_is_replaced(start_sentinels, start_two, small_picture, history_seconds):
    sentinels = start_sentinels("redis")
    for server in sentinels.servers:
        # What the replica may not have, nobody is told that it is stored: else a failover loses it.
        server.command("CONFIG", "SET", "min-replicas-to-write", "1")
        server.command("CONFIG", "SET", "min-replicas-max-lag", "1")
    ports = start_two(sentinels.url)
    recorder, chance = Recorder(ports, [*map(HttpWriter, (*ports, *ports))], small_picture, seed=8), random.Random(8)

    async def fail_over():
        old = sentinels.master
        async with recorder.fault("failover"):
            begun = now()
            sentinels.sentinels[0].command("SENTINEL", "FAILOVER", "mymaster")
            while sentinels.master is old:  # noqa: ASYNC110 - another process decides it
                await asyncio.sleep(0.02)
            while not follows(old):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            recorder.doubtful(begun)

    await recorder.run(history_seconds, lambda: one_after_the_other(history_seconds, chance, fail_over))
    check(recorder, REDIS, history_seconds)


def follows(server):
    try:
        return b"master_link_status:up" in server.command("INFO", "replication")
    except (ConnectionResetError, BrokenPipeError):  # whoever is connected to a master is cut off when it is demoted
        return False


async def one_after_the_other(seconds, chance, *faults):
    """Each fault in turn, with some quiet before and after each, for ``seconds``."""
    end, turn = now() + seconds, 0
    while turn < len(faults) or now() < end:
        await asyncio.sleep(chance.uniform(0.3, 1.2))
        await faults[turn % len(faults)]()
        turn += 1
    await asyncio.sleep(chance.uniform(1.0, 2.0))
