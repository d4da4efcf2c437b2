"""A cluster: every key at the primary that has its slot ("Redis cluster specification")."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from redis.exceptions import AskError, ConnectionError, MovedError, TimeoutError

from lightfast.errors import StoreUnavailable
from lightfast.model import Change
from lightfast.ports import FeedObserver
from lightfast.stores import redis_feed
from lightfast.stores.redis_connections import Exchange, Limits, Line, is_broken, translated
from lightfast.stores.redis_keys import START, Reply
from lightfast.stores.redis_servers import Request, Work, making_deadline, ping, scan, scan_cursor, tracking
from lightfast.stores.redis_slots import SLOTS, Primary, SlotMap, slot_of
from lightfast.stores.redis_topology import Topology, as_text
from lightfast.stores.redis_urls import Address, RedisUrl

T = TypeVar("T")

LOOKS = 1.0
"""Seconds between two looks whether slots or primaries have changed."""

REDIRECTIONS = 5
"""That one attempt follows; a cluster at rest gives none, one that is being changed gives one or two."""


class ClusterServers:
    """Fulfils ``Servers`` with the primaries of a cluster."""

    def __init__(self, url: RedisUrl, limits: Limits) -> None:
        self._topology = Topology(url, limits)

    def open(self) -> None:
        self._topology.open()

    async def close(self) -> None:
        await self._topology.close()

    async def ping(self) -> None:
        with translated():
            self._topology.distrust()
            primaries = (await self._topology.current()).primaries
            await _all([ping(self._topology.node(primary.address)) for primary in primaries])

    async def follow(self, prefix: str, observer: FeedObserver) -> NoReturn:
        deadline = making_deadline()
        with translated():
            async with asyncio.timeout_at(deadline):
                followed = await self._topology.look()
                await self._topology.adopt(followed)
            joint = _Joint(observer, len(followed.primaries))
            tasks = [
                asyncio.create_task(self._follow_one(primary.address, prefix, joint, deadline))
                for primary in followed.primaries
            ]
            tasks.append(asyncio.create_task(self._watch(followed, joint, deadline)))
            await redis_feed.until_one_fails(tasks)

    async def read(self, exchange: Exchange, request: Request) -> Sequence[Reply]:
        key, commands = request

        async def work(line: Line) -> Sequence[Reply]:
            replies = await exchange(line, commands)
            for reply in replies:
                if isinstance(reply, AskError):
                    raise reply
            return replies

        with translated():
            try:
                return await self.attempt(key, work)
            except ConnectionError as error:
                if not is_broken(error):
                    raise
            return await self.attempt(key, work)

    async def read_each(self, exchange: Exchange, requests: Sequence[Request]) -> Sequence[Sequence[Reply]]:
        # No transaction takes keys of several slots.
        return await _all([self.read(exchange, request) for request in requests])

    async def attempt(self, key: str, work: Work[T]) -> T:
        slot = slot_of(key)
        primary = (await self._topology.current()).owner(slot)
        if primary is None:
            raise StoreUnavailable("The store is not ready yet.")
        address, asking = primary.address, False
        for _ in range(REDIRECTIONS):
            try:
                async with self._topology.node(address).line(asking) as line:
                    return await work(line)
            except AskError as error:  # MOVED is one, too
                address, asking = (error.host or address[0], error.port), not isinstance(error, MovedError)
                if not asking or address not in self._topology.known:
                    self._topology.distrust()
            except (ConnectionError, TimeoutError):
                self._topology.distrust()
                raise
        raise StoreUnavailable("The store is moving this image at the moment.")

    async def scan(
        self, position: str, pattern: str, count: int, kind: str | None = None
    ) -> tuple[str | None, Sequence[bytes]]:
        """Primaries come in the order of their lowest slots. Where another one has taken over, it is read afresh."""
        place, id, cursor = _parse_position(position)
        with translated():
            primaries = (await self._topology.current()).primaries
            rest = [primary for primary in primaries if primary.place >= place]
            if not rest:
                return None, ()
            at = cursor if rest[0].id == id else 0
            following, keys = await scan(self._topology.node(rest[0].address), at, pattern, count, kind)
        if following:
            return _position(rest[0], following), keys
        return (_position(rest[1], "0") if rest[1:] else None), keys

    async def _follow_one(self, address: Address, prefix: str, joint: _Joint, deadline: float) -> NoReturn:
        async with tracking(self._topology.node(address), prefix, deadline) as connection:
            joint.linked()
            await redis_feed.listen(connection, prefix, joint, (("CLUSTER", "INFO"), _Steadiness().check))

    async def _watch(self, followed: SlotMap, joint: _Joint, deadline: float) -> NoReturn:
        """End the link when the map has changed: a primary that nobody follows may get writes then."""
        async with asyncio.timeout_at(deadline):
            await joint.all_linked.wait()
        while True:
            news = self._topology.news
            async with asyncio.timeout(redis_feed.SILENCE):
                current = await self._topology.look()
            if current.shares != followed.shares:
                await self._topology.adopt(current)
                raise StoreUnavailable("The store's cluster is being changed.")
            # The first time: every primary was still one after all of them were followed.
            joint.tell()
            with suppress(asyncio.TimeoutError):
                async with asyncio.timeout(LOOKS):
                    await news.wait()


class _Joint:
    """Makes one link out of one to each primary. Implements ``ports.FeedObserver`` for each of them."""

    def __init__(self, observer: FeedObserver, count: int) -> None:
        self._observer = observer
        self._missing = count
        self._is_told = False
        self.all_linked = asyncio.Event()

    def linked(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self.all_linked.set()

    def tell(self) -> None:
        """Say that there is a link, once."""
        if not self._is_told:
            self._is_told = True
            self._observer.linked()

    def alive(self, lag: float | None = None) -> None:
        if self._is_told:
            self._observer.alive(lag)

    def changed(self, change: Change) -> None:
        self._observer.changed(change)


class _Steadiness:
    """Whether one primary still sees the cluster as it did: it notices there first when it is cut off or replaced."""

    def __init__(self) -> None:
        self._epoch: str | None = None

    def check(self, reply: Reply) -> None:
        """Hold a reply to CLUSTER INFO against the first one. Raises ``StoreUnavailable``."""
        facts = dict(line.split(":", 1) for line in as_text(reply).split())
        epoch = facts["cluster_current_epoch"]
        if facts["cluster_state"] != "ok":
            raise StoreUnavailable("The store is not ready yet.")
        if self._epoch not in (None, epoch):
            raise StoreUnavailable("The store's cluster is being changed.")
        self._epoch = epoch


async def _all(asked: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Every answer; the first failure only after all have come, so that nothing is left running."""
    answers: list[T] = []
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    return answers


def _position(primary: Primary, cursor: str) -> str:
    return f"{primary.lowest}-{primary.id}-{cursor}"


def _parse_position(position: str) -> tuple[tuple[int, str], str, int]:
    """``Primary.place``, its id, and the cursor there. Raises ``InvalidRequest``."""
    if position == START:
        return (0, ""), "", 0
    lowest, _, rest = position.partition("-")
    id, _, cursor = rest.partition("-")
    slot = scan_cursor(lowest)
    return (slot, id if slot >= SLOTS else ""), id, scan_cursor(cursor)
