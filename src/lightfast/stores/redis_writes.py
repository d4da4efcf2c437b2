"""Writes to Redis that depend on what is there: by WATCH and MULTI, over as many attempts as it takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from redis.exceptions import ConnectionError

from lightfast.errors import BrokenRecord, PreconditionFailed, StoreUnavailable
from lightfast.model import Clock, Meta, Precondition, Predecessor
from lightfast.stores import records
from lightfast.stores.redis_connections import Line, Moving, commit, exchange, is_broken, translated
from lightfast.stores.redis_decoding import decode_hash, decode_string
from lightfast.stores.redis_keys import UNREAD, Command, head_commands, read_head, value
from lightfast.stores.redis_servers import Servers

T = TypeVar("T")

NO_RECORD = "its key is neither a hash nor a string"


@dataclass(frozen=True, slots=True)
class Found:
    """What a writer found: the current version, and the one that counts as the one before."""

    current: Meta | None
    previous: Meta | Predecessor | None


Plan = Callable[[Found], tuple[Sequence[Command], T]]
"""From what a writer found to what it does, each command on one key, and what it will have done."""


@dataclass(slots=True)
class _Write(Generic[T]):
    """A write under way, over as many attempts as it takes."""

    id: str
    precondition: Precondition
    plan: Plan[T]
    begun: bool = False
    """Whether the last attempt may have written."""
    current: Meta | None = None
    outcome: T | None = None
    """What it has done if it was committed; ``None`` where the precondition does not hold."""
    commands: Sequence[Command] = ()
    aside: Sequence[Command] = ()
    """Commands that were executed on their own."""
    tombstone: bytes | None = None


class Writes:
    """Changes images with ``prefix``, each at one moment.

    ``tombstones`` is the key for ``%s`` where a deleted one is remembered, ``patience`` how many seconds a write keeps
    trying against others.
    """

    def __init__(self, servers: Servers, prefix: str, tombstones: str, *, patience: float, clock: Clock) -> None:
        self._servers = servers
        self._prefix = prefix
        self._tombstones = tombstones
        self._patience = patience
        self._clock = clock

    async def change(self, id: str, precondition: Precondition, plan: Plan[T]) -> T:
        """Do what ``plan`` makes of the current version, unless that has changed in between: then try again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        chances = 1
        write = _Write(id, precondition, plan)
        with translated():
            while True:
                try:
                    committed = await self._servers.attempt(self._prefix + id, partial(self._attempt, write))
                except ConnectionError as error:
                    # What may have been written must not be written again.
                    if write.begun or not chances or not is_broken(error):
                        raise
                    chances -= 1
                    continue
                except Moving:
                    committed = False
                    await self._write_aside(write)
                if committed and write.outcome is not None:
                    return write.outcome
                if committed:
                    raise PreconditionFailed((write.current and write.current.etag) or None)
                if loop.time() >= deadline:
                    raise StoreUnavailable("Too many others write this image at the same time.")
                await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311 - no secret

    async def _attempt(self, write: _Write[T], line: Line) -> bool:
        write.begun, write.outcome = False, None
        found = await self._watch(line, write)
        write.current = found.current
        write.commands = ()
        if write.precondition.allows(found.current):
            write.commands, write.outcome = write.plan(found)
            write.begun = True
        # Without commands this proves that all that was read was so at one moment.
        return await commit(line, [command for command in write.commands if command not in write.aside])

    async def _write_aside(self, write: _Write[T]) -> None:
        """Write the tombstone on its own, since it can't be in one transaction with the image.

        While a cluster moves their slot, one of them may be at another node than the other. A tombstone beside an
        image means nothing, so it does no harm if the image then stays.
        """
        key = self._prefix + write.id
        write.aside = [command for command in write.commands if command[1] != key]
        for command in write.aside:
            value((await self._servers.read(exchange, (str(command[1]), [command])))[0])

    async def _watch(self, line: Line, write: _Write[T]) -> Found:
        id, key, now = write.id, self._prefix + write.id, self._clock()
        commands: list[Command] = [("WATCH", key), ("GET", self._tombstones % key), *head_commands(key)]
        watched, tombstone, *replies = await exchange(line, commands)
        if isinstance(tombstone, bytes):
            # Where the image has moved on to another node, its tombstone may be left behind.
            write.tombstone = tombstone
        value(watched)
        try:
            current = read_head(id, replies, now)
            if current is UNREAD:
                current = await self._read_whole(line, id, replies[0])
        except BrokenRecord:
            current = records.broken_meta(id)
        if current is None:
            value(tombstone)
        return Found(current, current or records.predecessor_from(write.tombstone))

    async def _read_whole(self, line: Line, id: str, kind: bytes) -> Meta:
        # A reply of another type means that the key has changed since; then the transaction fails anyway.
        key = self._prefix + id
        if kind == b"string":
            (raw,) = await exchange(line, [("GET", key)])
            if isinstance(raw, bytes):
                return (await decode_string(id, raw, None)).meta
        if kind == b"hash":
            (values,) = await exchange(line, [("HMGET", key, "content", *records.FIELDS)])
            if isinstance(values, list):
                return (await decode_hash(id, values, None)).meta
        raise BrokenRecord(id, NO_RECORD)
