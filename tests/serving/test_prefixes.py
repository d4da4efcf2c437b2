"""Signed URLs lead to their variants wherever the router is: under a prefix, below a path that a proxy takes off."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from tests.serving.test_embedded import running

from lightfast import Lightfast
from lightfast.signing import sign

Paint = Callable[..., bytes]

KEY = "a-key-of-16-or-more"


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize(
    ("root", "server_root", "public_url", "taken_off"),
    [
        ("/shop", "", None, "/shop"),
        ("/shop", "", None, ""),
        ("", "/shop", None, ""),
        ("", "", "https://img.example.com/shop/pics", "https://img.example.com/shop"),
        ("", "/shop", "https://img.example.com/shop/pics", "https://img.example.com/shop"),
    ],
)
async def test_what_is_handed_out_is_good_for_what_arrives(
    picture: Paint, root: str, server_root: str, public_url: str | None, taken_off: str
) -> None:
    images = Lightfast("memory://", signing_keys=KEY, public_url=public_url)
    app = FastAPI(lifespan=images.lifespan, root_path=root)
    app.include_router(images.router, prefix="/pics")
    async with running(app, server_root) as client:
        await images.put(picture(), id="a")
        url = (await images.url("a", w=77)).removeprefix(taken_off)
        for _ in range(3):
            assert (await client.get(url)).status_code == 200
        assert (await client.get(url.replace("w=77", "w=78"))).status_code == 403
        await images.put(picture(), id="b")
        assert (await client.get(url.replace("/a?", "/b?"))).status_code == 403


async def test_what_has_expired_says_so(picture: Paint) -> None:
    images = Lightfast("memory://", signing_keys=KEY, public_url="https://img.example.com/media")
    app = FastAPI(lifespan=images.lifespan)
    app.include_router(images.router)
    async with running(app) as client:
        await images.put(picture(), id="a")
        url = sign("/media/images/a?w=77", KEY, int(time.time()) - 1).removeprefix("/media")
        assert "has expired" in (await client.get(url)).json()["detail"]
