"""A process that the machine lets stand still finds requests and news of changes waiting side by side."""

from __future__ import annotations

import base64
import json
import time

import pyvips
import redis

from lightfast import Lightfast

STALL = 0.2


def paint(shade: int) -> bytes:
    return bytes((pyvips.Image.black(8, 8) + shade).cast("uchar").write_to_buffer(".png"))


async def test_news_that_waited_comes_before_requests_that_waited(valkey_url):
    old, new = paint(10), paint(200)
    async with Lightfast(valkey_url, warm=False) as images:
        await images.put(old, id="a")
        assert (await images.get("a")).content == old
        tier = images._open.tier
        heard = tier.link.changes
        with redis.Redis.from_url(valkey_url) as foreign:
            foreign.set("image:a", json.dumps({"base64_data": base64.b64encode(new).decode()}))
        time.sleep(STALL)  # noqa: ASYNC251 - the event loop stands still, as if the machine had no time for it
        assert tier.link.changes == heard
        assert (await images.get("a")).content == new


async def test_a_loop_that_turns_is_trusted_without_waiting(valkey_url):
    async with Lightfast(valkey_url, warm=False) as images:
        await images.put(paint(10), id="a")
        await images.get("a")
        tier = images._open.tier
        await tier.link.caught_up()
        await tier.link.caught_up()
        ticks = tier.link._ticks
        for _ in range(1000):
            await tier.find("a")
        assert tier.link._ticks - ticks < 100
