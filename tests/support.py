"""What tests of every kind need: a port, an ETag, what a process has open, and to wait for something for so long."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

PATIENCE = 30.0
"""Seconds. Only what never happens takes them."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def etag_of(content: bytes) -> str:
    """Without quotes."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def wait_until(condition: Callable[[], Any], what: str = "it did not happen in time") -> Any:
    """What ``condition`` gives, as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


async def until(condition: Callable[[], Any], what: str = "it did not happen in time") -> Any:
    """As ``wait_until``, on an event loop; what ``condition`` gives may be awaitable."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


def open_memory_files() -> int:
    """How many files of memory (memfd_create(2)) this process has open for popular answers."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(str(entry.readlink()))
    return sum("memfd:lightfast" in link for link in links)
