"""Clients that don't read, or don't finish what they say: memory stays bounded, others are served, time runs out."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

# The serving tests' servers and pictures.
_spec = importlib.util.spec_from_file_location("serving", Path(__file__).parents[1] / "serving" / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
serving = importlib.util.module_from_spec(_spec)
sys.modules["serving"] = serving
_spec.loader.exec_module(serving)

start_lightfast = serving.start_lightfast
picture = serving.picture

pytestmark = pytest.mark.alone  # a thousand clients and their server take two cores

MIB = 1024 * 1024
PATIENCE = 20
REQUEST = b"GET /images/%b HTTP/1.1\r\nHost: x\r\nUser-Agent: slow\r\n\r\n"
PROMPT = 1.0
"""Seconds in which others are to be served meanwhile, on a machine that does other things, too."""

Start = Callable[..., Any]


@pytest.fixture
def start(start_lightfast: Start) -> Iterator[Start]:
    """A server that holds a picture of 1 MB and one of 5 KB in memory."""

    def start(**settings: str) -> Any:
        server = start_lightfast(log="off", **settings)
        with server.client() as client:
            for id, content in (("large", serving.paint(730, 500)), ("small", serving.paint(48, 32))):
                client.put(f"/images/{id}?ttl=0", content=content)
                deadline = time.monotonic() + PATIENCE  # news of the write drop what is read before them
                while client.get(f"/images/{id}").headers["server-timing"] != "hot":
                    assert time.monotonic() < deadline
        return server

    return start


def connect(server: Any, receive_buffer: int = 4096) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", server.port))
    return connection


def others_are_served(server: Any) -> None:
    with server.client() as client:
        for id in ("large", "small", "large"):
            before = time.monotonic()
            assert client.get(f"/images/{id}").status_code == 200
            assert time.monotonic() - before < PROMPT


def closes(connection: socket.socket) -> bytes:
    """What comes until the server closes, which it must do in time."""
    received = b""
    try:
        while arrived := connection.recv(65536):
            received += arrived
    except ConnectionResetError:
        pass
    return received


def test_a_thousand_clients_that_never_read_hold_no_copies(start: Start) -> None:
    server = start()
    idle = server.resident_bytes()
    with ExitStack() as stack:
        for _ in range(1000):
            connection = stack.enter_context(closing(connect(server)))
            connection.sendall(REQUEST % b"large")
            assert connection.recv(1, socket.MSG_PEEK)  # its answer has begun
        others_are_served(server)
        # What each takes is its connection (about 15 KB); the picture is there once, for all of them.
        assert server.resident_bytes() - idle < 60 * MIB
    others_are_served(server)


def test_a_client_that_reads_a_byte_at_a_time_delays_nobody(start: Start) -> None:
    server = start()
    with closing(connect(server)) as connection:
        connection.sendall(REQUEST % b"large")
        for _ in range(20):
            assert len(connection.recv(1)) == 1
            others_are_served(server)


@contextmanager
def sipping(connections: list[socket.socket], sips: list[int]) -> Iterator[list[bytearray]]:
    """Meanwhile a thread takes at most ``sips`` bytes at a time from each of the ``connections``, in turn."""
    taken = [bytearray() for _ in connections]
    enough = threading.Event()

    def sip() -> None:
        while not enough.wait(0.01):
            for connection, size, so_far in zip(connections, sips, taken, strict=True):
                try:
                    so_far += connection.recv(size, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    continue

    thread = threading.Thread(target=sip, name="sipping")
    thread.start()
    try:
        yield taken
    finally:
        enough.set()
        thread.join()


def test_a_thousand_clients_that_take_a_few_bytes_at_a_time_delay_nobody_and_hold_no_copies(start: Start) -> None:
    server = start()
    with server.client() as client:
        whole = {id: client.get(f"/images/{id}").content for id in ("large", "small")}
    sips = [4096 if number % 100 == 0 else 1 + number % 4 for number in range(1000)]
    idle = server.resident_bytes()
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(connect(server))) for _ in sips]
        for connection in connections:
            connection.sendall(REQUEST % b"large")
        with sipping(connections, sips) as taken, server.client() as client:
            until = time.monotonic() + 4
            while time.monotonic() < until or not all(taken):
                assert time.monotonic() < until + PATIENCE
                begun = all(taken)
                for id, content in whole.items():
                    before = time.monotonic()
                    assert client.get(f"/images/{id}").content == content
                    # One may stand behind the thousand at the beginning, and wait for a gigabyte to be sent.
                    assert time.monotonic() - before < PROMPT or not begun
                # As where nobody reads: what each takes is its connection; the picture is there once, for all of them.
                assert server.resident_bytes() - idle < 60 * MIB
        # Nothing got lost or mixed up on the way to those who are nearly through, and to one who has just begun.
        for number in (0, 1, 500, 999):
            so_far = taken[number]
            while not so_far.endswith(whole["large"]):
                arrived = connections[number].recv(65536)
                assert arrived
                so_far += arrived
            assert so_far.partition(b"\r\n\r\n")[2] == whole["large"]
    others_are_served(server)


@pytest.mark.parametrize("id", [b"small", b"large", b"missing"])
def test_ten_thousand_requests_of_clients_that_read_nothing_wait_as_bytes(start: Start, id: bytes) -> None:
    server = start()
    idle = server.resident_bytes()
    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(closing(connect(server)))
            connection.setblocking(False)
            pipeline = REQUEST % id * 10_000
            while pipeline:  # as much as the server and the kernel take
                try:
                    pipeline = pipeline[connection.send(pipeline) :]
                except BlockingIOError:
                    break
        others_are_served(server)
        # Each: a read of at most 256 KiB, as bytes, a slice of it parsed, and an answer in the transport.
        assert server.resident_bytes() - idle < 20 * 2 * MIB


def test_what_waits_for_readers_of_different_pictures_is_bounded(
    start_lightfast: Start, picture: Callable[..., bytes]
) -> None:
    bound, count = 32 * MIB, 40
    server = start_lightfast(log="off", memory="16MiB", max_undelivered=f"{bound}")
    content = picture(1500, 1300)
    with server.client() as client:
        for number in range(count):
            another = content + b"%d" % number  # behind the end of the image, so that each has bytes of its own
            assert client.put(f"/images/{number}", content=another).status_code == 201
        idle = server.resident_bytes()
        with ExitStack() as stack:
            for number in range(count):
                connection = stack.enter_context(closing(connect(server)))
                connection.sendall(REQUEST % b"%d" % number)
                assert connection.recv(1) == b"H"
            deadline = time.monotonic() + 20
            while server.resident_bytes() - idle > bound + 3 * 16 * MIB:
                assert time.monotonic() < deadline, (server.resident_bytes() - idle) / MIB
                time.sleep(0.05)
            with server.client() as client:
                assert client.get("/images/0").status_code == 200


def test_a_pipeline_is_answered_whole_and_in_order(start: Start) -> None:
    server = start()
    ids = [b"small", b"missing", b"large"] * 300
    with closing(connect(server, 1 << 20)) as connection:
        asked = b"".join(REQUEST % id for id in ids)

        async def ask() -> list[bytes]:
            reader, writer = await asyncio.open_connection(sock=connection)
            writer.write(asked)
            lines = []
            for _ in ids:
                head = await reader.readuntil(b"\r\n\r\n")
                lines.append(head.split(b"\r\n")[0])
                length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
                await reader.readexactly(int(length.partition(b" ")[2]))
            writer.close()
            return lines

        lines = asyncio.run(ask())
    status = {b"missing": b"HTTP/1.1 404 Not Found"}
    assert lines == [status.get(id, b"HTTP/1.1 200 OK") for id in ids]


def test_a_half_closed_client_is_answered(start: Start) -> None:
    server = start()
    for request in (REQUEST % b"large", REQUEST % b"missing", (REQUEST % b"small") * 3):
        with closing(connect(server)) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            assert closes(connection).count(b"HTTP/1.1 ") == request.count(b"GET ")


def test_the_head_of_a_request_must_arrive_in_time(start: Start) -> None:
    server = start(head_timeout="1s", keep_alive="0")
    with closing(connect(server)) as slow, closing(connect(server)) as fast:
        slow.sendall((REQUEST % b"small")[:-2])
        begun = time.monotonic()
        answer = closes(slow)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        assert 1 <= time.monotonic() - begun < 10
        fast.sendall(REQUEST % b"small")
        assert fast.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_head_that_trickles_in_has_no_more_time(start: Start) -> None:
    server = start(head_timeout="1s")
    with closing(connect(server)) as connection:
        connection.settimeout(0.1)
        begun = time.monotonic()
        answer = b""
        connection.sendall(b"GET /images/small HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        while not answer:
            assert time.monotonic() - begun < PATIENCE
            connection.sendall(b"x")
            try:
                answer = connection.recv(100)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("before", [b"", REQUEST % b"small", REQUEST % b"missing"])
def test_an_idle_connection_is_closed_after_keep_alive(start: Start, before: bytes) -> None:
    server = start(keep_alive="1s")
    with closing(connect(server)) as connection:
        connection.sendall(before)
        begun = time.monotonic()
        answer = closes(connection)
        assert 0.9 <= time.monotonic() - begun < 10
        assert answer.startswith(b"HTTP/1.1 " if before else b"")


@pytest.mark.parametrize("headers", [b"", b"Range: bytes=0-\r\n"])
def test_a_client_that_takes_nothing_is_cut_off_after_send_timeout(start: Start, headers: bytes) -> None:
    server = start(send_timeout="1s")
    with closing(connect(server)) as connection:
        connection.sendall((REQUEST % b"large").replace(b"\r\n\r\n", b"\r\n" + headers + b"\r\n") * 4)
        wait_until_gone(server, connection)
        others_are_served(server)


def wait_until_gone(server: Any, connection: socket.socket) -> None:
    """Wait until the server has let go of ``connection``, which reads nothing."""
    port = connection.getsockname()[1]
    deadline = time.monotonic() + PATIENCE
    while any(
        one.raddr and one.raddr.port == port for one in serving.psutil.Process(server.process.pid).net_connections()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
