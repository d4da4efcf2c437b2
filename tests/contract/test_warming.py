"""What others have just stored is in memory before it is asked for; what we store is not loaded for nothing."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
import pyvips
import redis

from lightfast import Lightfast


def paint(shade: int) -> bytes:
    return bytes((pyvips.Image.black(8, 8) + shade).cast("uchar").write_to_buffer(".png"))


@pytest.fixture
async def images(valkey_url):
    async with Lightfast(valkey_url) as images:
        yield images


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what it looks at is no event
            await asyncio.sleep(0.001)


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
