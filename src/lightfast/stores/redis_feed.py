"""Brings the changes that a Redis or Valkey server pushes ("Client-side caching in Redis", broadcasting mode)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from redis.asyncio.connection import AbstractConnection

from lightfast.errors import StoreUnavailable
from lightfast.model import Change
from lightfast.ports import FeedObserver
from lightfast.stores.redis_keys import Command, Reply, value

HEARTBEAT = 0.2
"""Seconds between two heartbeats on the connection that the pushes come by."""

UNHEARD = 2
"""Heartbeats without a word after them until the next is due, at which the link counts as lost."""

SILENCE = HEARTBEAT * (UNHEARD + 1)
"""Seconds in which a silent link is found. They are counted in heartbeats, not by the clock: to a process that the
machine has let stand still for longer, what came meanwhile is only waiting to be read."""

PUSHES_PER_TURN = 32
"""Pushes that are taken in one go; then the event loop gets a turn, however many more are waiting."""


Heartbeat = tuple[Command, Callable[[Reply], None]]
"""A command that asks whether the other end is alive, and what the reply must stand: raises ``StoreUnavailable``."""

PING: Heartbeat = (("PING",), value)


async def track(connection: AbstractConnection, prefix: str) -> None:
    """From now on ``connection``, one of its own, brings every change of a key with ``prefix``."""
    # Without a handler the client only logs them. Whatever this one returns, ``read_response`` gives to us.
    parser: Any = connection._parser  # the client has no public access to it
    parser.set_invalidation_push_handler(_as_it_is)
    await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix)
    await connection.read_response()


async def listen(
    connection: AbstractConnection, prefix: str, observer: FeedObserver, heartbeat: Heartbeat = PING
) -> NoReturn:
    """Pass on what ``connection`` brings after ``track``, until it breaks, is silent, or a heartbeat fails."""
    command, check = heartbeat
    beats = _Beats(connection, command)

    async def read_for_ever() -> NoReturn:
        turns = 0
        while True:
            message = await connection.read_response(push_request=True)
            beats.unheard = 0
            if isinstance(message, list) and message and message[0] == b"invalidate":
                _tell(observer, message, len(prefix.encode()))
            else:
                check(message)
                observer.alive(beats.answered())
            turns += 1
            if turns % PUSHES_PER_TURN == 0:
                await asyncio.sleep(0)

    await until_one_fails([asyncio.create_task(beats.send_for_ever()), asyncio.create_task(read_for_ever())])


async def until_one_fails(tasks: Collection[asyncio.Task[NoReturn]]) -> NoReturn:
    """Wait until one of ``tasks`` ends, end all the others, and raise what it raised."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    raise StoreUnavailable


class _Beats:
    """Asks whether the other end is alive, and knows how long the answer took: answers come in order."""

    def __init__(self, connection: AbstractConnection, command: Command) -> None:
        self._connection = connection
        self._command = command
        self._sent: list[float] = []
        self.unheard = 0
        """How many were sent since anything was heard."""

    async def send_for_ever(self) -> NoReturn:
        """Raises ``StoreUnavailable`` when nothing is heard any more."""
        while self.unheard < UNHEARD:
            self._sent.append(time.perf_counter())
            self.unheard += 1
            await self._connection.send_command(*self._command)
            await asyncio.sleep(HEARTBEAT)
        raise StoreUnavailable("The store has gone silent.")

    def answered(self) -> float:
        return time.perf_counter() - self._sent.pop(0)


async def _as_it_is(push: Sequence[Any]) -> Sequence[Any]:
    return push


def _tell(observer: FeedObserver, push: Sequence[Any], prefix_length: int) -> None:
    """Pass on ``[b"invalidate", keys]``; no keys at all mean that everything was flushed."""
    keys = push[1]
    if keys is None:
        observer.changed(Change(None, "flushed"))
        return
    for key in keys:
        observer.changed(Change(key[prefix_length:].decode("ascii", "replace")))
