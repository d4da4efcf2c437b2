"""The nodes of a cluster, and what they say about who has which slot."""

from __future__ import annotations

import asyncio
import random

from redis.exceptions import RedisError

from lightfast.errors import LightfastError, StoreUnavailable
from lightfast.stores.redis_connections import Connections, Limits, exchange
from lightfast.stores.redis_keys import Reply, value
from lightfast.stores.redis_slots import SlotMap, parse_nodes
from lightfast.stores.redis_urls import Address, RedisUrl

NODES_ASKED = 3
"""Primaries, and nodes of the URL that are none, that are asked at once for the map. The first answer counts."""


class Topology:
    """A map of the cluster, looked up again once it has proved wrong, and the connections to every node on it."""

    def __init__(self, url: RedisUrl, limits: Limits) -> None:
        self._url = url
        self._limits = limits
        self._nodes = {address: self._connections(address) for address in url.addresses}
        self._is_open = False
        self._map = SlotMap(())
        self._is_stale = True
        self._finding = asyncio.Lock()
        self.news = asyncio.Event()
        """Set, and replaced, when the map proves wrong."""

    def open(self) -> None:
        self._is_open = True
        for node in self._nodes.values():
            node.open()

    async def close(self) -> None:
        self._is_open = False
        self._is_stale = True
        for node in list(self._nodes.values()):
            await node.close()

    @property
    def known(self) -> frozenset[Address]:
        """Where primaries are, as far as is known."""
        return self._map.addresses

    async def current(self) -> SlotMap:
        """The map, looked up if it is not known or wrong. Raises the client's errors, and ``StoreUnavailable``."""
        if self._is_stale:
            async with self._finding:
                if self._is_stale:
                    await self.adopt(await self.look())
        return self._map

    def distrust(self) -> None:
        """The map is wrong in at least one place."""
        self._is_stale = True
        news, self.news = self.news, asyncio.Event()
        news.set()

    async def adopt(self, found: SlotMap) -> None:
        """Take ``found`` for the map, and let go of nodes that are not on it."""
        self._map, self._is_stale = found, False
        gone = self._nodes.keys() - found.addresses - set(self._url.addresses)
        for node in [self._nodes.pop(address) for address in gone]:  # at once: others may be adopting, too
            await node.close()

    def node(self, address: Address) -> Connections:
        """The connections to the node at ``address``, whether it is on the map or not."""
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = self._connections(address)
        if self._is_open:
            node.open()
        return node

    async def look(self) -> SlotMap:
        """The map as the first node tells that knows one. Raises the client's errors."""
        primaries, others = list(self.known), list(set(self._url.addresses) - self.known)
        chosen = [*_some(primaries), *_some(others)]
        asked = [asyncio.create_task(self._ask(address)) for address in chosen]
        failure: Exception = StoreUnavailable()
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    return await answer
                except (RedisError, OSError, LightfastError) as error:
                    failure = error
            raise failure
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, address: Address) -> SlotMap:
        (reply,) = await self.node(address).read(exchange, [("CLUSTER", "NODES")])
        # Over TLS a node has to be called by the name in its certificate.
        found = parse_nodes(as_text(value(reply)), address, by_name="connection_class" in self._url.options)
        if not any(primary.ranges for primary in found.primaries):
            raise StoreUnavailable("The store is not ready yet.")
        return found

    def _connections(self, address: Address) -> Connections:
        return Connections(self._url.options | {"host": address[0], "port": address[1]}, self._limits)


def _some(addresses: list[Address]) -> list[Address]:
    return random.sample(addresses, min(NODES_ASKED, len(addresses)))


def as_text(reply: Reply) -> str:
    """A bulk or verbatim string, as the client gives it."""
    return reply.decode() if isinstance(reply, bytes) else str(reply)
