"""Lightfast used from Python: async, from threads, from scripts, on one event loop after another."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support import etag_of

from lightfast import (
    InvalidImage,
    InvalidRequest,
    Lightfast,
    LightfastError,
    Missing,
    Precondition,
    PreconditionFailed,
    TooLarge,
    UnsupportedMediaType,
)

pytestmark = pytest.mark.own_core

Paint = Callable[..., bytes]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/images.db"


# What an app calls


async def test_a_life_in_python(store: str, picture: Paint) -> None:
    data, other = picture(40, 30, seed=1), picture(50, 60, seed=2, suffix=".webp")
    async with Lightfast(store) as images:
        info = await images.put(data, id="a")
        assert (info.id, info.etag, info.media_type, info.bytes) == ("a", etag_of(data), "image/png", len(data))
        assert (info.width, info.height, info.replaced) == (40, 30, False)
        assert info == replace(await images.info("a"), preview=info.preview)  # which may not have been ready
        assert info.url == await images.url("a") == f"/images/a?v={info.etag}"
        image = await images.get("a")
        assert image is not None
        assert (image.content, image.meta.etag) == (data, info.etag)

        replaced = await images.put(other, id="a")
        assert (replaced.media_type, replaced.replaced) == ("image/webp", True)
        assert (replaced.width, replaced.height) == (50, 60)
        assert (await images.get("a")).content == other  # type: ignore[union-attr]

        assert await images.delete("a") is True
        assert await images.delete("a") is False
        assert await images.get("a") is None
        assert await images.info("a") is None
        with pytest.raises(Missing):
            await images.url("a")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_any_kind_of_bytes(kind: Callable[[bytes], Any], picture: Paint) -> None:
    async with Lightfast("memory://") as images:
        data = kind(picture())
        info = await images.put(data, id="a")
        if kind is bytearray:
            data[:] = bytes(len(data))  # what the caller does with it afterwards is its own affair
        assert (await images.get("a")).content == picture()  # type: ignore[union-attr]
        assert info.etag == etag_of(picture())


@pytest.mark.parametrize(("ttl", "seconds"), [(90, 90), (0.5, 0.5), ("10m", 600), ("90", 90), (None, 7200)])
async def test_a_time_to_live_in_every_form(ttl: float | str | None, seconds: float, picture: Paint) -> None:
    async with Lightfast("memory://") as images:
        before = time.time()
        info = await images.put(picture(), ttl=ttl)
        assert info.expires is not None
        assert before + seconds <= info.expires.timestamp() + 1e-3
        assert info.expires.timestamp() <= time.time() + seconds + 1e-3


@pytest.mark.parametrize("ttl", [0, 0.0, "0"])
async def test_zero_is_for_ever(ttl: float | str, picture: Paint) -> None:
    async with Lightfast("memory://") as images:
        assert (await images.put(picture(), ttl=ttl)).expires is None


async def test_without_an_id_an_unguessable_one_is_made(picture: Paint) -> None:
    async with Lightfast("memory://") as images:
        made = {(await images.put(picture())).id for _ in range(50)}
        assert len(made) == 50
        assert all(len(id) == 32 for id in made)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"id": ".hidden"}, InvalidRequest),
        ({"id": "a/b"}, InvalidRequest),
        ({"id": ""}, InvalidRequest),
        ({"id": "a" * 129}, InvalidRequest),
        ({"ttl": -1}, InvalidRequest),
        ({"ttl": float("nan")}, InvalidRequest),
        ({"ttl": float("inf")}, InvalidRequest),
        ({"ttl": "soon"}, InvalidRequest),
        ({"media_type": "image/jpeg"}, UnsupportedMediaType),
        ({"precondition": Precondition(match=frozenset({"other"}))}, PreconditionFailed),
        ({"data": b""}, InvalidImage),
        ({"data": b"GIF89a"}, InvalidImage),
        ({"data": b"no picture at all"}, UnsupportedMediaType),
        ({"data": bytes(2048)}, TooLarge),
        ({"data": "text"}, TypeError),
    ],
)
async def test_what_put_refuses_changes_nothing(
    arguments: dict[str, Any], error: type[Exception], picture: Paint
) -> None:
    async with Lightfast("memory://", max_upload=2047) as images:
        given = {"data": picture(8, 8), "id": "a"} | arguments
        with pytest.raises(error):
            await images.put(given.pop("data"), **given)
        assert (await images.list()).images == ()


async def test_ids_are_checked_everywhere() -> None:
    async with Lightfast("memory://") as images:
        for use in (images.get, images.info, images.url, images.delete):
            with pytest.raises(InvalidRequest):
                await use("../a")


async def test_preconditions(picture: Paint) -> None:
    absent = Precondition(none_match=frozenset({"*"}))
    async with Lightfast("memory://") as images:
        first = await images.put(picture(seed=1), id="a", precondition=absent)
        with pytest.raises(PreconditionFailed) as caught:
            await images.put(picture(seed=2), id="a", precondition=absent)
        assert caught.value.current == first.etag
        current = Precondition(match=frozenset({first.etag}))
        second = await images.put(picture(seed=2), id="a", precondition=current)
        with pytest.raises(PreconditionFailed):
            await images.delete("a", precondition=current)
        assert await images.delete("a", precondition=Precondition(match=frozenset({second.etag})))


async def test_a_listing_page_by_page(store: str, picture: Paint) -> None:
    async with Lightfast(store) as images:
        ids = {(await images.put(picture(8, 8, seed=seed))).id for seed in range(25)}
        seen: list[str] = []
        cursor = None
        while True:
            listing = await images.list(cursor, limit=10)
            assert len(listing.images) <= 10
            seen += [info.id for info in listing.images]
            cursor = listing.cursor
            if cursor is None:
                break
        assert sorted(seen) == sorted(ids)
        with pytest.raises(InvalidRequest):
            await images.list("no cursor of ours/")


def test_settings_by_name() -> None:
    assert Lightfast("memory://", memory="10MiB", ttl="1h").settings.memory == 10 << 20
    with pytest.raises(LightfastError, match="LIGHTFAST_TTL"):
        Lightfast("memory://", ttl="soon")
    with pytest.raises(LightfastError, match="LIGHTFAST_MEMROY"):
        Lightfast("memory://", memroy="10MiB")


# Opening and closing


async def test_opening_twice_is_refused_and_leaves_the_first_alone(store: str, picture: Paint) -> None:
    images = Lightfast(store)
    await images.open()
    await images.put(picture(), id="a")
    with pytest.raises(LightfastError, match="open already"):
        await images.open()
    assert await images.info("a") is not None
    await images.close()
    await images.close()
    with pytest.raises(LightfastError, match="not open"):
        await images.get("a")


def test_one_event_loop_after_another(store: str, picture: Paint) -> None:
    """As test suites use a module's global instance: each test has a loop of its own."""
    images = Lightfast(store)

    async def use(seed: int) -> int:
        async with images:
            await images.put(picture(seed=seed), id=f"a{seed}")
            return len((await images.list()).images)

    assert [asyncio.run(use(seed)) for seed in range(3)] == [1, 2, 3]


def test_one_event_loop_after_another_on_valkey(valkey_url: str, picture: Paint) -> None:
    images = Lightfast(valkey_url)

    async def use(seed: int) -> list[bytes | None]:
        async with images:
            await images.put(picture(seed=seed), id=f"a{seed}")
            found = [await images.get(f"a{before}") for before in range(seed + 1)]
            return [image and image.content for image in found]

    for seed in range(3):
        assert asyncio.run(use(seed)) == [picture(seed=before) for before in range(seed + 1)]


async def test_a_write_under_way_is_finished_by_close(store: str, picture: Paint) -> None:
    images = Lightfast(store)
    await images.open()
    writing = asyncio.create_task(images.put(picture(), id="a"))
    await asyncio.sleep(0)  # until it is with the store
    await images.close()
    assert (await writing).etag == etag_of(picture())
    async with images:
        assert (await images.get("a")).content == picture()  # type: ignore[union-attr]


# From code that is not async


async def test_sync_from_a_thread_while_the_loop_runs(store: str, picture: Paint) -> None:
    async with Lightfast(store) as images:

        def life() -> None:
            info = images.sync.put(picture(), id="a", ttl="1h", media_type="image/png")
            assert replace(images.sync.info("a"), preview=info.preview) == info  # which may not have been ready
            assert images.sync.url("a") == info.url
            assert images.sync.get("a").content == picture()  # type: ignore[union-attr]
            assert images.sync.delete("a") is True
            assert images.sync.get("a") is None
            with pytest.raises(InvalidRequest):
                images.sync.put(picture(), id=".hidden")
            with pytest.raises(Missing):
                images.sync.url("a")

        await asyncio.to_thread(life)


async def test_sync_on_the_loop_itself_is_refused_at_once(picture: Paint) -> None:
    async with Lightfast("memory://") as images:
        with pytest.raises(LightfastError, match=r"use 'await images\.…' there"):
            images.sync.put(picture(), id="a")
        assert await images.get("a") is None, "nothing was done, and the loop is alive"


def test_many_threads_at_once_share_one_opening(store: str, picture: Paint) -> None:
    images = Lightfast(store)
    together = threading.Barrier(16)

    def use(seed: int) -> bool:
        together.wait(10)
        info = images.sync.put(picture(seed=seed))
        found = images.sync.get(info.id)
        return found is not None and found.content == picture(seed=seed)

    with images.sync, ThreadPoolExecutor(16) as threads:
        assert list(threads.map(use, range(16))) == [True] * 16
        assert sum(thread.name == "lightfast-sync" for thread in threading.enumerate()) == 1


def test_sync_closed_is_open_again_with_the_next_call_and_free_for_an_app(store: str, picture: Paint) -> None:
    images = Lightfast(store)
    for seed in range(2):
        with images.sync as sync:
            sync.put(picture(seed=seed), id=f"a{seed}")
        images.sync.close()

    async def app() -> int:
        async with images:
            return len((await images.list()).images)

    assert asyncio.run(app()) == 2


SCRIPTS = {
    "leaving it open": """
images.sync.put(data, id="a")
print(images.sync.url("a"))
""",
    "with": """
with images.sync as sync:
    sync.put(data, id="a")
    print(sync.url("a"))
""",
    "closing": """
images.sync.put(data, id="a")
print(images.sync.url("a"))
images.sync.close()
""",
    "threads": """
import threading
thread = threading.Thread(target=lambda: images.sync.put(data, id="a"))
thread.start()
thread.join()
print(images.sync.url("a"))
""",
    "asyncio": """
import asyncio
async def main():
    async with images:
        await images.put(data, id="a")
        print(await images.url("a"))
asyncio.run(main())
""",
}


@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
@pytest.mark.parametrize("ending", SCRIPTS)
def test_a_script_without_an_app_ends_by_itself(
    kind: str, ending: str, store: str, picture: Paint, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "picture.png").write_bytes(picture())
    url = store if kind == "sqlite" else request.getfixturevalue("valkey_url")
    script = (
        "import pathlib, lightfast\n"
        f"data = pathlib.Path('picture.png').read_bytes()\nimages = lightfast.Lightfast({url!r})\n" + SCRIPTS[ending]
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert done.stdout.decode().strip() == f"/images/a?v={etag_of(picture())}"


def test_a_script_that_fails_ends_by_itself_too(store: str, picture: Paint, tmp_path: Path) -> None:
    script = f"import lightfast\nimages = lightfast.Lightfast({store!r})\nimages.sync.get('a')\nraise SystemExit(7)"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (7, b"")
