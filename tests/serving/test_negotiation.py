"""Which format a client gets where the URL leaves it open, and that no cache and no hot path mixes clients up."""

from __future__ import annotations

import itertools
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serving.conftest import ServerHere, server_here
from tests.serving.renders import (
    CHROME,
    CURL,
    FIREFOX,
    OLD_CHROME,
    SAFARI,
    animation,
    decoded,
    hot,
    put,
    renders,
    settled,
    shape,
)
from tests.support import PATIENCE, wait_until

Paint = Callable[..., bytes]
Start = Callable[..., Any]

KEY = "a-key-of-at-least-16-characters"


server = server_here(presets="chosen?w=48&auto=format fixed?w=48&fm=png")


@pytest.fixture
def client(server: ServerHere) -> Iterator[httpx2.Client]:
    with server.client() as client:
        client.headers.pop("accept", None)
        yield client


seeds = itertools.count(1000)


@pytest.fixture
def path(client: httpx2.Client, fresh_id: str, picture: Paint) -> str:
    put(client, fresh_id, picture(seed=next(seeds)))
    return f"/images/{fresh_id}"


# What Accept chooses


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (CHROME, "avif"),
        (FIREFOX, "avif"),
        (SAFARI, "avif"),
        (OLD_CHROME, "webp"),
        (CURL, "png"),
        (None, "png"),
        ("", "png"),
        ("image/*", "png"),
        ("image/webp", "webp"),
        ("image/webp;q=0, */*", "png"),
        ("image/avif;q=0, image/webp, */*;q=0.1", "webp"),
        ("image/avif;q=0.1, image/webp;q=0.2, */*;q=0.1", "webp"),
        ("image/webp;q=0.2, image/png;q=0.9", "png"),
        ("image/avif;q=0.2, image/*;q=0.9", "png"),
        ("text/html", "png"),
        ("IMAGE/WEBP", "webp"),
        ("nonsense,,;q=1,image/webp", "webp"),
        ("image/webp;q=2", "png"),
        ("image/jpeg", "png"),
    ],
)
def test_accept_chooses(client: httpx2.Client, path: str, accept: str | None, kind: str) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = client.get(f"{path}?w=32&auto=format", headers=headers)
    assert shape(answer) == (kind, 32, 24)
    assert answer.headers["vary"] == "Accept-Encoding, Accept"
    assert answer.headers["content-disposition"].endswith(f'.{kind}"')


def test_without_any_accept_at_all_everyone_gets_the_images_own_format(server: Any, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"GET {path}?w=32&auto=format HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"content-type: image/png\r\n" in answer
    assert b"vary: Accept-Encoding, Accept\r\n" in answer


def test_what_is_named_beside_it_is_for_those_who_name_nothing_better(client: httpx2.Client, path: str) -> None:
    url = f"{path}?w=32&fm=jpg&auto=format"
    assert shape(client.get(url, headers={"Accept": CURL}))[0] == "jpeg"
    assert shape(client.get(url, headers={"Accept": OLD_CHROME}))[0] == "webp"


def test_what_is_stored_is_sent_where_it_is_what_was_chosen(client: httpx2.Client, path: str, fresh_id: str) -> None:
    before = renders(client)
    original = client.get(path)
    chosen = client.get(f"{path}?auto=format", headers={"Accept": CURL})
    assert (chosen.content, chosen.headers["etag"]) == (original.content, original.headers["etag"])
    assert chosen.headers["vary"] == "Accept-Encoding, Accept"
    assert original.headers["vary"] == "Accept-Encoding"
    assert renders(client) == before


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_what_moves_never_becomes_avif(client: httpx2.Client, fresh_id: str, suffix: str) -> None:
    put(client, fresh_id, animation(suffix=suffix))
    for query in ("w=16&auto=format", "auto=format", "w=16&h=16&fit=crop&auto=format,compress"):
        for accept in (CHROME, FIREFOX, SAFARI, "image/avif"):
            for _ in range(3):
                answer = client.get(f"/images/{fresh_id}?{query}", headers={"Accept": accept})
                assert answer.headers["content-type"] in ("image/webp", f"image/{suffix[1:]}")
                assert decoded(answer, frames=-1).get("n-pages") == 3


def test_a_webp_that_stands_still_may(client: httpx2.Client, fresh_id: str, picture: Paint) -> None:
    put(client, fresh_id, picture(suffix=".webp"))
    url = f"/images/{fresh_id}?w=32&auto=format"
    assert shape(client.get(url, headers={"Accept": CHROME}))[0] == "avif"
    assert shape(client.get(url, headers={"Accept": CURL}))[0] == "webp"


def test_what_is_stored_as_avif_stays_it_for_those_who_name_it(
    client: httpx2.Client, fresh_id: str, picture: Paint
) -> None:
    put(client, fresh_id, picture(suffix=".avif"))
    for query in ("auto=format", "w=32&auto=format"):
        for accept, kind in ((CHROME, "avif"), (SAFARI, "avif"), (OLD_CHROME, "webp"), (CURL, "avif")):
            answer = client.get(f"/images/{fresh_id}?{query}", headers={"Accept": accept})
            assert shape(answer)[0] == kind
            assert answer.headers["cache-control"] != "no-cache"


# What caches are told


SPELLINGS = (
    "auto=format",
    "auto=compress,format",
    "auto=FORMAT",
    "auto=compress,%20format",
    "auto=compress&auto=format",
    "preset=chosen",
)


@pytest.mark.parametrize("query", SPELLINGS)
def test_every_answer_of_a_negotiated_url_says_so(client: httpx2.Client, path: str, query: str) -> None:
    url = f"{path}?w=32&{query}" if "preset" not in query else f"{path}?{query}"
    vary = "Accept-Encoding, Accept"
    found = client.get(url, headers={"Accept": OLD_CHROME})
    assert (found.status_code, found.headers["content-type"]) == (200, "image/webp")
    assert found.headers["vary"] == vary
    conditional = {"Accept": OLD_CHROME, "If-None-Match": found.headers["etag"]}
    unchanged = client.get(url, headers=conditional)
    assert (unchanged.status_code, unchanged.headers["vary"]) == (304, vary)
    for _ in range(3):
        assert client.get(url, headers={"Accept": CURL}).headers["content-type"] == "image/png"
        assert client.get(url, headers={"Accept": OLD_CHROME}).headers["content-type"] == "image/webp"
    for other, status, headers in (
        (url.replace(path, "/images/missing"), 404, {}),
        (f"{url}&q=900", 400, {}),
        (f"{url}&blur=5", 403, {}),
        (url, 412, {"If-Match": '"other"'}),
        (url, 416, {"Range": "bytes=9999999-"}),
    ):
        answer = client.get(other, headers=headers)
        assert (answer.status_code, answer.headers["vary"]) == (status, vary)


@pytest.mark.parametrize("query", ["", "w=32", "w=32&auto=compress", "w=32&fm=avif", "preset=fixed", "auto="])
def test_no_other_does(client: httpx2.Client, path: str, query: str) -> None:
    assert client.get(f"{path}?{query}", headers={"Accept": CHROME}).headers["vary"] == "Accept-Encoding"
    assert "vary" not in client.get(f"/images/missing?{query}").headers
    assert "vary" not in client.get(f"{path}?{query}&w=99999").headers


def test_each_representation_has_its_own_etag_and_conditions(client: httpx2.Client, path: str) -> None:
    url = f"{path}?w=32&auto=format"
    accepts = (CHROME, OLD_CHROME, CURL)
    tags = [settled(client, url, Accept=accept).headers["etag"] for accept in accepts]
    assert len(set(tags)) == 3
    for accept, tag in itertools.product(accepts, tags):
        answer = client.get(url, headers={"Accept": accept, "If-None-Match": tag})
        assert answer.status_code == (304 if tag == tags[accepts.index(accept)] else 200)
        part = client.get(url, headers={"Accept": accept, "If-Range": tag, "Range": "bytes=0-1"})
        assert part.status_code == (206 if tag == tags[accepts.index(accept)] else 200)
    explicit = client.head(f"{path}?w=32&fm=webp").headers["etag"]
    assert explicit == tags[1]


# On the hot path


def test_clients_that_alternate_get_each_their_own(server: Any, client: httpx2.Client, path: str) -> None:
    url = f"{path}?w=32&auto=format"
    accepts = {CHROME: "avif", OLD_CHROME: "webp", CURL: "png", SAFARI: "avif", "": "png"}
    tags, bodies = {}, {}
    for accept in accepts:
        settled(client, url, Accept=accept)
        found = hot(client, url, Accept=accept)
        tags[accept], bodies[accept] = found.headers["etag"], found.content
    with server.client() as other:
        took = set()
        for _ in range(8):  # the same bytes come again within a second, so they are remembered
            for accept, kind in accepts.items():
                for each in (client, other):
                    answer = each.get(url, headers={"Accept": accept})
                    assert answer.headers["content-type"] == f"image/{kind}"
                    assert (answer.content, answer.headers["etag"]) == (bodies[accept], tags[accept])
                    assert answer.headers["vary"] == "Accept-Encoding, Accept"
                    took.add(answer.headers["server-timing"])
                    again = each.get(url, headers={"Accept": accept, "If-None-Match": tags[accept]})
                    assert (again.status_code, again.headers["etag"]) == (304, tags[accept])
                    took.add(again.headers["server-timing"])
                    tag = tags[CURL if kind != "png" else CHROME]
                    assert each.get(url, headers={"Accept": accept, "If-None-Match": tag}).status_code == 200
        assert "hot" in took


def test_a_header_that_comes_twice_or_is_written_otherwise_is_read_the_same(server: Any, path: str) -> None:
    lines = (
        b"Accept: image/webp\r\n",
        b"accept:image/webp\r\n",
        b"ACCEPT: \timage/webp \r\n",
        b"Accept: text/html\r\nAccept: image/webp\r\n",
        b"Accept: image/png\r\n",
        b"Accept: image/webp;q=0\r\nAccept: image/png\r\n",
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        stream = connection.makefile("rb")
        for _ in range(4):
            for line in lines:
                connection.sendall(f"GET {path}?w=32&auto=format HTTP/1.1\r\nHost: x\r\n".encode() + line + b"\r\n")
                head = b"".join(iter(stream.readline, b"\r\n"))
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                stream.read(length)
                kind = b"image/png" if b"png" in line else b"image/webp"
                assert b"content-type: " + kind in head


# AVIF: at once, and well


def test_an_avif_is_there_at_once_and_a_better_one_later(
    server: Any, client: httpx2.Client, fresh_id: str, picture: Paint
) -> None:
    put(client, fresh_id, picture(128, 96, seed=next(seeds)))
    url = f"/images/{fresh_id}?w=128&auto=format"
    before = renders(client)
    with server.client() as kept:  # one connection that has been on the hot path
        first = kept.get(url, headers={"Accept": CHROME})
        assert shape(first) == ("avif", 128, 96)
        assert first.headers["cache-control"] == "no-cache"
        assert "last-modified" not in first.headers
        better = settled(kept, url, Accept=CHROME)
        assert shape(better) == ("avif", 128, 96)
        assert better.headers["etag"] != first.headers["etag"]
        assert better.content != first.content
        assert "last-modified" in better.headers
        assert renders(client) == before + 2
        warm = hot(kept, url, Accept=CHROME)
        assert (warm.content, warm.headers["etag"]) == (better.content, better.headers["etag"])
        stale = kept.get(url, headers={"Accept": CHROME, "If-None-Match": first.headers["etag"]})
        assert (stale.status_code, stale.content) == (200, better.content)
    explicit = client.get(f"/images/{fresh_id}?w=128&fm=avif")
    assert (explicit.content, explicit.headers["etag"]) == (better.content, better.headers["etag"])
    assert renders(client) == before + 2


def test_the_hot_path_lets_go_of_a_hasty_avif(start_here: Start, picture: Paint) -> None:
    server = start_here(variants="open", render_threads=1, render_timeout=60, previews=False)
    with server.client() as client:
        put(client, "a", picture(120, 80))
        url = "/images/a?w=640&h=480&fit=crop&auto=format"
        first = client.get(url, headers={"Accept": CHROME})
        seen, deadline = [], time.monotonic() + PATIENCE
        while not seen or seen[-1].headers["etag"] == first.headers["etag"]:
            seen.append(client.get(url, headers={"Accept": CHROME}))
            assert time.monotonic() < deadline
        hasty = [answer for answer in seen if answer.headers["etag"] == first.headers["etag"]]
        assert {answer.headers["cache-control"] for answer in hasty} <= {"no-cache"}
        for _ in range(3):
            answer = client.get(url, headers={"Accept": CHROME})
            assert answer.headers["etag"] == seen[-1].headers["etag"] != first.headers["etag"]
            assert answer.headers["cache-control"].startswith("public, max-age=")


def test_who_has_the_better_one_need_not_take_the_hasty_one(start_here: Start, picture: Paint, tmp_path: Path) -> None:
    first = start_here(previews=False)
    url = "/images/a?w=64&auto=format"
    with first.client() as client:
        put(client, "a", picture())
        tag = settled(client, url, Accept=CHROME).headers["etag"]
    first.stop()
    with closing(sqlite3.connect(tmp_path / "images.db")) as connection, connection:
        connection.execute("DELETE FROM variants")
    with start_here(previews=False).client() as client:
        answer = client.get(url, headers={"Accept": CHROME, "If-None-Match": tag})
        assert (answer.status_code, answer.headers["etag"]) == (304, tag)
        assert renders(client) == 0


def test_another_process_takes_the_better_one_from_the_store(start_here: Start, picture: Paint, tmp_path: Path) -> None:
    one, other = start_here(previews=False), start_here(previews=False)
    url = "/images/a?w=64&auto=format"
    with one.client() as here, other.client() as there:
        put(here, "a", picture())
        better = settled(here, url, Accept=CHROME)
        tag = better.headers["etag"].strip('"')
        with closing(sqlite3.connect(tmp_path / "images.db")) as connection:
            wait_until(lambda: connection.execute("SELECT 1 FROM variants WHERE etag = ?", (tag,)).fetchone())
        found = there.get(url, headers={"Accept": CHROME})
        assert (found.content, found.headers["etag"]) == (better.content, better.headers["etag"])
        assert renders(there) == 0


# Where Accept chooses by default


@pytest.fixture(scope="module")
def automatic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerHere]:
    server = ServerHere(
        tmp_path_factory.mktemp("automatic"),
        auto_format=True,
        client_hints=True,
        signing_keys=KEY,
        presets="fixed?w=48&fm=png free?w=48",
    )
    yield server
    server.stop()


def test_a_bare_url_is_negotiated_and_one_with_its_version_is_not(automatic: Any, picture: Paint) -> None:
    data = picture(seed=7)
    with automatic.client() as client:
        etag = put(client, "a", data)
        for url in ("/images/a", "/images/a?w=32", f"/images/a?w=32&v={etag}", "/images/a?preset=free"):
            found = settled(client, url, Accept=CHROME)
            assert found.headers["content-type"] == "image/avif"
            assert "Accept" in found.headers["vary"].split(", ")
            assert client.get(url, headers={"Accept": CURL}).headers["content-type"] == "image/png"
        assert client.get("/images/a", headers={"Accept": CURL}).content == data
        for url in (
            f"/images/a?v={etag}",
            f"/images/a?v={etag}&download=1",
            "/images/a?w=32&fm=png",
            "/images/a?preset=fixed",
        ):
            found = client.get(url, headers={"Accept": CHROME})
            assert found.headers["content-type"] == "image/png"
            assert "Accept" not in found.headers["vary"].split(", ")
        stored = client.get(f"/images/a?v={etag}", headers={"Accept": CHROME})
        assert stored.content == data
        assert stored.headers["vary"] == "Accept-Encoding"
        assert client.get("/images/missing").headers["vary"].startswith("Accept-Encoding, Accept")


# Client hints


def test_hints_change_what_comes_and_answers_say_so(automatic: Any, picture: Paint) -> None:
    with automatic.client() as client:
        put(client, "wide", picture(300, 200, seed=8))
        vary = "Accept-Encoding, Sec-CH-DPR, Sec-CH-Width, Save-Data"

        def width(query: str, **hints: str) -> int:
            headers = {name.replace("_", "-"): text for name, text in hints.items()}
            answer = client.get(f"/images/wide?{query}&fm=webp", headers=headers)
            assert answer.headers["vary"] == vary
            assert answer.headers["accept-ch"] == "Sec-CH-DPR, Sec-CH-Width"
            return shape(answer)[1]

        assert width("w=64") == 64
        assert width("w=64", Sec_CH_DPR="2.0") == 128
        assert width("w=64", Sec_CH_DPR="9") == 192
        assert width("w=64", Sec_CH_Width="100") == 128
        assert width("w=64", Sec_CH_Width="100", Sec_CH_DPR="3") == 128
        assert width("w=64", Sec_CH_Width="nonsense") == 64
        plain = client.get("/images/wide?w=64&fm=webp")
        saving = client.get("/images/wide?w=64&fm=webp", headers={"Save-Data": "on"})
        assert len(saving.content) < len(plain.content)
        assert saving.headers["etag"] == client.get("/images/wide?w=64&fm=webp&q=45").headers["etag"]
        for query in ("w=33&fm=webp", "w=64&fm=webp&q=0"):
            refused = client.get(f"/images/wide?{query}")
            assert refused.status_code in (400, 403)
            assert (refused.headers["vary"], refused.headers["accept-ch"]) == (vary, "Sec-CH-DPR, Sec-CH-Width")
        original = client.get(f"/images/wide?v={plain.headers['etag']}")
        assert original.headers["vary"] == "Accept-Encoding"
        assert "accept-ch" not in original.headers


def test_hints_are_told_apart_on_the_hot_path(automatic: Any, picture: Paint) -> None:
    with automatic.client() as client:
        put(client, "hinted", picture(300, 200, seed=9))
        for url in ("/images/hinted?w=64&fm=webp", "/images/hinted"):
            sets: list[dict[str, str]] = [{}, {"Sec-CH-DPR": "2"}, {"Sec-CH-Width": "90"}, {"Save-Data": "on"}]
            for hints in sets:
                hints["Accept"] = CURL
            expected = [client.get(url, headers={**hints, "Range": "items=0"}) for hints in sets]
            for hints, full in zip(sets, expected, strict=True):
                warm = hot(client, url, **hints)
                named = ("date", "server-timing", "cache-status")
                heads = [{name: text for name, text in it.headers.items() if name not in named} for it in (warm, full)]
                assert heads[0] == heads[1]
            for _ in range(4):
                for hints, full in zip(sets, expected, strict=True):
                    assert client.get(url, headers=hints).headers["etag"] == full.headers["etag"]
