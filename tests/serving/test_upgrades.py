"""A connection that the hot path has answered on, given to a WebSocket protocol: it is that protocol's alone."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable
from typing import Any, BinaryIO

import psutil
from tests.support import wait_until

Paint = Callable[..., bytes]
StartScript = Callable[[str], Any]

ECHO = """
import asyncio
import sys
import uvicorn
from lightfast.server import create_app
from lightfast.settings import load_settings

class Echo(asyncio.Protocol):
    '''Agrees to whatever it is sent first, and sends everything back, that included.'''

    def __init__(self, config, server_state, app_state):
        self.connections = server_state.connections
        self.agreed = False

    def connection_made(self, transport):
        self.transport = transport
        self.connections.add(self)

    def connection_lost(self, exc):
        self.connections.discard(self)

    def data_received(self, data):
        if not self.agreed:
            self.agreed = True
            self.transport.write(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n\\r\\n")
        self.transport.write(data)

    def shutdown(self):
        self.transport.close()

app = create_app(load_settings(store="memory://", log="off", keep_alive="1s"))
uvicorn.run(app, port=int(sys.argv[1]), http="lightfast.web.hot:HotProtocol", ws=Echo, access_log=False)
"""
HIT = b"GET /images/a HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET /images/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Odd: a  b,\t\xe9\r\n\r\n"
)


def head_of(answer: BinaryIO) -> bytes:
    lines = iter(answer.readline, b"\r\n")
    return b"".join(lines) + b"\r\n"


def is_hot(connection: socket.socket, answer: BinaryIO, content: bytes) -> bool:
    connection.sendall(HIT)
    head = head_of(answer)
    assert answer.read(len(content)) == content
    return b"server-timing: hot\r\n" in head


def test_an_upgrade_after_a_hit_leaves_the_connection_to_the_other_protocol(
    start_script: StartScript, picture: Paint
) -> None:
    server = start_script(ECHO)
    process = psutil.Process(server.process.pid)
    content = picture(200, 150)
    with server.client() as client:
        assert client.put("/images/a", content=content).status_code == 201
    wait_until(lambda: not process.net_connections()[1:], "the connections so far are closed")
    descriptors = process.num_fds()
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, 20) as connection, connection.makefile("rb") as answer:
        wait_until(lambda: is_hot(connection, answer, content))

        connection.sendall(UPGRADE)
        assert head_of(answer).startswith(b"HTTP/1.1 101 ")
        # Uvicorn hands on names in lower case, and values as they came.
        assert head_of(answer) == re.sub(rb"\n[^:\r]+:", lambda name: name[0].lower(), UPGRADE)
        assert process.num_fds() == descriptors + 1  # the one that sends past the transport is closed

        for sent in (HIT, HIT * 3, UPGRADE, b"\r\n", random.Random(1).randbytes(60_000)):
            connection.sendall(sent)
            assert answer.read(len(sent)) == sent

        # Upkeep closes what idles on the hot path, and has nothing to say here.
        with socket.create_connection(address, 20) as idle, idle.makefile("rb") as its_answer:
            assert is_hot(idle, its_answer, content)
            assert its_answer.read() == b""
        connection.sendall(HIT)
        assert answer.read(len(HIT)) == HIT
    wait_until(lambda: process.num_fds() == descriptors)


def test_an_upgrade_behind_a_request_whose_answer_is_under_way_is_ignored(
    start_script: StartScript, picture: Paint
) -> None:
    server = start_script(ECHO)
    content = picture(200, 150)
    with server.client() as client:
        assert client.put("/images/a", content=content).status_code == 201
    with (
        socket.create_connection(("127.0.0.1", server.port), 20) as connection,
        connection.makefile("rb") as answer,
    ):
        connection.sendall(HIT + UPGRADE + HIT)
        for _ in range(3):
            assert head_of(answer).startswith(b"HTTP/1.1 200 ")
            assert answer.read(len(content)) == content
        connection.sendall(UPGRADE)
        assert head_of(answer).startswith(b"HTTP/1.1 101 ")
