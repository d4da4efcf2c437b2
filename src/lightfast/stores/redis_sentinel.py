"""The master that sentinels know: asked for with every new connection, and left as soon as it is another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn

from redis.asyncio.connection import AbstractConnection, Connection
from redis.exceptions import ConnectionError, RedisError

from lightfast.errors import StoreUnavailable
from lightfast.ports import FeedObserver
from lightfast.stores import redis_feed
from lightfast.stores.redis_connections import Connections, Limits, exchange, translated
from lightfast.stores.redis_keys import Command, Reply, value
from lightfast.stores.redis_servers import OneServer, making_deadline, tracking
from lightfast.stores.redis_urls import Address, RedisUrl

ASKING = 0.5
"""Seconds for which sentinels are waited for."""

LOOKS = 1.0
"""Seconds between two looks whether the master is still the same."""

CONNECTIONS_PER_SENTINEL = 4


class Sentinels:
    """Knows the master of ``url.service`` as most of the sentinels do."""

    def __init__(self, url: RedisUrl, limits: Limits) -> None:
        limits = Limits(CONNECTIONS_PER_SENTINEL, limits.connect_timeout, ASKING)
        self._commands: list[Command] = [
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.service),
            ("SENTINEL", "MASTER", url.service),
        ]
        self._sentinels = [
            Connections(url.sentinel_options | {"host": host, "port": port}, limits) for host, port in url.addresses
        ]

    def open(self) -> None:
        for sentinel in self._sentinels:
            sentinel.open()

    async def close(self) -> None:
        for sentinel in self._sentinels:
            await sentinel.close()

    async def master(self) -> Address:
        """Where the master is. Raises ``ConnectionError`` where no sentinel tells.

        Sentinels may differ for a while after a failover. The one whose configuration is newest is right (Redis
        documentation, "Sentinel", configuration epochs), so more than half of them are heard, if they answer.
        """
        asked = [asyncio.create_task(self._ask(sentinel)) for sentinel in self._sentinels]
        heard: list[tuple[int, Address]] = []
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(ASKING):
                    for answer in asyncio.as_completed(asked):
                        with suppress(RedisError, OSError, StoreUnavailable):
                            heard.append(await answer)
                        if len(heard) > len(asked) // 2:
                            break
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if not heard:
            raise ConnectionError("no sentinel knows the master")
        return max(heard)[1]

    async def _ask(self, sentinel: Connections) -> tuple[int, Address]:
        replies = [value(reply) for reply in await sentinel.read(exchange, self._commands)]
        if replies[0] is None:
            raise ConnectionError("this sentinel does not know the service")
        host, port = replies[0]
        return int(replies[1][b"config-epoch"]), (host.decode(), int(port))


class MasterServer(OneServer):
    """Fulfils ``Servers`` with whatever server is the master."""

    def __init__(self, url: RedisUrl, limits: Limits) -> None:
        self._sentinels = Sentinels(url, limits)
        base = url.options.get("connection_class", Connection)
        options = url.options | {"connection_class": _master_connection(base, self._sentinels.master)}
        super().__init__(Connections(options, limits), (("ROLE",), _check_role))

    def open(self) -> None:
        self._sentinels.open()
        super().open()

    async def close(self) -> None:
        await super().close()
        await self._sentinels.close()

    async def follow(self, prefix: str, observer: FeedObserver) -> NoReturn:
        try:
            with translated():
                async with tracking(self._connections, prefix, making_deadline()) as connection:
                    observer.linked()
                    listening = redis_feed.listen(connection, prefix, observer, self._heartbeat)
                    await redis_feed.until_one_fails(
                        [asyncio.create_task(self._watch(connection)), asyncio.create_task(listening)]
                    )
        finally:
            # The others may be connected to what is no master any more without knowing it.
            await self._connections.renew()

    async def _watch(self, connection: AbstractConnection) -> NoReturn:
        """End the link when there is another master: one that was cut off from the sentinels does not know."""
        tcp: Any = connection  # always one of ``Connection``; its address is not in the base class
        followed = tcp.host, tcp.port
        while True:
            await asyncio.sleep(LOOKS)
            with suppress(ConnectionError):  # sentinels that are away change nothing
                if await self._sentinels.master() != followed:
                    raise StoreUnavailable("The store has another master now.")


def _master_connection(base: type[Connection], find: Callable[[], Awaitable[Address]]) -> type[Connection]:
    class MasterConnection(base):  # type: ignore[misc, valid-type]  # a class that is only known at run time
        """Connects to the master of that moment, and to nothing else."""

        async def _connect(self) -> None:
            self.host, self.port = await find()
            await super()._connect()

        async def on_connect_check_health(self, check_health: bool = True) -> None:
            await super().on_connect_check_health(check_health)
            await self.send_command("ROLE", check_health=False)
            if (await self.read_response())[0] != b"master":
                raise ConnectionError("not the master, or not any more")

    return MasterConnection


def _check_role(reply: Reply) -> None:
    if not isinstance(reply, list) or reply[0] != b"master":
        raise StoreUnavailable("The store's server is the master no more.")
