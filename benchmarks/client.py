"""A client that does as little as Python can between sending a request and the last byte of its answer."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

TIMEOUT = 60
LARGEST_HEAD = 8192


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``seconds`` from sending the request to the last byte."""

    status: int
    headers: dict[str, str]
    body: memoryview
    """Valid until the next request on the connection."""
    seconds: float

    @property
    def is_hot(self) -> bool:
        return self.headers.get("server-timing") == "hot"


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int, largest: int = 4 << 20) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel's time limits from now on: with one of Python's, each call polls first.
        self.socket.settimeout(None)
        for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.socket.setsockopt(socket.SOL_SOCKET, limit, struct.pack("@ll", TIMEOUT, 0))
        self._buffer = memoryview(bytearray(largest + LARGEST_HEAD))
        self._received = 0
        self._expected: int | None = None
        self._head = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, request: bytes) -> Answer:
        """Send ``request`` and wait for the whole answer. Raises ``OSError``."""
        started = time.perf_counter()
        self.send(request)
        while not self.receive(socket.MSG_WAITALL if self._expected else 0):
            pass
        return self.answer(time.perf_counter() - started)

    def send(self, request: bytes) -> None:
        self._received, self._expected = 0, None
        self.socket.sendall(request)

    def receive(self, flags: int = 0) -> bool:
        """Take what has come, or with ``MSG_WAITALL`` what is still to come; whether the answer is complete.

        Raises ``OSError``.
        """
        count = self.socket.recv_into(self._buffer[self._received : self._expected], 0, flags)
        if count == 0:
            raise ConnectionError("the server closed the connection within an answer")
        self._received += count
        if self._expected is None:
            head, found, _ = bytes(self._buffer[: min(self._received, LARGEST_HEAD)]).partition(b"\r\n\r\n")
            if not found:
                return False
            self._head = head
            self._expected = len(head) + 4 + self._length(head)
        return self._received >= self._expected

    def answer(self, seconds: float) -> Answer:
        lines = self._head.decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines[1:])
        headers = {name.lower(): value.strip() for name, _, value in fields}
        return Answer(int(lines[0].split()[1]), headers, self._buffer[len(self._head) + 4 : self._received], seconds)

    @staticmethod
    def _length(head: bytes) -> int:
        if head[9:12] in (b"204", b"304"):
            return 0
        _, found, rest = head.lower().partition(b"\r\ncontent-length:")
        if not found:
            raise RuntimeError(f"an answer without Content-Length: {head.decode('latin-1')}")
        return int(rest.partition(b"\r\n")[0])


def ask_together(clients: Sequence[Client], requests: Sequence[bytes]) -> list[Answer]:
    """Send every client its request at once; the answers, each timed from the first request that was sent."""
    seconds = [0.0] * len(clients)
    with selectors.DefaultSelector() as selector:
        for at, client in enumerate(clients):
            selector.register(client.socket, selectors.EVENT_READ, at)
        started = time.perf_counter()
        for client, request in zip(clients, requests, strict=True):
            client.send(request)
        waiting = len(clients)
        while waiting:
            ready = selector.select(TIMEOUT)
            if not ready:
                raise TimeoutError(f"{waiting} answers did not come")
            for key, _ in ready:
                if clients[key.data].receive():
                    seconds[key.data] = time.perf_counter() - started
                    selector.unregister(key.fileobj)
                    waiting -= 1
    return [client.answer(took) for client, took in zip(clients, seconds, strict=True)]
