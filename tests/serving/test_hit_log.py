"""The access log of answers from memory: as many lines as were asked for, in the form and the order of the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

import pytest
from tests.support import wait_until

Paint = Callable[..., bytes]
Start = Callable[..., Any]

HITS = 40
KEYS = {"event", "level", "timestamp", "method", "path", "status", "bytes", "cache", "client"}
"""Of the line of a hit. Every other one says ``ms``, too: how long a hit takes is not measured."""


@dataclass
class Asking:
    """A connection, and what its log is to say: method, path, status, bytes, and whether it was a hit."""

    connection: HTTPConnection
    answered: list[tuple[str, str, int, int, bool]] = field(default_factory=list)

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> bool:
        """Whether it was answered from memory."""
        self.connection.request(method, path, headers=headers or {})
        answer = self.connection.getresponse()
        sent = len(answer.read())
        is_hit = answer.headers["server-timing"] == "hot"
        self.answered.append((method, path.partition("?")[0], answer.status, sent, is_hit))
        return is_hit


@pytest.fixture
def start(start_lightfast: Start, picture: Paint) -> Iterator[Callable[..., tuple[Any, Asking]]]:
    """A server that answers ``/images/a`` from memory, with an empty log, and a client of it."""
    opened: list[HTTPConnection] = []

    def start(**settings: str) -> tuple[Any, Asking]:
        server = start_lightfast(store="memory://", **settings)
        opened.append(HTTPConnection("127.0.0.1", server.port, timeout=20))
        with server.client() as client:
            assert client.put("/images/a", content=picture()).status_code == 201
        asking = Asking(opened[-1])
        wait_until(lambda: asking.ask("/images/a"))
        return server, asking

    yield start
    for connection in opened:
        connection.close()


def logged(server: Any) -> list[dict[str, Any]]:
    """The lines for what was read."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    requests = [line for line in lines if line["event"] == "request" and line["path"] != "/healthz"]
    return [line for line in requests if line["method"] != "PUT"]


def brief(line: dict[str, Any]) -> tuple[str, str, int, int, bool]:
    return line["method"], line["path"], line["status"], line["bytes"], "ms" not in line


@pytest.mark.parametrize("share", [1, 0.5, 0])
def test_a_share_of_the_hits_is_logged_and_whatever_else_is_asked(
    start: Callable[..., tuple[Any, Asking]], share: float
) -> None:
    server, asking = start(log_hits=f"{share}")
    for number in range(HITS):
        assert asking.ask("/images/a", "HEAD" if number % 3 else "GET")
        assert asking.ask("/images/a", headers={"If-None-Match": "*"})
        if number % 10 == 0:
            assert not asking.ask("/images/missing")
    asking.connection.close()
    assert server.stop() == 0  # and writes what waits: nothing but hits came last
    lines = [brief(line) for line in logged(server)]
    hits = sum(is_hit for *_, is_hit in asking.answered)
    assert hits >= 2 * HITS
    assert sum(is_hit for *_, is_hit in lines) == int(hits * share)
    assert [line for line in lines if not line[-1]] == [line for line in asking.answered if not line[-1]]
    if share == 1:
        assert lines == asking.answered


@pytest.mark.parametrize("path", ["/images/a", "/placeholders/%364x48.png"])
def test_the_line_of_a_hit_says_what_that_of_another_answer_from_memory_does(
    start: Callable[..., tuple[Any, Asking]], path: str
) -> None:
    server, asking = start()
    wait_until(lambda: asking.ask(path))
    assert not asking.ask(path, headers={"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"})
    asking.connection.close()
    assert server.stop() == 0
    hit, other = logged(server)[-2:]
    assert hit.keys() == KEYS
    assert other.keys() == KEYS | {"ms"}
    assert {name: hit[name] for name in KEYS - {"timestamp"}} == {name: other[name] for name in KEYS - {"timestamp"}}


def test_the_lines_of_hits_do_not_wait_for_another_request(start: Callable[..., tuple[Any, Asking]]) -> None:
    server, asking = start()
    assert asking.ask("/images/a")
    wait_until(lambda: len(logged(server)) == len(asking.answered))


APP = """
import sys, uvicorn
from fastapi import FastAPI
from lightfast import Lightfast

images = Lightfast("memory://", log_hits={share})
app = FastAPI(lifespan=images.lifespan)
app.include_router(images.router)
uvicorn.run(app, port=int(sys.argv[1]), http="lightfast.web.hot:HotProtocol", access_log={access_log})
"""


@pytest.mark.parametrize(("share", "access_log"), [(1, True), (0.5, True), (0, True), (1, False)])
def test_uvicorns_log_has_the_hits_in_any_app(
    start_script: Start, picture: Paint, share: float, access_log: bool
) -> None:
    server = start_script(APP.format(share=share, access_log=access_log))
    with server.client() as client:
        assert client.put("/images/a", content=picture()).status_code == 201
        hot = [client.get("/images/a").headers["server-timing"] == "hot" for _ in range(HITS)]
    server.stop()
    lines = [line for line in server.log.read_text().splitlines() if '"GET /images/a HTTP/1.1" 200' in line]
    assert sum(hot) > HITS / 2
    assert len(lines) == (hot.count(False) + int(sum(hot) * share) if access_log else 0)
    assert all(line.startswith("INFO:     127.0.0.1:") for line in lines)
