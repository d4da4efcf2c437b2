"""Pictures that many ask for within a second: the same answers as to the first."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from tests.serving.conftest import paint
from tests.support import wait_until

from lightfast.web import near
from lightfast.web.answers import answers_of
from lightfast.web.popular import OFTEN, PART

PATIENCE = 20
REQUEST = b"GET /images/a HTTP/1.1\r\nHost: localhost\r\n\r\n"

Start = Callable[..., Any]


@pytest.fixture(autouse=True)
def all_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may be asleep during a handshake."""
    monkeypatch.setattr(near, "NEAR", 10**9)


def files(server: Any) -> int:
    """How many files of memory it has."""
    return answers_of(server._server.config).popular._file_count


def make_popular(server: Any, client: httpx2.Client, content: bytes) -> None:
    """Ask until the answer comes from a file."""

    def ask() -> int:
        for _ in range(2 * OFTEN):
            assert client.get("/images/a").content == content
        return files(server)

    wait_until(ask)


@pytest.mark.parametrize("pixels", [90, 400, 1000])
def test_a_popular_picture_is_the_same(start_here: Start, pixels: int) -> None:
    content = paint(pixels, pixels)
    server = start_here()
    with server.client() as client:
        client.put("/images/a", content=content)
        make_popular(server, client, content)
        for _ in range(3 * OFTEN):
            popular = client.get("/images/a")
            assert popular.content == content
            assert int(popular.headers["content-length"]) == len(content)
        full = client.get("/images/a", headers={"Range": "items=0"})  # which means nothing
        different = {"date", "server-timing"}
        assert {name: value for name, value in popular.headers.items() if name not in different} == {
            name: value for name, value in full.headers.items() if name not in different
        }
        wait_until(lambda: not files(server))


def test_a_change_is_seen_at_once(start_here: Start) -> None:
    server = start_here()
    with server.client() as client:
        for seed in range(4):
            content = paint(100, 100, seed=seed)
            client.put("/images/a", content=content)
            make_popular(server, client, content)
            assert client.get("/images/a").content == content
        client.delete("/images/a")
        assert client.get("/images/a").status_code == 404


def test_those_who_read_late_get_all_of_it(start_here: Start) -> None:
    content = paint(1000, 1000)
    assert len(content) > 2 * PART
    server = start_here()
    with server.client() as client, ExitStack() as stack:
        client.put("/images/a", content=content)
        make_popular(server, client, content)
        slow = [stack.enter_context(socket.socket()) for _ in range(4)]
        for connection in slow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(PATIENCE)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(REQUEST)
        make_popular(server, client, content)
        another = paint(1000, 1000, seed=2)
        client.put("/images/a", content=another)
        wait_until(lambda: not files(server))
        for connection in slow:
            file = connection.makefile("rb")
            head = b"".join(iter(file.readline, b"\r\n"))
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert file.read(len(content)) == content
            connection.sendall(REQUEST)
            while file.readline() != b"\r\n":
                pass
            assert file.read(len(another)) == another


def test_where_files_cant_be_sent_the_picture_is_all_the_same(
    start_here: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = paint(400, 400)

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "as in a sandbox")

    monkeypatch.setattr(os, "sendfile", refuse)
    server = start_here()
    with server.client() as client:
        client.put("/images/a", content=content)
        make_popular(server, client, content)


def test_far_clients_get_no_files(start_here: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "NEAR", -1)
    content = paint(400, 400)
    server = start_here()
    with server.client() as client:
        client.put("/images/a", content=content)
        for _ in range(10 * OFTEN):
            assert client.get("/images/a").content == content
            assert not files(server)
