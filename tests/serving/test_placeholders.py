"""Placeholders: made from nothing but their URL, the same bytes every time, and kept for ever by whoever has them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from tests.serving.conftest import server_here
from tests.serving.renders import decoded, hot, number, put, renders, shape
from tests.support import wait_until

from lightfast import Lightfast, placeholder

Paint = Callable[..., bytes]
Start = Callable[..., Any]

FOR_EVER = "public, max-age=31536000, immutable"


server = server_here()


@pytest.mark.parametrize("ending", ["webp", "avif", "png", "jpg", "jpeg"])
def test_the_extension_says_the_format(client: httpx2.Client, ending: str) -> None:
    answer = client.get(f"/placeholders/60x40.{ending}")
    assert shape(answer) == (ending.replace("jpg", "jpeg"), 60, 40)
    assert answer.headers["cache-control"] == FOR_EVER
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "last-modified" not in answer.headers
    assert answer.headers["content-disposition"].startswith('inline; filename="placeholder-60x40.')
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_same_url_is_the_same_bytes_everywhere(
    client: httpx2.Client, start_lightfast: Start, picture: Paint
) -> None:
    urls = [f"/placeholders/64x48.{ending}?text=Sold%20out&seed=a" for ending in ("webp", "png", "jpg", "avif")]
    first = [client.get(url) for url in urls]
    with start_lightfast(log="off").client() as later:
        for url, answer in zip(urls, first, strict=True):
            again = later.get(url)
            assert (again.content, again.headers["etag"]) == (answer.content, answer.headers["etag"])
    assert placeholder(64, 48, text="Sold out", seed="a").content == first[0].content


async def test_in_python() -> None:
    async with Lightfast("memory://") as images:
        made = placeholder(30, 20, seed="x", format="png")
        for _ in range(2):
            assert await images.placeholder(30, 20, seed="x", format="png") == made.content


def test_every_parameter_counts(client: httpx2.Client) -> None:
    queries = ("", "text=A", "text=B", "bg=336699", "bg=369&text=A", "bg=navy&text=A&fg=fff", "seed=1", "seed=2")
    answers = [client.get(f"/placeholders/64x48.png?{query}") for query in queries]
    assert (
        len({answer.content for answer in answers})
        == len({answer.headers["etag"] for answer in answers})
        == len(queries)
    )
    same = [("bg=369", "bg=336699"), ("seed=1&text=A", "text=A&seed=1"), ("bg=&text=", ""), ("utm=1&seed=2", "seed=2")]
    for one, other in same:
        tags = {client.get(f"/placeholders/64x48.png?{query}").headers["etag"] for query in (one, other)}
        assert len(tags) == 1
    plain = decoded(client.get("/placeholders/64x48.png?bg=336699"))
    red, green, blue = (band.avg() for band in plain.bandsplit()[:3])
    assert red < green < blue
    assert decoded(client.get("/placeholders/64x48.png?bg=80336699")).hasalpha()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0x10.webp", "1 to 4096"),
        ("10x0.webp", "1 to 4096"),
        ("5000x10.webp", "1 to 4096"),
        ("4096x4096.webp", "16000000"),
        ("10x10.bmp", "webp"),
        ("10x10.gif", "webp"),
        ("10x10", "1200x630.webp"),
        ("x10.webp", "1200x630.webp"),
        ("-1x10.webp", "1200x630.webp"),
        ("10X10.webp", "1200x630.webp"),
        ("10x10.webp?bg=zebra", "bg is 'zebra'"),
        ("10x10.webp?fg=12345", "fg is '12345'"),
        ("10x10.webp?text=" + "a" * 101, "100"),
        ("10x10.webp?seed=" + "a" * 65, "64"),
        ("10x10.webp?text=" + "a" * 3000, "2048"),
    ],
)
def test_what_is_out_of_bounds_is_named(client: httpx2.Client, name: str, said: str) -> None:
    answer = client.get(f"/placeholders/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert said in answer.json()["detail"]
    assert answer.headers["cache-control"] == "no-store"


def test_http_as_for_any_image(client: httpx2.Client) -> None:
    url = "/placeholders/50x50.webp?seed=http"
    get, head = client.get(url), client.head(url)
    changing = {"date", "server-timing", "cache-status"}
    heads = [{name: text for name, text in it.headers.items() if name not in changing} for it in (get, head)]
    assert heads[0] == heads[1]
    assert head.content == b""
    unchanged = client.get(url, headers={"If-None-Match": get.headers["etag"]})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["cache-control"]) == (304, b"", FOR_EVER)
    assert client.get(url, headers={"If-Match": '"other"'}).status_code == 412
    part = client.get(url, headers={"Range": "bytes=4-9"})
    assert (part.status_code, part.content) == (206, get.content[4:10])
    assert client.get(url, headers={"Range": "bytes=99999-"}).status_code == 416
    assert client.request("OPTIONS", url).headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.put(url, content=b"x").status_code == 405
    assert get.headers["access-control-allow-origin"] == "*"


def test_the_hot_path_has_them(client: httpx2.Client) -> None:
    url = "/placeholders/50x40.png?text=hot"
    full = client.get(url, headers={"Range": "items=0"})
    fast = hot(client, url)
    changing = ("date", "server-timing", "cache-status")
    heads = [{name: text for name, text in it.headers.items() if name not in changing} for it in (full, fast)]
    assert heads[0] == heads[1]
    assert fast.content == full.content
    assert fast.headers["cache-status"] == "lightfast; hit"
    unchanged = client.get(url, headers={"If-None-Match": fast.headers["etag"]})
    assert (unchanged.status_code, unchanged.headers["server-timing"]) == (304, "hot")


def test_whatever_becomes_of_the_store_they_stay(
    start_here: Start, start_server: Callable[[str], Any], picture: Paint
) -> None:
    valkey = start_server("valkey")
    with start_here(store=valkey.url).client() as client:
        url = "/placeholders/50x40.png"
        put(client, "placeholder-50x40", picture())
        put(client, "a", picture())
        assert client.get("/images/placeholder-50x40").status_code == 200
        content = hot(client, url).content
        valkey.command("FLUSHALL")  # memory is emptied then, and they are made again
        wait_until(lambda: client.get("/images/placeholder-50x40").status_code == 404)
        assert hot(client, url).content == content
        valkey.stop()
        for _ in range(3):
            answer = client.get(url)
            assert (answer.status_code, answer.content, answer.headers["server-timing"]) == (200, content, "hot")
        assert client.get("/placeholders/51x41.png").status_code == 200


def test_they_are_made_once_and_count_as_memory(start_here: Start) -> None:
    server = start_here(memory="64KiB")
    with server.client() as client:

        def ask(_: int) -> httpx2.Response:
            with server.client() as another:
                return another.get("/placeholders/300x200.webp?seed=crowd")

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(ask, range(8)))
        assert len({answer.content for answer in answers}) == 1
        stories = [answer.headers["cache-status"] for answer in answers]
        # Everyone else found it in memory, or waited for the one.
        assert stories.count("lightfast; fwd=uri-miss; stored; detail=rendered") == 1
        assert number(client, "lightfast_memory_entries") == 1
        assert renders(client) == 0  # which counts variants
        for seed in range(40):
            assert client.get(f"/placeholders/40x30.png?seed={seed}").status_code == 200
            assert number(client, "lightfast_memory_bytes") <= 64 * 1024
        assert number(client, "lightfast_memory_evictions_total") > 0


def test_a_few_wait_their_turn_and_others_are_refused(start_here: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightfast.cache.placeholders.MAX_WAITING", 2)
    server = start_here(render_threads=1)
    with server.client() as client:

        def ask(seed: int) -> int:
            with server.client() as another:
                return another.get(f"/placeholders/1500x1500.webp?seed={seed}").status_code

        with ThreadPoolExecutor(6) as threads:
            codes = list(threads.map(ask, range(6)))
        assert set(codes) == {200, 503}
        assert client.get("/placeholders/20x20.webp").status_code == 200
