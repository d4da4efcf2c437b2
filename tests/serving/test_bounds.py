"""What is bounded stays bounded: memory under a thousand images, store reads under a stampede."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import signal
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support import etag_of

from lightfast import Lightfast
from lightfast.cache.tiered import ENTRY_OVERHEAD

Paint = Callable[..., bytes]
Start = Callable[..., Any]

MIB = 1024 * 1024
IMAGES = 1000
STAMPEDE = 500
HEAP = 64 * MIB
"""glibc's HEAP_MAX_SIZE."""


@pytest.fixture(scope="module")
def one_megabyte(picture: Paint) -> bytes:
    data = picture(730, 500)
    assert 1_000_000 <= len(data) < 1_050_000
    return data


def numbered(png: bytes, number: int) -> bytes:
    """Another picture of the same length: a comment before IEND, the last 12 bytes, says which."""
    chunk = b"tEXt" + b"number\0%06d" % number
    return png[:-12] + (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + png[-12:]


# Memory


def ask(connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    connection.request(method, path, body)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status in (200, 201, 204), content
    return content


@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
def test_a_thousand_images_leave_the_servers_memory_bounded(
    kind: str, start_lightfast: Start, one_megabyte: bytes, request: pytest.FixtureRequest
) -> None:
    store = {"store": request.getfixturevalue("valkey_url")} if kind == "valkey" else {}
    server = start_lightfast(memory="50MiB", log="off", **store)
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        ask(connection, "PUT", "/images/first", numbered(one_megabyte, 0))
        ask(connection, "DELETE", "/images/first")
    idle = server.resident_bytes()

    def work(numbers: range) -> int:
        """The most that the server held while these images were written, read, and some of them read again."""
        highest = 0
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
            for number in numbers:
                ask(connection, "PUT", f"/images/m{number}", numbered(one_megabyte, number))
                assert ask(connection, "GET", f"/images/m{number}") == numbered(one_megabyte, number)
                if number >= 40:
                    ask(connection, "GET", f"/images/m{number - 40}")
                if number >= 300:  # so that the store needs no gigabyte
                    ask(connection, "DELETE", f"/images/m{number - 300}")
                highest = max(highest, server.resident_bytes())
        return highest

    with ThreadPoolExecutor(4) as threads:
        highest = max(threads.map(work, [range(at, IMAGES, 4) for at in range(4)]))
    assert highest - idle <= 120 * MIB
    deadline = time.monotonic() + 10
    while server.resident_bytes() - idle > 1.25 * 50 * MIB:
        assert time.monotonic() < deadline, "what was needed for a moment is not given back"
        time.sleep(0.1)


def heaps_of_threads(pid: int) -> int:
    """glibc reserves 64 MiB for each, and makes the beginning writable."""
    mappings = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    bounds = [(*(int(bound, 16) for bound in words[0].split("-")), words[1]) for words in mappings]
    return sum(
        this[2] == "rw-p" and following[2] == "---p" and this[1] == following[0] and following[1] - this[0] == HEAP
        for this, following in pairwise(bounds)
        if this[0] % HEAP == 0
    )


def test_threads_allocate_from_one_heap(start_lightfast: Start, one_megabyte: bytes) -> None:
    server = start_lightfast(log="off", variants="open")
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        ask(connection, "PUT", "/images/a", one_megabyte)
        ask(connection, "GET", "/images/a?w=64&fm=webp")
    assert heaps_of_threads(server.process.pid) == 0


async def test_a_thousand_images_never_take_the_accounting_above_its_bound(one_megabyte: bytes) -> None:
    bound = 50 * MIB
    async with Lightfast("memory://", memory=bound) as images:
        memory = images._open.tier.memory  # nothing public tells it yet
        fullest = 0

        async def live(number: int) -> None:
            nonlocal fullest
            await images.put(numbered(one_megabyte, number), id=f"m{number}")
            for read in (number, number - 30, number):
                await images.get(f"m{read}")
                assert memory.bytes <= bound
                fullest = max(fullest, memory.bytes)
            await images.delete(f"m{number - 80}")

        for start in range(0, IMAGES, 4):
            await asyncio.gather(*(live(number) for number in range(start, start + 4)))
        kept = [memory.peek(id) for id in memory]
        assert sum(len(image.content) + ENTRY_OVERHEAD for image in kept if image is not None) == memory.bytes
        assert bound - 2 * MIB < fullest, "the bound was reached"


# Stampedes


@contextmanager
def stopped(store: Any) -> Iterator[None]:
    """Let the store's process answer nothing meanwhile, so that whoever asks for the same comes to wait."""
    store.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        store.process.send_signal(signal.SIGCONT)


def calls(store: Any) -> dict[str, int]:
    """How often each reading command was carried out since ``CONFIG RESETSTAT``, by the store's own count."""
    found = re.findall(rb"cmdstat_(get|hmget|hstrlen|hget|hgetall):calls=(\d+)", store.command("INFO", "commandstats"))
    return {name.decode(): int(count) for name, count in found}


ONE_READ = {"get": 1, "hmget": 1}  # one transaction that asks for either kind of record


def wait_until_received(server: Any, requests: int) -> None:
    """Wait until the server has taken ``requests`` from its sockets and begun to work on each."""
    deadline = time.monotonic() + 4
    port = f":{server.port:04X}"
    while True:
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = [row for row in rows if row[1].endswith(port) and row[3] == "01"]  # established
        if len(ours) >= requests and all(row[4].endswith(":00000000") for row in ours):  # nothing left to receive
            break
        assert time.monotonic() < deadline, f"{len(ours)} connections"
        time.sleep(0.01)
    # Requests are begun in the order they come; once this one is answered, all of them wait for the store.
    with server.client() as client:
        assert client.get("/healthz").status_code == 200


def stampede(
    server: Any, store: Any, path: str, leaving: int = 0, method: str = "GET", fields: str = ""
) -> list[tuple[HTTPResponse, bytes]]:
    """Ask ``STAMPEDE`` times for one image at the same time. The first ``leaving`` hang up before the store answers."""
    with ExitStack() as stack:
        with stopped(store):
            connections = []
            for _ in range(STAMPEDE):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
                connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
                connections.append(connection)
            wait_until_received(server, STAMPEDE)
            for connection in connections[:leaving]:
                connection.close()
        answers = []
        for connection in connections[leaving:]:
            answer = HTTPResponse(connection, method=method)
            answer.begin()
            answers.append((answer, answer.read()))
        return answers


@pytest.mark.own_core
@pytest.mark.parametrize("form", ["hash", "json"])
@pytest.mark.parametrize("leaving", [0, 100])
def test_five_hundred_cold_requests_are_one_store_read(
    form: str, leaving: int, start_lightfast: Start, valkey: Any, one_megabyte: bytes
) -> None:
    # Else what another app stores would be in memory by then.
    server = start_lightfast(store=valkey.url, log="off", warm=False, previews=False)
    with server.client() as client:
        assert client.get("/readyz").status_code == 200  # and a connection to the store is there
        if form == "hash":
            client.put("/images/a", content=one_megabyte)
        else:
            valkey.command("SET", "image:a", json.dumps({"base64_data": base64.b64encode(one_megabyte).decode()}))
    valkey.command("CONFIG", "RESETSTAT")
    answers = stampede(server, valkey, "/images/a", leaving)
    assert calls(valkey) == ONE_READ
    assert {(answer.status, content == one_megabyte) for answer, content in answers} == {(200, True)}
    collapsed = [answer.headers["cache-status"].endswith("; collapsed") for answer, _ in answers]
    assert sum(collapsed) == len(answers) - (leaving == 0), "everybody but the first waited for it"


@pytest.mark.parametrize(
    ("method", "tag", "status"), [("GET", "current", 304), ("GET", "another", 200), ("HEAD", "another", 200)]
)
@pytest.mark.own_core
def test_five_hundred_cold_questions_for_a_record_that_has_to_be_read_whole_read_it_once(
    method: str, tag: str, status: int, start_lightfast: Start, valkey: Any, picture: Paint
) -> None:
    server = start_lightfast(store=valkey.url, log="off", warm=False, previews=False)
    content = picture()
    with server.client() as client:
        assert client.get("/readyz").status_code == 200
        valkey.command("SET", "image:a", json.dumps({"base64_data": base64.b64encode(content).decode()}))
        valkey.command("CONFIG", "RESETSTAT")
        etag = etag_of(content if tag == "current" else b"")
        answers = stampede(server, valkey, "/images/a", method=method, fields=f'If-None-Match: "{etag}"\r\n')
        assert {answer.status for answer, _ in answers} == {status}
        assert {body for _, body in answers} == {content if (method, status) == ("GET", 200) else b""}
        assert calls(valkey)["get"] == 1
        assert client.get("/images/a").headers["cache-status"] == "lightfast; hit", "what was read is kept"
        assert calls(valkey)["get"] == 1


@pytest.mark.own_core
async def test_a_cancelled_leader_takes_nobody_down(valkey: Any, picture: Paint) -> None:
    async with Lightfast(valkey.url, previews=False) as images:
        await images.put(picture(), id="a")
        valkey.command("CONFIG", "RESETSTAT")
        with stopped(valkey):
            leader, *followers = [asyncio.create_task(images.get("a")) for _ in range(20)]
            await asyncio.sleep(0)  # each has begun
            leader.cancel()
            followers.pop().cancel()
            with pytest.raises(asyncio.CancelledError):
                await leader
        found = await asyncio.gather(*followers)
        assert {image.content for image in found if image is not None} == {picture()}
        assert len(found) == 18
        assert calls(valkey) == ONE_READ


@pytest.mark.own_core
def test_five_hundred_requests_for_a_missing_image_are_one_store_read(
    start_lightfast: Start, valkey: Any, picture: Paint
) -> None:
    server = start_lightfast(store=valkey.url, log="off", missing_ttl="10m")
    with server.client() as client:
        assert client.get("/readyz").status_code == 200
        valkey.command("CONFIG", "RESETSTAT")
        answers = stampede(server, valkey, "/images/nobody")
        assert {answer.status for answer, _ in answers} == {404}
        assert {client.get("/images/nobody").status_code for _ in range(50)} == {404}
        assert calls(valkey) == ONE_READ
        assert client.put("/images/nobody", content=picture()).status_code == 201
        assert client.get("/images/nobody").content == picture(), "a put clears what was remembered"
