"""A thousand clients ask for one picture of 1 MB at the same moment, and nobody has asked for it before.

The handlers' Redis client gets a connection for each of them and all the time it takes. With what it has by default, a
hundred connections and a time-out, most of the requests fail.
"""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import redis

from benchmarks import processes
from benchmarks.contestants import legacy_record
from benchmarks.headers import request
from benchmarks.pictures import picture
from benchmarks.plan import Advance, Plan, Result, spread

CLIENTS = 1000
SIZE = 1_000_000
ROUNDS = 7
TIMEOUT = 300
NAMES = ("naive", "cached", "lightfast")


def steps(plan: Plan) -> int:
    return rounds(plan) * len(NAMES)


def rounds(plan: Plan) -> int:
    return 1 if plan.quick else ROUNDS


def run(plan: Plan, advance: Advance) -> Result:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    content = picture(SIZE)
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    reads: dict[str, list[float]] = {name: [] for name in NAMES}
    with started() as (store, ports):
        for round in range(rounds(plan)):
            turn = round % len(NAMES)
            for name in NAMES[turn:] + NAMES[:turn]:
                advance(f"{name}, round {round + 1}")
                id = f"{name}-{round}.png"
                store.set(f"image:{id}", legacy_record(content))
                before = bytes_out(store)
                seconds[name].append(storm(ports[name], id, content))
                reads[name].append(times_sent(bytes_out(store) - before, len(legacy_record(content))))
                store.delete(f"image:{id}")
    return {
        "what": "1,000 clients for one cold PNG of 1 MB, a legacy JSON record in Valkey",
        "clients": CLIENTS,
        "bytes": len(content),
        "contestants": {
            name: {"last_byte_seconds": spread(seconds[name]), "store_reads": spread(reads[name])} for name in NAMES
        },
    }


def bytes_out(store: redis.Redis) -> int:
    """What the store itself says it has sent."""
    return int(store.info("stats")["total_net_output_bytes"])


def times_sent(sent: int, record: int) -> float:
    """How often the record went out, whatever the commands were; everything else that went out is small."""
    return float(round(sent / record))


def storm(port: int, id: str, content: bytes) -> float:
    """Seconds from the first request to the last byte of the last answer. Raises ``RuntimeError`` for a wrong one."""
    asked, scratch = request(id), memoryview(bytearray(1 << 20))
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        connections = []
        for _ in range(CLIENTS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT))
            selector.register(connection, selectors.EVENT_READ, (connection, Receiver(content)))
            connections.append(connection)
        started = time.perf_counter()
        for connection in connections:
            connection.sendall(asked)
        waiting = CLIENTS
        while waiting:
            ready = selector.select(TIMEOUT)
            if not ready:
                raise TimeoutError(f"{waiting} answers did not come")
            for key, _ in ready:
                connection, receiver = key.data
                count = connection.recv_into(scratch)
                if receiver.take(bytes(scratch[:count])):
                    selector.unregister(key.fileobj)
                    waiting -= 1
        return time.perf_counter() - started


class Receiver:
    """Holds what comes against what should come, and keeps none of it."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._head: bytes | None = b""
        self._received = 0

    def take(self, data: bytes) -> bool:
        """Whether the answer is complete."""
        if not data:
            raise RuntimeError("the server closed the connection within an answer")
        if self._head is not None:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return False
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"an answer is {head[:100].decode('latin-1')}")
            self._head = None
        if not self._content.startswith(data, self._received):
            raise RuntimeError("an answer has other bytes")
        self._received += len(data)
        return self._received == len(self._content)


@contextmanager
def started() -> Iterator[tuple[redis.Redis, Mapping[str, int]]]:
    with ExitStack() as stack:
        url = f"redis://127.0.0.1:{stack.enter_context(processes.valkey())}/0"
        wide = f"{url}?max_connections={2 * CLIENTS}&socket_timeout={TIMEOUT}"
        cached = stack.enter_context(processes.uvicorn("cached_handler:app", processes.BASELINES, REDIS_URL=wide))
        ports = {
            "naive": stack.enter_context(processes.naive_handler(wide)),
            "cached": cached.port,
            "lightfast": stack.enter_context(processes.serve(url, "--no-warm")).port,
        }
        yield stack.enter_context(redis.Redis.from_url(url)), ports
