"""Clients that are near get a bounded send buffer and are not paced, all others what the kernel gives them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support import wait_until

from lightfast.web import near

SMALL = 64 * 1024
"""A buffer that every machine allows."""


@pytest.fixture
def set_buffer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    def to(size: int) -> None:
        monkeypatch.setattr(near, "BUFFER", size)
        monkeypatch.setattr(near, "NEAR", 10**9)  # a machine may be asleep during a handshake
        near._is_allowed.cache_clear()

    yield to
    near._is_allowed.cache_clear()


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
    near.suit_client(accepted)
    assert size(accepted) == 2 * SMALL


def test_a_far_client_has_the_kernels_own(
    accepted: socket.socket, set_buffer: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = size(accepted)
    set_buffer(SMALL)
    monkeypatch.setattr(near, "NEAR", -1)
    near.suit_client(accepted)
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
    near.suit_client(accepted)
    assert size(accepted) == before


def test_sockets_without_round_trips_are_left_alone(set_buffer: Callable[[int], None]) -> None:
    set_buffer(SMALL)
    one, other = socket.socketpair()
    with closing(one), closing(other):
        before = size(one)
        near.suit_client(one)
        assert size(one) == before


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """What the system has chosen, taken for one that paces: a machine need not have BBR."""
    with socket.socket() as new:
        monkeypatch.setattr(near, "PACED", control(new))
    monkeypatch.setattr(near, "NEAR", 10**9)
    near._find_listeners.cache_clear()
    yield near.PACED
    near._find_listeners.cache_clear()


def control(connection: socket.socket) -> bytes:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


def connected(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(listener.getsockname()[:2])
    return client, listener.accept()[0]


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("", socket.AF_INET)])
def test_near_clients_are_not_paced(paced: bytes, host: str, family: socket.AddressFamily) -> None:
    listener = socket.create_server((host, 0), family=family)
    other = socket.create_server(("127.0.0.2", listener.getsockname()[1])) if host else socket.create_server(("", 0))
    with closing(listener), closing(other):
        first, second = [], []
        for pair in (first, second):
            pair += connected(listener)
            assert near.suit_client(pair[1])
            assert control(pair[1]) == near.UNPACED
        assert control(listener) == near.UNPACED
        assert control(other) == paced
        third = connected(listener)
        assert control(third[1]) == near.UNPACED  # from the beginning
        for one in (*first, *second, *third):
            one.close()


def test_far_clients_have_what_the_system_chose(
    accepted: socket.socket, paced: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "NEAR", -1)
    assert not near.suit_client(accepted)
    assert control(accepted) == paced
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, near.UNPACED)
    near.suit_client(accepted)
    assert control(accepted) == paced


@pytest.mark.parametrize("nearest", [10**9, -1])
def test_what_does_not_pace_stays(accepted: socket.socket, monkeypatch: pytest.MonkeyPatch, nearest: int) -> None:
    before = control(accepted)
    monkeypatch.setattr(near, "NEAR", nearest)
    monkeypatch.setattr(near, "PACED", b"another")
    near.suit_client(accepted)
    assert control(accepted) == before


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


SERVE = """
import socket, sys, threading, time
from pathlib import Path
from lightfast.server import serve
from lightfast.settings import load_settings
from lightfast.web import near

def look():
    while {near._control(one) for one in near._listeners()} != {near.UNPACED}:
        time.sleep(0.01)
    Path("unpaced").touch()

if __name__ == "__main__":
    with socket.socket() as new:
        near.PACED = near._control(new)  # a machine need not have BBR
    near._find_listeners = lambda address: None  # which the first client would begin
    threading.Thread(target=look, daemon=True).start()
    serve(load_settings(store="sqlite:///images.db", port=int(sys.argv[1]), workers=WORKERS, log="off"))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_to_serve_is_to_listen_without_pacing(start_script: Callable[[str], Any], tmp_path: Path, workers: int) -> None:
    (tmp_path / "serve.py").write_text(SERVE.replace("WORKERS", f"{workers}"))
    start_script(f"import runpy; runpy.run_path({str(tmp_path / 'serve.py')!r}, run_name='__main__')")
    wait_until((tmp_path / "unpaced").exists)
