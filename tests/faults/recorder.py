"""Writers and readers that work on the same images at random and write down what they did and saw, for ``history``."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import random
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import redis.asyncio as client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from tests.faults.history import Fault, History, Read, Rules, Violation, Write
from tests.support import etag_of

IDS = 200
READERS = 8
READ_PAUSE = 0.004
WRITE_PAUSE = 0.008
"""Seconds between two requests of one reader or writer at most: the checked lag is to be the servers', not ours."""

ANSWER_TIMEOUT = 15.0

now = time.monotonic
_numbers = itertools.count()


class Writer(Protocol):
    """Stores and removes. Returns once that is acknowledged; raises where the outcome is not known."""

    async def put(self, id: str, content: bytes, ttl: float | None) -> None: ...

    async def delete(self, id: str) -> None: ...

    async def close(self) -> None: ...


def another(picture: bytes) -> bytes:
    """The same PNG with a text chunk that no other has (PNG, third edition, §11.3.3.2)."""
    chunk = b"tEXtversion\0%d" % next(_numbers)
    return (
        picture[:-12] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + picture[-12:]
    )


class Unknown(Exception):
    """The outcome of a write is not known."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One keep-alive connection to a server; made anew, under another number, after it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.number = next(_numbers)

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """Raises ``OSError`` or ``EOFError`` where there is no whole answer."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await self._ask(method, target, body, headers)
        except BaseException:
            self.close()
            raise

    async def _ask(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *(f"{name}: {headers[name]}" for name in headers)]
        lines += [f"Content-Length: {len(body)}"] if body else []
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        status = int(head[0].split()[1])
        bodiless = method == "HEAD" or status in (204, 304)
        content = b"" if bodiless else await reader.readexactly(int(found.get("content-length", 0)))
        return Answer(status, found, content)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams, self.number = None, next(_numbers)


class HttpWriter:
    """Writes through a Lightfast server."""

    def __init__(self, port: int) -> None:
        self._connection = Connection(port)

    async def put(self, id: str, content: bytes, ttl: float | None) -> None:
        await self._change("PUT", f"/images/{id}?ttl={ttl or 0}", content)

    async def delete(self, id: str) -> None:
        await self._change("DELETE", f"/images/{id}")

    async def _change(self, method: str, target: str, content: bytes = b"") -> None:
        answer = await self._connection.ask(method, target, content, **{"Content-Type": "image/png"})
        if answer.status == 503:
            raise Unknown
        assert answer.status in (200, 201, 204, 404), answer

    async def close(self) -> None:
        self._connection.close()


class ApiWriter:
    """Writes through the Python API in a process of its own. Begin with ``start``."""

    SCRIPT = """
import asyncio, base64, sys
from lightfast import Lightfast, StoreUnavailable

async def main():
    async with Lightfast(sys.argv[1], ttl=0) as images:
        while line := (await asyncio.to_thread(sys.stdin.readline)).split():
            what, id, *rest = line
            try:
                if what == "put":
                    await images.put(base64.b64decode(rest[1]), id=id, ttl=float(rest[0]))
                else:
                    await images.delete(id)
            except StoreUnavailable:
                print("unknown", flush=True)
            else:
                print("done", flush=True)

asyncio.run(main())
"""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, store: str) -> ApiWriter:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-c", cls.SCRIPT, store)
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))

    async def put(self, id: str, content: bytes, ttl: float | None) -> None:
        await self._do("put", id, str(ttl or 0), base64.b64encode(content).decode())

    async def delete(self, id: str) -> None:
        await self._do("delete", id)

    async def _do(self, *words: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(words).encode() + b"\n")
        said = await self._process.stdout.readline()
        if said != b"done\n":
            assert said == b"unknown\n", said
            raise Unknown

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


class ForeignWriter:
    """Another application on the same Redis or Valkey: writes legacy JSON with SET, or hashes with HSET."""

    def __init__(self, redis: client.Redis | client.RedisCluster, *, hashes: bool) -> None:
        self._redis: Any = redis
        self._hashes = hashes

    async def put(self, id: str, content: bytes, ttl: float | None) -> None:
        key, lasts = f"image:{id}", round((ttl or 0) * 1000)
        if self._hashes:
            script = "redis.call('DEL',KEYS[1]) redis.call('HSET',KEYS[1],'content',ARGV[1]) "
            expire = "if ARGV[2]~='0' then redis.call('PEXPIRE',KEYS[1],ARGV[2]) end"
            await self._redis.eval(script + expire, 1, key, content, lasts)
        else:
            record = json.dumps({"base64_data": base64.b64encode(content).decode(), "mime_type": "image/png"})
            await self._redis.set(key, record, px=lasts or None)

    async def delete(self, id: str) -> None:
        await self._redis.delete(f"image:{id}")

    async def expire(self, id: str, ttl: float) -> None:
        await self._redis.execute_command("PEXPIRE", f"image:{id}", round(ttl * 1000), "LT")

    async def close(self) -> None:
        await self._redis.aclose()


def foreign_writers(port: int) -> list[Writer]:
    """Two applications beside Lightfast, straight on the server at ``port``."""

    def connect() -> client.Redis:
        retry = Retry(NoBackoff(), 0)
        return client.Redis(
            port=port, socket_timeout=5, socket_connect_timeout=1, retry=retry, single_connection_client=True
        )

    return [ForeignWriter(connect(), hashes=False), ForeignWriter(connect(), hashes=True)]


def foreign_cluster_writers(port: int) -> list[Writer]:
    """The same on a cluster that has a node at ``port``."""
    first, second = (client.RedisCluster(host="127.0.0.1", port=port, socket_timeout=5) for _ in range(2))
    return [ForeignWriter(first, hashes=False), ForeignWriter(second, hashes=True)]


@dataclass
class Recorder:
    """Lets ``writers`` and ``READERS`` readers of the servers at ``ports`` work, and writes down what happens.

    The caller makes faults happen while ``run`` is under way, inside ``fault``.
    """

    ports: Sequence[int]
    writers: Sequence[Writer]
    picture: bytes
    seed: int
    history: History = field(default_factory=History)
    ids: Sequence[str] = tuple(f"image-{number}" for number in range(IDS))

    async def run(self, seconds: float, faults: Callable[[], Awaitable[None]] | None = None) -> None:
        """Work for ``seconds``, and until ``faults`` has returned and its last fault is forgiven no more."""
        work = [
            self._write_for_ever(writer, random.Random(f"{self.seed}w{at}")) for at, writer in enumerate(self.writers)
        ]
        work += [
            self._read_for_ever(self.ports[at % len(self.ports)], random.Random(f"{self.seed}r{at}"))
            for at in range(READERS)
        ]
        tasks = [asyncio.ensure_future(one) for one in work]
        working = asyncio.gather(*tasks)
        try:
            ending = asyncio.gather(asyncio.sleep(seconds), *([faults()] if faults else []))
            await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
            assert not working.done() or working.result()
            ending.result()
        finally:
            # The client of Redis sends with wait_for, which may lose a cancellation in Python 3.11 (CPython #86296).
            while left := [task for task in tasks if not task.done()]:
                for task in left:
                    task.cancel()
                await asyncio.wait(left, timeout=0.1)
            await asyncio.gather(working, return_exceptions=True)
            for writer in self.writers:
                with contextlib.suppress(RedisError, OSError):
                    await writer.close()

    @asynccontextmanager
    async def fault(self, kind: str, *, silent: bool = False) -> AsyncIterator[None]:
        """Something goes wrong in here. ``silent``: without a sign of it, so that old answers may pass for new."""
        begun = now()
        at = len(self.history.faults)
        self.history.faults.append(Fault(kind, begun, float("inf"), silent))
        try:
            yield
        finally:
            self.history.faults[at] = Fault(kind, begun, now(), silent)

    def emptied(self, begun: float) -> None:
        """The store has lost everything at some moment since ``begun``."""
        ended = now()
        self.history.writes += [Write(id, None, begun, ended, 0) for id in self.ids]

    def doubtful(self, begun: float) -> None:
        """Another server took over at some moment since ``begun``, and writes acknowledged since then may be lost.

        So they are neither held against a reader nor for one: replication is not coherence's promise.
        """
        history = self.history
        lost = {write.etag for write in history.writes if write.settled >= begun and write.etag is not None}
        history.writes = [
            replace(write, acknowledged=None) if write.settled >= begun else write for write in history.writes
        ]
        history.reads = [
            replace(read, connection=next(_numbers)) if read.etag in lost or read.status == 404 else read
            for read in history.reads
        ]

    def violations(self, rules: Rules) -> list[Violation]:
        """What is wrong; prints one line about all that was checked."""
        found, history = self.history.violations(rules), self.history
        unknown = sum(write.acknowledged is None for write in history.writes)
        faults = Counter(fault.kind for fault in history.faults)
        stale = sum(read.age is not None for read in history.reads)
        refused = sum(read.status == 503 for read in history.reads)
        sys.stderr.write(
            f"\nhistory, seed {self.seed}: {len(history.writes)} writes ({unknown} of unknown outcome), "
            f"{len(history.reads)} reads ({stale} stale, {refused} refused), "
            f"faults {dict(faults)}, violations {len(found)} {dict(Counter(one.rule for one in found))}\n"
        )
        return found

    async def _write_for_ever(self, writer: Writer, chance: random.Random) -> None:
        while True:
            id, what = chance.choice(self.ids), chance.random()
            etag: str | None = None
            lasts = float("inf")
            if what < 0.7:
                content = another(self.picture)
                etag = etag_of(content)
                lasts = round(chance.uniform(0.05, 1.5), 3) if what < 0.2 else lasts
                work = writer.put(id, content, lasts if lasts < float("inf") else None)
            elif what < 0.85 or not isinstance(writer, ForeignWriter):
                lasts, work = 0.0, writer.delete(id)
            else:
                lasts = chance.uniform(0.05, 1.0)
                work = writer.expire(id, lasts)
            begun, acknowledged = now(), None
            at = len(self.history.writes)
            self.history.writes.append(Write(id, etag, begun, None, lasts))
            with contextlib.suppress(Unknown, OSError, EOFError, RedisError):
                await work
                acknowledged = now()
            self.history.writes[at] = Write(id, etag, begun, acknowledged, lasts)
            await asyncio.sleep(chance.uniform(0, 2 * WRITE_PAUSE))

    async def _read_for_ever(self, port: int, chance: random.Random) -> None:
        connection = Connection(port)
        known: dict[str, str] = {}
        try:
            while True:
                id, what = chance.choice(self.ids), chance.random()
                method = "HEAD" if what < 0.1 else "GET"
                conditions = {"If-None-Match": f'"{known[id]}"'} if what > 0.8 and id in known else {}
                number, begun = connection.number, now()
                with contextlib.suppress(OSError, EOFError):
                    answer = await connection.ask(method, f"/images/{id}", **conditions)
                    read = _read(id, number, begun, answer, complete=method == "GET")
                    self.history.reads.append(read)
                    if read.etag is not None:
                        known[id] = read.etag
                await asyncio.sleep(chance.uniform(0, 2 * READ_PAUSE))
        finally:
            connection.close()


def _read(id: str, connection: int, begun: float, answer: Answer, *, complete: bool) -> Read:
    found = answer.status in (200, 304)
    marked = "detail=stale-store-away" in answer.headers.get("cache-status", "")
    return Read(
        id,
        connection,
        begun,
        now(),
        answer.status,
        etag=answer.headers["etag"].strip('"') if found else None,
        digest=etag_of(answer.body) if answer.status == 200 and complete else None,
        age=int(answer.headers["age"]) if marked else None,
    )
