"""Clients that are near get a bounded send buffer, all others what the kernel gives them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from lightfast.web import near

SMALL = 64 * 1024
"""A buffer that every machine allows."""


@pytest.fixture
def set_buffer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    def to(size: int) -> None:
        monkeypatch.setattr(near, "BUFFER", size)
        monkeypatch.setattr(near, "NEAR", 10**9)  # a machine may be asleep during a handshake
        near._allowed.cache_clear()

    yield to
    near._allowed.cache_clear()


@pytest.fixture
def accepted() -> Iterator[socket.socket]:
    """The server's end of a connection on the loopback."""
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as listener,
        closing(socket.create_connection(listener.getsockname())),
        closing(listener.accept()[0]) as connection,
    ):
        yield connection


def size(connection: socket.socket) -> int:
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def test_a_near_client_has_a_bounded_buffer(accepted: socket.socket, set_buffer: Callable[[int], None]) -> None:
    set_buffer(SMALL)
    near.bound_send_buffer(accepted)
    assert size(accepted) == 2 * SMALL


def test_a_far_client_has_the_kernels_own(
    accepted: socket.socket, set_buffer: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = size(accepted)
    set_buffer(SMALL)
    monkeypatch.setattr(near, "NEAR", -1)
    near.bound_send_buffer(accepted)
    assert size(accepted) == before


def test_what_was_not_measured_is_not_near() -> None:
    assert [near.is_short(microseconds) for microseconds in (0, 1, near.NEAR, near.NEAR + 1)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_machine_that_allows_less_keeps_its_own(accepted: socket.socket, set_buffer: Callable[[int], None]) -> None:
    before = size(accepted)
    set_buffer(2**30 - 1)
    near.bound_send_buffer(accepted)
    assert size(accepted) == before


def test_sockets_without_round_trips_are_left_alone(set_buffer: Callable[[int], None]) -> None:
    set_buffer(SMALL)
    one, other = socket.socketpair()
    with closing(one), closing(other):
        before = size(one)
        near.bound_send_buffer(one)
        assert size(one) == before


def sizes_towards(peer: Any) -> set[int]:
    """Of the send buffers of this process that are connected to ``peer``."""
    found = set()
    for entry in filter(Path.is_socket, Path("/proc/self/fd").iterdir()):
        with suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as connection:
            if connection.getpeername() == peer:
                found.add(size(connection))
    return found


def test_the_server_bounds_what_it_has_accepted(
    start_here: Callable[..., Any], set_buffer: Callable[[int], None]
) -> None:
    set_buffer(SMALL)
    server = start_here()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert sizes_towards(client.getsockname()) == {2 * SMALL}
