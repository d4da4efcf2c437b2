"""What others store is in memory before it is asked for; what we store is not loaded for nothing."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import pytest
import pyvips
import redis
from tests.support import until

from lightfast import Lightfast
from lightfast.cache import warming


def paint(shade: int) -> bytes:
    return bytes((pyvips.Image.black(8, 8) + shade).cast("uchar").write_to_buffer(".png"))


def record(content: bytes) -> str:
    return json.dumps({"base64_data": base64.b64encode(content).decode()})


@asynccontextmanager
async def walked(url, **settings):
    """The memory level over a store that held what it holds before, once all has been loaded that will be."""
    async with Lightfast(url, **settings) as images:
        tier = images._open.tier
        async with asyncio.timeout(10):
            await tier._warming.walked.wait()
        yield tier


@pytest.fixture
async def images(valkey_url):
    async with Lightfast(valkey_url) as images:
        yield images


async def test_a_record_that_another_app_stores_is_loaded(images, valkey_url):
    with redis.Redis.from_url(valkey_url) as app:
        app.set("image:a", json.dumps({"base64_data": base64.b64encode(paint(1)).decode()}))
        tier = images._open.tier
        await until(lambda: "a" in tier.memory)
        assert (await tier.find("a")).outcome.hit
        app.set("image:a", json.dumps({"base64_data": base64.b64encode(paint(2)).decode()}))
        await until(lambda: "a" in tier.memory and bytes(tier.memory.peek("a").content) == paint(2))


async def test_what_this_process_stores_is_not(images):
    tier = images._open.tier
    heard = tier.link.changes
    await images.put(paint(1), id="mine")
    await until(lambda: tier.link.changes > heard)
    await asyncio.sleep(0.05)  # long enough for a load that must not happen
    assert "mine" not in tier.memory
    assert not (await tier.find("mine")).outcome.hit


async def test_a_storm_costs_a_bounded_number_of_loads(images, valkey_url):
    with redis.Redis.from_url(valkey_url) as app:
        record = json.dumps({"base64_data": base64.b64encode(paint(1)).decode()})
        pipeline = app.pipeline(transaction=False)
        for number in range(2000):
            pipeline.set(f"image:{number}", record)
        pipeline.execute()
        tier = images._open.tier
        await until(lambda: tier.link.changes >= 2000 and tier._warming._task is None)
        assert 0 < tier._warming.loads < 500
        assert "1999" in tier.memory


@pytest.mark.parametrize("kind", ["valkey", "cluster"])
async def test_what_was_there_before_is_loaded(kind, request):
    server = request.getfixturevalue(kind)
    for number in range(20):
        server.command("SET", f"image:{number}", record(paint(number)))
    server.command("HSET", "image:hash", "content", paint(1))
    server.command("SET", "image:broken", "no JSON")
    server.command("SET", "other", record(paint(1)))
    async with walked(server.url) as tier:
        assert set(tier.memory) == {str(number) for number in range(20)}
        assert (await tier.find("7")).outcome.hit


async def test_it_takes_half_of_the_memory_and_nobodys_place(valkey):
    for number in range(40):
        valkey.command("SET", f"image:{number}", record(paint(1) + bytes(20_000)))
    async with walked(valkey.url, memory=400_000) as tier:
        assert 200_000 <= tier.memory.bytes < 230_000
        assert tier.memory.evictions == 0
    async with walked(valkey.url, memory_entries=8) as tier:
        assert len(tier.memory) == 4
    # What is too large to be kept is not read again and again either.
    async with walked(valkey.url, memory=60_000) as tier:
        assert (len(tier.memory), tier._warming.loads) == (0, 2)


async def test_of_many_keys_a_part_is_looked_at(valkey, monkeypatch):
    monkeypatch.setattr(warming, "MAX_STEPS", 5)
    valkey.command("EVAL", "for i = 1, 20000 do redis.call('SET', 'other:' .. i, 'x') end", "0")
    valkey.command("CONFIG", "RESETSTAT")
    async with walked(valkey.url):
        assert b"cmdstat_scan:calls=5," in valkey.command("INFO", "commandstats")
