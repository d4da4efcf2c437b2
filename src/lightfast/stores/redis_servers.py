"""What ``RedisStore`` needs of the servers behind it, however many they are; and the simplest case, one server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn, Protocol, TypeVar

from redis.asyncio.connection import AbstractConnection

from lightfast.errors import InvalidRequest
from lightfast.ports import FeedObserver
from lightfast.stores import redis_feed
from lightfast.stores.redis_connections import Connections, Exchange, Line, exchange, translated
from lightfast.stores.redis_feed import PING, Heartbeat
from lightfast.stores.redis_keys import Command, Reply, value

T = TypeVar("T")

Work = Callable[[Line], Awaitable[T]]
Request = tuple[str, Sequence[Command]]
"""A key, and commands about it."""

MAKING = 1.5
"""Seconds in which a link must be made."""

_MAX_SCAN_CURSOR = 2**64 - 1


class Servers(Protocol):
    """Finds the server that has a key. All methods but ``attempt`` raise our own errors."""

    def open(self) -> None:
        """Get ready; connections are made when they are needed."""

    async def close(self) -> None:
        """Give back every connection."""

    async def ping(self) -> None:
        """Return if every server that takes writes answers."""

    async def follow(self, prefix: str, observer: FeedObserver) -> NoReturn:
        """``ports.ChangeFeed.follow`` for keys with ``prefix``."""

    async def read(self, exchange: Exchange, request: Request) -> Sequence[Reply]:
        """The replies to commands that do no harm when they are sent twice."""

    async def read_each(self, exchange: Exchange, requests: Sequence[Request]) -> Sequence[Sequence[Reply]]:
        """As ``read``, for each of many requests."""

    async def attempt(self, key: str, work: Work[T]) -> T:
        """Do ``work`` on a line to the server that has ``key``: once, or again where a server said that the key is
        not there. Raises the client's errors."""

    async def scan(
        self, position: str, pattern: str, count: int, kind: str | None = None
    ) -> tuple[str | None, Sequence[bytes]]:
        """One step through all keys: where the next one begins, and keys like ``pattern``, of the type ``kind`` only
        if one is given.

        The first step begins at ``redis_keys.START``. Raises ``InvalidRequest`` for what is no position.
        """


class OneServer:
    """Fulfils ``Servers`` with one server."""

    def __init__(self, connections: Connections, heartbeat: Heartbeat = PING) -> None:
        self._connections = connections
        self._heartbeat = heartbeat

    def open(self) -> None:
        self._connections.open()

    async def close(self) -> None:
        await self._connections.close()

    async def ping(self) -> None:
        await ping(self._connections)

    async def follow(self, prefix: str, observer: FeedObserver) -> NoReturn:
        with translated():
            async with tracking(self._connections, prefix, making_deadline()) as connection:
                observer.linked()
                await redis_feed.listen(connection, prefix, observer, self._heartbeat)

    async def read(self, exchange: Exchange, request: Request) -> Sequence[Reply]:
        with translated():
            return await self._connections.read(exchange, request[1])

    async def read_each(self, exchange: Exchange, requests: Sequence[Request]) -> Sequence[Sequence[Reply]]:
        with translated():
            replies = await self._connections.read(
                exchange, [command for _, commands in requests for command in commands]
            )
        following = iter(replies)
        return [[next(following) for _ in commands] for _, commands in requests]

    async def attempt(self, key: str, work: Work[T]) -> T:
        async with self._connections.line() as line:
            return await work(line)

    async def scan(
        self, position: str, pattern: str, count: int, kind: str | None = None
    ) -> tuple[str | None, Sequence[bytes]]:
        with translated():
            following, keys = await scan(self._connections, scan_cursor(position), pattern, count, kind)
        return following or None, keys


async def ping(connections: Connections) -> None:
    with translated():
        value((await connections.read(exchange, [("PING",)]))[0])


async def scan(
    connections: Connections, cursor: int, pattern: str, count: int, kind: str | None
) -> tuple[str, Sequence[bytes]]:
    """One SCAN: the next cursor as text, empty at the end, and keys."""
    command: Command = ("SCAN", cursor, "MATCH", pattern, "COUNT", count)
    (reply,) = await connections.read(exchange, [command if kind is None else (*command, "TYPE", kind)])
    following, keys = value(reply)
    return str(int(following) or ""), keys


def scan_cursor(text: str) -> int:
    """Raises ``InvalidRequest`` for what is no cursor of a SCAN."""
    if not (text.isascii() and text.isdigit()) or int(text) > _MAX_SCAN_CURSOR or text != str(int(text)):
        raise InvalidRequest("The cursor is none that this server gave.")
    return int(text)


def making_deadline() -> float:
    """When a link that is begun now must have been made, in the event loop's time."""
    return asyncio.get_running_loop().time() + MAKING


@asynccontextmanager
async def tracking(connections: Connections, prefix: str, deadline: float) -> AsyncIterator[AbstractConnection]:
    """A connection of its own that brings every change of a key with ``prefix``, made by ``deadline``."""
    async with connections.dedicated(deadline) as connection:
        async with asyncio.timeout_at(deadline):
            await redis_feed.track(connection, prefix)
        yield connection
