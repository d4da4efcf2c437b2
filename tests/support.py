"""What tests of every kind need: a free port, the ETag of an image, and to wait for something with a deadline."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import socket
import time
from collections.abc import Callable
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
