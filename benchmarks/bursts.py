"""Requests of which each is expensive for the server: a few at a time, each on a connection of its own."""

from __future__ import annotations

import selectors
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.client import TIMEOUT, Client
from benchmarks.processes import Process

AT_ONCE = 4
LARGEST = 1 << 20
SETTLED, SETTLING = 0.15, 120.0
"""Seconds in which a server that is at rest does next to nothing, and how long it may take until then."""


@dataclass(frozen=True, slots=True)
class Figures:
    rate: float
    """Answers per second."""
    p50: float
    """Milliseconds, the connection included."""
    cpu: float
    """Milliseconds of the server's processor for each answer."""


def burst(server: Process, requests: Sequence[bytes], *, largest: int = LARGEST) -> Figures:
    """Send all ``requests``, ``AT_ONCE`` at a time. Raises ``RuntimeError`` where one is not answered with 200.

    ``largest``: bytes that an answer may have.
    """
    seconds: list[float] = []
    coming = iter(requests)
    with selectors.DefaultSelector() as selector:

        def send_next() -> None:
            request = next(coming, None)
            if request is not None:
                started = time.perf_counter()
                client = Client(server.port, largest)
                selector.register(client.socket, selectors.EVENT_READ, (client, started))
                client.send(request)

        before, started = server.cpu_seconds(), time.perf_counter()
        for _ in range(AT_ONCE):
            send_next()
        while len(seconds) < len(requests):
            ready = selector.select(TIMEOUT)
            if not ready:
                raise TimeoutError(f"{len(requests) - len(seconds)} answers did not come")
            for key, _ in ready:
                client, sent = key.data
                if client.receive():
                    seconds.append(time.perf_counter() - sent)
                    _check(client)
                    selector.unregister(key.fileobj)
                    client.socket.close()
                    send_next()
        whole, used = time.perf_counter() - started, server.cpu_seconds() - before
    return Figures(len(requests) / whole, 1000 * statistics.median(seconds), 1000 * used / len(requests))


def _check(client: Client) -> None:
    answer = client.answer(0)
    if answer.status != 200:
        raise RuntimeError(f"an answer is {answer.status}: {bytes(answer.body[:200])!r}")


def fetch(port: int, request: bytes) -> bytes:
    """The body of one answer. Raises ``RuntimeError`` unless it is 200."""
    with Client(port, LARGEST) as client:
        body = bytes(client.ask(request).body)
        _check(client)
        return body


def settle(server: Process) -> None:
    """Wait until the server is at rest: what it does for new pictures on its own is no part of what is measured."""
    deadline = time.monotonic() + SETTLING
    used = server.cpu_seconds()
    while time.monotonic() < deadline:
        time.sleep(SETTLED)
        before, used = used, server.cpu_seconds()
        if used - before <= 0.1 * SETTLED:
            return
    raise RuntimeError("the server does not come to rest")
