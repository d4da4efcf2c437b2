"""The first request for an image that an existing app keeps as base64 in JSON: Lightfast against the usual handler.

A PNG of about 1.05 MB, 1.4 MB as a record, in one Valkey server. Both servers are asked for the same id in each
round, taking turns at being first, over one connection each; no id comes twice, so that nothing is in memory.
Times are from sending the request to the last byte of the answer. The MD5 of the picture, which the ETag needs before
anything can be sent, is timed alone for comparison: no answer can be faster.

    .venv/bin/python -m benchmarks.first_request
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import socket
import statistics
import time
from pathlib import Path

import pyvips
import redis

from benchmarks import processes

RESULT = Path(__file__).parent / "results" / "first_request.json"
ROUNDS = 80
WARM_UP = 10
BATCH = 10
"""Records that are in the store at the same time, so that it needs little memory."""


class Reader:
    """Reads over one connection, with as little work between sending and the last byte as Python can do."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._buffer = memoryview(bytearray(4 << 20))

    def fetch(self, id: str, size: int) -> tuple[float, bytes]:
        """Seconds that it took, and the body of ``size`` bytes."""
        request = f"GET /images/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        started = time.perf_counter()
        self._socket.sendall(request)
        received, expected = 0, size
        while received < expected:
            count = self._socket.recv_into(self._buffer[received:])
            if count == 0:
                raise ConnectionError("the server hung up")
            received += count
            if expected == size:
                head, found, _ = bytes(self._buffer[: min(received, 4096)]).partition(b"\r\n\r\n")
                expected += len(head) + 4 if found else 4096
        seconds = time.perf_counter() - started
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(head.decode())
        return seconds, bytes(self._buffer[expected - size : received])


def measure(picture: bytes) -> dict[str, list[float]]:
    """Seconds of each round, for both servers and for hashing alone."""
    record = json.dumps({"base64_data": base64.b64encode(picture).decode(), "mime_type": "image/png"})
    times: dict[str, list[float]] = {"lightfast": [], "naive": [], "md5": []}
    with processes.valkey() as store:
        url = f"redis://127.0.0.1:{store}/0"
        with (
            redis.Redis.from_url(url) as app,
            processes.lightfast(url) as ours,
            processes.naive_handler(url) as theirs,
        ):
            readers = {"lightfast": Reader(ours), "naive": Reader(theirs)}
            for number in range(WARM_UP + ROUNDS):
                if number % BATCH == 0:
                    app.flushall()
                    for coming in range(number, number + BATCH):
                        app.set(f"image:first{coming}", record)
                for name in sorted(readers, reverse=number % 2 == 1):
                    seconds, body = readers[name].fetch(f"first{number}", len(picture))
                    if body != picture:
                        raise RuntimeError(f"{name} sent other bytes")
                    if number >= WARM_UP:
                        times[name].append(seconds)
                if number >= WARM_UP:
                    times["md5"].append(hashing(picture))
    return times


def hashing(picture: bytes) -> float:
    started = time.perf_counter()
    hashlib.md5(picture, usedforsecurity=False).hexdigest()
    return time.perf_counter() - started


def paint() -> bytes:
    noise = pyvips.Image.gaussnoise(745, 505, mean=128, sigma=40, seed=1).cast("uchar")
    return bytes(noise.bandjoin([noise.rot180(), noise.fliphor()]).copy(interpretation="srgb").write_to_buffer(".png"))


def summarize(times: dict[str, list[float]]) -> dict[str, object]:
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return {
        "what": "first request of a legacy JSON record with a PNG of 1.05 MB, milliseconds",
        "rounds": ROUNDS,
        "median_ms": {name: round(median * 1000, 3) for name, median in medians.items()},
        "ratio": round(medians["lightfast"] / medians["naive"], 3),
        "ms": {name: [round(second * 1000, 3) for second in seconds] for name, seconds in times.items()},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def main() -> None:
    times = measure(paint())
    summary = summarize(times)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(summary, indent=1) + "\n")
    print("First request of a legacy record (1.4 MB of JSON), milliseconds")
    print(f"{'':12}{'median':>9}{'fastest':>9}{'90 %':>9}")
    for name, seconds in times.items():
        values = (statistics.median(seconds), min(seconds), statistics.quantiles(seconds, n=10)[-1])
        print(f"{name:12}" + "".join(f"{value * 1000:9.2f}" for value in values))
    print(f"Lightfast takes {summary['ratio']} of the time of the naive handler.")


if __name__ == "__main__":
    main()
