"""A writer that is killed in the middle loses nothing that it was told is stored, and leaves nothing half done."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from tests.support import etag_of

from lightfast.stores.redis import RedisStore
from lightfast.stores.sqlite import SqliteStore

ROUNDS = 30

# Forks a writer for every line that it gets, and says so when that is dead: importing once is quicker.
WRITERS = """
import asyncio, hashlib, os, random, sys
from lightfast.model import Draft
from lightfast.stores.redis import RedisStore
from lightfast.stores.sqlite import SqliteStore

async def write(place, seed):
    chance = random.Random(seed)
    store = RedisStore(place) if place.startswith("redis") else SqliteStore(place)
    await store.open()
    turn = 0
    while True:
        content = chance.randbytes(chance.randint(1_000_000, 5_000_000))
        etag = hashlib.md5(content).hexdigest()
        id = f"image-{turn % 3}"
        turn += 1
        print("begun", id, etag, flush=True)
        await store.put(Draft(id, content, etag, "image/png", 1, 1), 3600)
        print("done", id, etag, flush=True)

for line in sys.stdin:
    writer = os.fork()
    if writer == 0:
        asyncio.run(write(sys.argv[1], int(line)))
    print("pid", writer, flush=True)
    os.waitpid(writer, 0)
    print("dead", flush=True)
"""


@pytest.fixture
def start_writers():
    """Starts the process that forks writers into a store."""
    started = []

    def start(place):
        command = [sys.executable, "-c", WRITERS, str(place)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.communicate(timeout=60)


def write_and_kill(writers, seed, chance):
    """What one writer said until it was killed -9 somewhere within its first few images."""
    writers.stdin.write(f"{seed}\n")
    writers.stdin.flush()
    said = until_dead(writers.stdout)
    lines, pid = [], None
    wanted = chance.randint(2, 10)
    while pid is None or len(lines) < wanted:
        word, *rest = next(said)
        if word == "pid":
            pid = int(rest[0])
        else:
            lines.append([word, *rest])
    # The moment is random on purpose: it falls into the middle of whatever comes next.
    time.sleep(chance.uniform(0, 0.04))
    os.kill(pid, signal.SIGKILL)
    return lines + list(said)


def until_dead(output):
    """The words of each line until a writer is dead."""
    while (line := output.readline()) != "dead\n":
        assert line.endswith("\n"), "the process that forks writers is gone"
        yield line.split()


def may_be_stored(said, before):
    """For each id the ETags that may be there: the last acknowledged one, or the one that was being written."""
    allowed = {id: {etag} for id, etag in before.items()}
    for word, id, etag in said:
        if word == "done":
            allowed[id] = {etag}
        else:
            allowed.setdefault(id, {None}).add(etag)
    return allowed


async def check(store, allowed):
    """The images that are there, each whole, each one that may be."""
    found = {}
    for id, etags in allowed.items():
        image = await store.get(id)
        assert (image and image.meta.etag) in etags
        if image is not None:
            assert etag_of(image.content) == image.meta.etag
            assert image.meta.expires is not None
            found[id] = image.meta.etag
    assert {meta.id: meta.etag for meta in (await store.list(None, 100)).items} == found
    return found


async def test_sqlite(start_writers, tmp_path):
    path = tmp_path / "store" / "images.db"
    path.parent.mkdir()
    chance, found, writers = random.Random(1), {}, start_writers(path)
    for seed in range(ROUNDS):
        allowed = may_be_stored(write_and_kill(writers, seed, chance), found)
        store = SqliteStore(path)
        await store.open()
        found = await check(store, allowed)
        await store.close()
        assert [file.name for file in path.parent.iterdir()] == ["images.db"]
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        orphans = "SELECT count(*) FROM contents LEFT JOIN images USING (number) WHERE images.id IS NULL"
        assert connection.execute(orphans).fetchall() == [(0,)]
        connection.close()
    assert len(found) == 3


async def test_valkey(start_writers, valkey):
    chance, found, writers = random.Random(2), {}, start_writers(valkey.url)
    store = RedisStore(valkey.url)
    await store.open()
    for seed in range(ROUNDS):
        allowed = may_be_stored(write_and_kill(writers, seed, chance), found)
        found = await check(store, allowed)
        keys = valkey.command("KEYS", "*")
        assert keys.count(b"$") == len(found)
    await store.close()
    assert len(found) == 3
