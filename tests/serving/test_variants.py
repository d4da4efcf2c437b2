"""Variants over real sockets: what each parameter makes, one name for one thing, one render for all who want it."""

from __future__ import annotations

import itertools
import random
import socket
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pyvips
from tests.serving.conftest import server_here
from tests.serving.renders import (
    animation,
    decoded,
    hot,
    number,
    put,
    renders,
    shape,
    transparent,
)
from tests.support import wait_until

Paint = Callable[..., bytes]
Start = Callable[..., Any]


server = server_here(variants="open")
"""A server that makes every variant for everyone, with one picture of 120 × 80."""


seeds = itertools.count(100)


@pytest.fixture
def wide(client: httpx2.Client, fresh_id: str, picture: Paint) -> str:
    """The path of a PNG of 120 × 80 that this test alone uses: images with the same bytes share their variants."""
    put(client, fresh_id, picture(120, 80, seed=next(seeds)))
    return f"/images/{fresh_id}"


# What each parameter makes of 120 × 80


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("w=60", ("png", 60, 40)),
        ("h=20", ("png", 30, 20)),
        ("w=0.5", ("png", 60, 40)),
        ("w=400", ("png", 120, 80)),
        ("w=30&dpr=2", ("png", 60, 40)),
        ("w=30&h=30", ("png", 30, 20)),
        ("w=30&h=30&fit=max", ("png", 30, 20)),
        ("w=30&h=30&fit=crop", ("png", 30, 30)),
        ("w=30&h=30&fit=crop&crop=entropy", ("png", 30, 30)),
        ("w=30&h=30&fit=crop&crop=focalpoint&fp-x=0.1&fp-y=0.9", ("png", 30, 30)),
        ("w=30&h=30&fit=min", ("png", 30, 30)),
        ("w=30&h=30&fit=fill&bg=fff", ("png", 30, 30)),
        ("w=300&h=300&fit=fillmax&bg=red", ("png", 300, 300)),
        ("w=30&h=30&fit=scale", ("png", 30, 30)),
        ("w=60&ar=1:1&fit=crop", ("png", 60, 60)),
        ("w=60&fit=crop&max-h=20", ("png", 60, 20)),
        ("h=20&fit=crop&min-w=50", ("png", 50, 20)),
        ("rect=10,10,50,20", ("png", 50, 20)),
        ("rect=center,middle,0.5,0.5", ("png", 60, 40)),
        ("or=6", ("png", 80, 120)),
        ("rot=90", ("png", 80, 120)),
        ("flip=hv", ("png", 120, 80)),
        ("w=60&h=40&pad=10&fit=fill&bg=000", ("png", 60, 40)),
        ("bri=20&con=-10&sat=50", ("png", 120, 80)),
        ("monochrome=336699", ("png", 120, 80)),
        ("blur=20&sharp=10", ("png", 120, 80)),
        ("fm=webp", ("webp", 120, 80)),
        ("fm=webp&lossless=1", ("webp", 120, 80)),
        ("w=32&fm=avif&q=30", ("avif", 32, 21)),
        ("fm=jpg&q=50", ("jpeg", 120, 80)),
        ("fm=pjpg", ("jpeg", 120, 80)),
        ("fm=png", ("png", 120, 80)),
        ("w=32&fm=gif", ("gif", 32, 21)),
        ("auto=compress&fm=webp", ("webp", 120, 80)),
    ],
)
def test_what_comes_is_what_was_asked_for(
    client: httpx2.Client, wide: str, query: str, expected: tuple[str, int, int]
) -> None:
    answer = client.get(f"{wide}?{query}")
    assert shape(answer) == expected
    assert answer.headers["cache-status"] == "lightfast; fwd=uri-miss; stored; detail=rendered"
    assert "render;dur=" in answer.headers["server-timing"]


def test_a_border_is_trimmed(client: httpx2.Client, fresh_id: str) -> None:
    inner = (pyvips.Image.black(20, 10, bands=3) + 200).cast("uchar").copy(interpretation="srgb")
    put(client, fresh_id, bytes(inner.embed(7, 9, 60, 50).write_to_buffer(".png")))
    assert shape(client.get(f"/images/{fresh_id}?trim=auto")) == ("png", 20, 10)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_what_moves_goes_on_moving(client: httpx2.Client, fresh_id: str, suffix: str) -> None:
    put(client, fresh_id, animation(suffix=suffix))
    for query in ("w=8", "w=8&fm=webp", "w=8&fm=gif"):
        frames = decoded(client.get(f"/images/{fresh_id}?{query}"), frames=-1)
        assert (frames.width, frames.get("page-height"), frames.get("n-pages")) == (8, 8, 3)
    assert shape(client.get(f"/images/{fresh_id}?w=8&fm=jpg")) == ("jpeg", 8, 8)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("w=0", ("w", "0", "1 to 8192")),
        ("w=9000", ("w", "9000", "1 to 8192")),
        ("w=many", ("w", "many", "1 to 8192")),
        ("height=-1", ("h", "-1", "1 to 8192")),
        ("q=101", ("q", "101", "1 to 100")),
        ("dpr=9", ("dpr", "9", "0.1 to 5")),
        ("fit=stretch", ("fit", "stretch", "clip, crop")),
        ("fm=jxl", ("fm", "jxl", "avif, webp")),
        ("bg=zebra", ("bg", "zebra", "hex digits")),
        ("rot=360", ("rot", "360", "0 to 359")),
        ("blur=2001", ("blur", "2001", "0 to 2000")),
        ("rect=1,2,3", ("rect", "1,2,3", "x,y,width,height")),
        ("auto=magic", ("auto", "magic", "format and compress")),
        ("preset=none", ("preset", "none", "set up")),
        ("w=10&h=10&pad=5", ("pad", "5", "10 pixels")),
        ("w=8000&h=8000&fit=crop", ("8000", "pixels", "limit")),
    ],
)
def test_a_bad_value_is_named_with_what_is_right(
    client: httpx2.Client, wide: str, query: str, said: tuple[str, ...]
) -> None:
    answer = client.get(f"{wide}?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert [part for part in said if part not in answer.json()["detail"]] == []


# One name for one thing


def test_all_spellings_of_a_wish_are_one_render(client: httpx2.Client, wide: str) -> None:
    pairs = ["w=48", "h=32", "fit=crop", "q=75", "fm=webp"]
    before = renders(client)
    shuffled = random.Random(1)
    queries = ["&".join(shuffled.sample(pairs, len(pairs))) for _ in range(5)]
    queries += ["width=48&height=32&f=crop&q=75&fm=webp", "w=48.0&h=3%32&fit=CROP&q=75&fm=WEBP"]
    queries += [
        "w=9&w=48&h=32&fit=crop&q=75&fm=webp&utm_source=mail&page=2&dpr=1",
        "w=24&h=16&dpr=2&fit=crop&q=75&fm=webp",
    ]
    answers = [client.get(f"{wide}?{query}") for query in queries]
    assert {shape(answer) for answer in answers} == {("webp", 48, 32)}
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert renders(client) == before + 1


def test_what_changes_nothing_is_the_image_itself(client: httpx2.Client, wide: str) -> None:
    before = renders(client)
    original = client.get(wide)
    for query in ("unknown=1", "w=", "s=abc", "dpr=2", "rot=0&blur=0", "ixlib=py-1", "fit=crop"):
        answer = client.get(f"{wide}?{query}")
        assert (answer.content, answer.headers["etag"]) == (original.content, original.headers["etag"])
    assert renders(client) == before


def test_every_representation_has_an_etag_of_its_own(client: httpx2.Client, wide: str, picture: Paint) -> None:
    queries = ("", "w=32", "w=33", "w=32&fm=webp", "w=32&fm=webp&q=40", "w=32&fm=webp&lossless=1", "w=32&flip=h")
    tags = [client.head(f"{wide}?{query}").headers["etag"] for query in queries]
    assert len(set(tags)) == len(queries)
    assert not any(tag.startswith("W/") for tag in tags)
    put(client, wide.removeprefix("/images/"), picture(120, 80, seed=2))
    later = [client.head(f"{wide}?{query}").headers["etag"] for query in queries]
    assert set(tags).isdisjoint(later)


def test_the_etag_is_known_before_anything_is_made(start_here: Start, picture: Paint, tmp_path: Path) -> None:
    first = start_here()
    with first.client() as client:
        etag = put(client, "a", picture(120, 80))
        tags = {
            url: client.get(url).headers["etag"]
            for url in ("/images/a?w=64&fm=webp", f"/images/a?w=64&fm=jpg&v={etag}", "/images/a/preview")
        }
    first.stop()
    with closing(sqlite3.connect(tmp_path / "images.db")) as connection, connection:
        connection.execute("DELETE FROM variants")
    second = start_here()
    with second.client() as client:
        for url, tag in tags.items():
            answer = client.get(url, headers={"If-None-Match": f'"other", {tag}'})
            assert (answer.status_code, answer.headers["etag"], answer.content) == (304, tag, b"")
            assert client.get(url, headers={"If-Match": '"other"'}).status_code == 412
        assert renders(client) == 0
        for url, tag in tags.items():
            assert client.get(url).headers["etag"] == tag
        assert renders(client) == 2


# HTTP, as for any image


def test_head_has_the_headers_of_get(client: httpx2.Client, wide: str) -> None:
    url = f"{wide}?w=48&fm=webp"
    head, get = client.head(url), client.get(url)
    changing = {"date", "server-timing", "cache-status"}
    heads = [{name: text for name, text in it.headers.items() if name not in changing} for it in (head, get)]
    assert heads[0] == heads[1]
    assert (head.content, head.headers["content-length"]) == (b"", str(len(get.content)))
    assert get.headers["content-disposition"] == f'inline; filename="{wide.rpartition("/")[2]}.webp"'
    assert get.headers["x-content-type-options"] == "nosniff"
    assert get.headers["last-modified"] == client.head(wide).headers["last-modified"]


def test_a_variant_is_saved_under_its_own_name(client: httpx2.Client, fresh_id: str, picture: Paint) -> None:
    put(client, f"{fresh_id}.png", picture())
    for query, kind, name in (("w=32", "inline", "png"), ("fm=avif&w=16&download", "attachment", "avif")):
        answer = client.get(f"/images/{fresh_id}.png?{query}")
        assert answer.headers["content-disposition"] == f'{kind}; filename="{fresh_id}.{name}"'


def test_ranges_of_a_variant(client: httpx2.Client, wide: str) -> None:
    url = f"{wide}?w=48&fm=jpg"
    whole = client.get(url)
    part = client.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    assert part.headers["etag"] == whole.headers["etag"]
    several = client.get(url, headers={"Range": "bytes=0-1,-2"})
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges")
    beyond = client.get(url, headers={"Range": "bytes=999999-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole.content)}")
    for condition, status in ((whole.headers["etag"], 206), (client.head(wide).headers["etag"], 200)):
        answer = client.get(url, headers={"Range": "bytes=10-19", "If-Range": condition})
        assert answer.status_code == status


def test_what_caches_are_told_of_a_variant_is_what_they_are_told_of_its_image(
    client: httpx2.Client, fresh_id: str, picture: Paint
) -> None:
    url = f"/images/{fresh_id}"
    etag = put(client, fresh_id, picture(), "?ttl=10m")
    versioned = client.get(f"{url}?w=32&v={etag}").headers["cache-control"]
    assert versioned == "public, max-age=31536000, immutable"
    assert client.get(f"{url}?w=32&v=other").headers["cache-control"] == "no-cache"
    bare = client.get(f"{url}?w=32").headers["cache-control"]
    assert bare.startswith("public, max-age=")
    assert 590 <= int(bare.split("=")[1].split(",")[0]) < 600
    put(client, fresh_id, picture(seed=2))
    assert client.get(f"{url}?w=32").headers["cache-control"] == "no-cache"
    assert client.get(f"{url}?w=32&v={etag}").headers["cache-control"] == "no-cache"


def test_the_hot_path_has_the_heads_of_the_full_path(client: httpx2.Client, wide: str) -> None:
    for query in ("w=48&fm=webp", "fm=webp&w=48", "w=40"):
        url = f"{wide}?{query}"
        fast = hot(client, url)
        full = client.get(url, headers={"Range": "items=0"})
        names = ("date", "server-timing")
        heads = [{name: text for name, text in it.headers.items() if name not in names} for it in (fast, full)]
        assert heads[0] == heads[1]
        assert fast.content == full.content
        unchanged = client.get(url, headers={"If-None-Match": fast.headers["etag"]})
        assert (unchanged.status_code, unchanged.headers["server-timing"]) == (304, "hot")
        assert client.head(url).headers["server-timing"] == "hot"


def test_a_missing_image_has_no_variants(client: httpx2.Client, fresh_id: str) -> None:
    assert client.get(f"/images/{fresh_id}?w=32").status_code == 404
    assert client.get(f"/images/{fresh_id}/preview").status_code == 404
    assert client.get("/images/.hidden?w=32").status_code == 400


def test_other_methods_are_told_which_there_are(client: httpx2.Client, wide: str) -> None:
    assert client.post(f"{wide}?w=32").status_code == 405
    for path, allowed in ((wide, "GET, HEAD, PUT, DELETE, OPTIONS"), (f"{wide}/preview", "GET, HEAD, OPTIONS")):
        assert client.request("OPTIONS", path).headers["allow"] == allowed
    assert client.put(f"{wide}/preview", content=b"x").status_code == 405


# What it costs


def at_once(server: Any, urls: list[str], **headers: str) -> list[httpx2.Response]:
    """The answers to requests that begin together, each on a connection of its own."""
    barrier = threading.Barrier(len(urls))

    def ask(url: str) -> httpx2.Response:
        with server.client() as client:
            client.get("/healthz")
            barrier.wait()
            return client.get(url, headers=headers)

    with ThreadPoolExecutor(len(urls)) as threads:
        return list(threads.map(ask, urls))


def test_fifty_who_want_the_same_have_one_render(server: Any, client: httpx2.Client, wide: str) -> None:
    before = renders(client)
    answers = at_once(server, [f"{wide}?w=72&fm=webp&blur=7"] * 50)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert renders(client) == before + 1


def slow(number: int, side: int = 800) -> str:
    """Something that takes some tenths of a second to make; another one for each number."""
    return f"/images/a?w={side}&h={side}&fit=crop&blur={400 - number}"


def test_a_full_queue_is_refused_and_what_is_under_way_is_not(start_here: Start, picture: Paint) -> None:
    server = start_here(variants="open", render_threads=1, render_queue=2, previews=False)
    with server.client() as client:
        put(client, "a", picture(120, 80))
        answers = at_once(server, [slow(number) for number in range(8)])
        refused = [answer for answer in answers if answer.status_code != 200]
        assert 1 <= len(refused) <= 5
        for answer in refused:
            assert (answer.status_code, answer.headers["cache-control"]) == (503, "no-store")
            assert int(answer.headers["retry-after"]) >= 1
            assert "wait to be made" in answer.json()["detail"]
        assert shape(client.get("/images/a?w=32")) == ("png", 32, 21)
        assert number(client, "lightfast_render_waiting") == 0


def test_what_takes_too_long_is_given_up(start_here: Start, picture: Paint) -> None:
    server = start_here(variants="open", render_timeout=0.1, previews=False)
    with server.client() as client:
        put(client, "a", picture(120, 80))
        answer = client.get(slow(1, side=3000))
        assert (answer.status_code, answer.headers["cache-control"]) == (503, "no-store")
        assert client.get("/images/a").status_code == 200
        wait_until(lambda: client.get("/images/a?w=8").status_code == 200)
        assert client.get("/healthz").status_code == 200


def test_the_loop_answers_while_pictures_are_made(start_here: Start, picture: Paint) -> None:
    server = start_here(variants="open", previews=False, render_threads=1, render_timeout=60)
    with server.client() as client:
        put(client, "a", picture(120, 80))
        healthy = 0
        with ThreadPoolExecutor(1) as thread:
            answers = thread.submit(at_once, server, [slow(number) for number in range(3)])
            while renders(client) < 3 and not answers.done():
                healthy += client.get("/healthz").status_code == 200
            assert {answer.status_code for answer in answers.result()} == {200}
        assert healthy >= 10


def test_a_leader_that_leaves_takes_nobody_with_it(start_here: Start, picture: Paint) -> None:
    server = start_here(variants="open", previews=False, render_threads=1, render_timeout=60)
    with server.client() as client:
        put(client, "a", picture(120, 80))
        client.get("/images/a")

        def ask(target: str) -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return connection

        with ask(slow(1, side=2000)), ask(slow(2, side=2000)), ThreadPoolExecutor(1) as thread:
            wait_until(lambda: number(client, "lightfast_render_waiting") == 1)  # so the only thread is busy now
            leader = ask("/images/a?w=24&fm=webp")
            wait_until(lambda: number(client, "lightfast_render_waiting") + renders(client) >= 2)
            followers = thread.submit(at_once, server, ["/images/a?w=24&fm=webp"] * 3)
            wait_until(lambda: number(client, "lightfast_render_joins_total") == 3)
            leader.close()
            assert {shape(answer) for answer in followers.result()} == {("webp", 24, 16)}
        # What nobody waits for any more is made all the same: it was begun, and somebody will ask again.
        wait_until(lambda: renders(client) == 3)
        assert client.get("/images/a?w=24&fm=webp").headers["cache-status"] == "lightfast; hit"


def test_memory_counts_variants(start_here: Start, picture: Paint) -> None:
    server = start_here(memory="128KiB", previews=False)
    with server.client() as client:
        put(client, "a", picture(64, 48))
        assert number(client, "lightfast_memory_bytes") == 0
        answer = client.get("/images/a?w=32")
        after_one = number(client, "lightfast_memory_bytes")
        assert after_one > len(answer.content)
        for width in (16, 32, 48, 64):
            for format in ("png", "webp", "jpg"):
                for fit in ("clip", "crop", "min"):
                    answer = client.get(f"/images/a?w={width}&h=48&fit={fit}&fm={format}")
                    assert answer.status_code == 200
                    assert number(client, "lightfast_memory_bytes") <= 128 * 1024
        assert number(client, "lightfast_memory_evictions_total") > 0
        assert number(client, "lightfast_memory_bytes") > after_one


def test_what_is_too_large_for_memory_comes_from_the_store(start_here: Start, picture: Paint) -> None:
    server = start_here(memory="64KiB", previews=False)
    with server.client() as client:
        put(client, "a", picture(120, 80))
        first = client.get("/images/a?w=128&fm=png")
        assert len(first.content) > 16 * 1024
        assert first.headers["cache-status"] == "lightfast; fwd=uri-miss; detail=rendered"
        wait_until(lambda: client.get("/images/a?w=128&fm=png").headers["cache-status"] == "lightfast; fwd=uri-miss")
        assert renders(client) <= 3


def test_transparency_is_kept_where_the_format_has_it(client: httpx2.Client, fresh_id: str) -> None:
    put(client, fresh_id, transparent())
    assert decoded(client.get(f"/images/{fresh_id}?w=20")).hasalpha()
    assert decoded(client.get(f"/images/{fresh_id}?w=20&fm=webp")).hasalpha()
    assert not decoded(client.get(f"/images/{fresh_id}?w=20&fm=jpg")).hasalpha()
