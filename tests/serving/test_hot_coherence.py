"""What the hot path has ready is never given once it is wrong, and goes with the image it is of."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytestmark = pytest.mark.alone

Paint = Callable[..., bytes]
Start = Callable[..., Any]

PATIENCE = 20


def warm(client: httpx2.Client, url: str) -> httpx2.Response:
    """The first answer from the hot path."""
    deadline = time.monotonic() + PATIENCE
    while (answer := client.get(url)).headers.get("server-timing") != "hot":
        assert time.monotonic() < deadline
    return answer


@pytest.fixture(params=["sqlite", "valkey"])
def store(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"store": request.getfixturevalue("valkey_url")} if request.param == "valkey" else {}


def test_a_write_is_in_the_next_answer(start_lightfast: Start, picture: Paint, store: dict[str, str]) -> None:
    server = start_lightfast(log="off", **store)
    with server.client() as client:
        for seed in range(1, 8):
            content = picture(100, 100, seed=seed)
            stored = client.put("/images/a", content=content)
            answer = client.get("/images/a", headers={"If-None-Match": '"0"'})
            assert answer.content == content
            assert warm(client, "/images/a").headers["etag"] == stored.headers["etag"]
        assert client.delete("/images/a").status_code == 204
        assert client.get("/images/a").status_code == 404


def test_a_change_by_another_process_arrives(start_lightfast: Start, picture: Paint, store: dict[str, str]) -> None:
    ours, theirs = start_lightfast(log="off", **store), start_lightfast(log="off", **store)
    with ours.client() as client, theirs.client() as other:
        for seed in range(1, 4):
            content = picture(100, 100, seed=seed)
            other.put("/images/a", content=content)
            deadline = time.monotonic() + 1  # SQLite is looked at every 20 ms
            while client.get("/images/a").content != content:
                assert time.monotonic() < deadline
            warm(client, "/images/a")
            assert client.get("/images/a").content == content


def test_an_image_is_gone_when_its_time_is_up(start_lightfast: Start, picture: Paint, store: dict[str, str]) -> None:
    server = start_lightfast(log="off", **store)
    with server.client() as client:
        client.put("/images/a?ttl=2s", content=picture())
        begun = time.monotonic()
        url = client.get("/images/a/info").json()["url"]
        warm(client, url)
        while client.get(url).status_code == 200:
            assert time.monotonic() - begun < 3
        assert time.monotonic() - begun > 1


def test_max_age_counts_down_as_on_the_full_path(start_lightfast: Start, picture: Paint) -> None:
    server = start_lightfast(log="off", browser_ttl="1h")
    seen = set()
    with server.client() as client:
        client.put("/images/a?ttl=1h", content=picture())
        begun = time.monotonic()
        while len(seen) < 3:
            assert time.monotonic() - begun < PATIENCE
            plain = client.get("/images/a")
            full = client.get("/images/a", headers={"Range": "items=0"})  # which means nothing
            again = client.get("/images/a")
            ages = [int(one.headers["cache-control"].split("=")[1].split(",")[0]) for one in (plain, full, again)]
            assert ages[0] >= ages[1] >= ages[2] >= 3590
            seen.add(ages[1])


def test_nothing_is_trusted_while_the_store_is_away(
    start_lightfast: Start, start_server: Callable[..., Any], picture: Paint
) -> None:
    valkey = start_server("valkey")
    server = start_lightfast(log="off", store=valkey.url)
    with server.client() as client:
        client.put("/images/a", content=picture())
        warm(client, "/images/a")
        valkey.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE
        while "age" not in (answer := client.get("/images/a")).headers:
            assert time.monotonic() < deadline
        assert answer.headers["server-timing"] != "hot"
        assert "stale" in answer.headers["cache-status"]
        valkey.process.send_signal(signal.SIGCONT)
        warm(client, "/images/a")


def test_no_choice_of_url_fills_the_memory(start_lightfast: Start, picture: Paint) -> None:
    server = start_lightfast(log="off")
    with server.client() as client:
        client.put("/images/a", content=picture())
        warm(client, "/images/a")
        for number in range(3):
            url = f"/images/a?x={number}&y=/images/a"
            timings = [client.get(url).headers["server-timing"] for _ in range(3)]
            assert "hot" not in timings


APP = """
import sys, uvicorn
sys.path.insert(0, {examples!r})
uvicorn.run("fastapi_app:app", port=int(sys.argv[1]), http="lightfast.web.hot:HotProtocol", log_level="warning")
"""


def test_in_an_app_of_its_own_date_and_server_stand_once(start_script: Start, picture: Paint) -> None:
    examples = str(Path(__file__).parents[2] / "examples")
    os.environ.pop("LIGHTFAST_STORE", None)
    server = start_script(APP.format(examples=examples))
    with server.client() as client:
        client.put("/images/a", content=picture(200, 150))
        hot = warm(client, "/images/a")
        full = client.get("/images/a", headers={"Range": "items=0"})
        names = [
            [name for name, _ in answer.headers.multi_items() if name != "server-timing"] for answer in (hot, full)
        ]
        assert sorted(names[0]) == sorted(names[1])
        assert names[0].count("date") == names[0].count("server") == 1
        assert hot.content == full.content
