"""The connections to a Redis or Valkey server: bounded, timed, and retried only where that is safe."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from redis._parsers.base import BaseParser  # of no public module; knows which error a message is
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.maint_notifications import MaintNotificationsConfig

from lightfast.errors import LightfastError, SettingsError, StoreFull, StoreUnavailable
from lightfast.stores.redis_keys import Command, Reply, value
from lightfast.stores.redis_replies import Place, Replies

READ_SIZE = 256 * 1024

TURN_TIMEOUT = 10.0
"""Seconds for which a call waits while every connection is in use, first come, first served. That is no sign that the
store is away; whoever knows that it is gives up sooner."""


@dataclass(frozen=True, slots=True)
class Line:
    """A connection in use. ``asking``: for a key that is moving to this node of a cluster, which has to be said."""

    connection: AbstractConnection
    patience: float
    """Seconds for which the replies to one exchange are waited for."""
    asking: bool = False


Exchange = Callable[[Line, Sequence[Command]], Awaitable[Sequence[Reply]]]


class Moving(Exception):
    """The keys of a transaction are on their way from one node of a cluster to another; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the connections to one server. ``connect_timeout`` is for making one, ``read_timeout`` for the replies to one
    exchange; both in seconds."""

    max_connections: int
    connect_timeout: float
    read_timeout: float


class Connections:
    """A bounded pool of connections to a server. ``options`` are the client's, its address among them.

    Raises ``SettingsError`` for options that can't be used, without repeating them: one may be a password.
    """

    def __init__(self, options: dict[str, Any], limits: Limits) -> None:
        self._make_pool = _pool_factory(options, limits)
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.max_connections)
        self._pool: BlockingConnectionPool | None = None

    def open(self) -> None:
        """Get ready; connections are made when they are needed."""
        if self._pool is None:
            self._pool = self._make_pool()

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            with translated():
                await pool.disconnect()

    async def renew(self) -> None:
        """Let go of every connection; new ones are made when they are needed."""
        pool = self._pool
        if pool is not None:
            self._pool = self._make_pool()
            with translated():
                await pool.disconnect(inuse_connections=False)

    async def read(self, exchange: Exchange, commands: Sequence[Command]) -> Sequence[Reply]:
        """Ask once more over another connection if the first one broke: what is asked twice does no harm."""
        try:
            async with self.line() as line:
                return await exchange(line, commands)
        except ConnectionError as error:
            if not is_broken(error):
                raise
        async with self.line() as line:
            return await exchange(line, commands)

    @asynccontextmanager
    async def dedicated(self, deadline: float) -> AsyncIterator[AbstractConnection]:
        """A connection outside the pool, closed at the end; connected by ``deadline``, a time of the event loop."""
        if self._pool is None:
            raise StoreUnavailable("The store is not open.")
        connection: AbstractConnection = self._pool.connection_class(**self._pool.connection_kwargs)
        try:
            async with asyncio.timeout_at(deadline):
                await connection.connect()  # type: ignore[no-untyped-call]
            yield connection
        finally:
            await asyncio.shield(connection.disconnect(nowait=True))

    @asynccontextmanager
    async def line(self, asking: bool = False) -> AsyncIterator[Line]:
        """A connection from the pool; not to be used again after an error, for replies may be on their way."""
        if self._pool is None:
            raise StoreUnavailable("The store is not open.")
        async with self._turn():
            pool = self._pool
            async with _in_time(self._limits.connect_timeout):
                connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # decorated without types
            try:
                yield Line(connection, self._limits.read_timeout, asking)
            except BaseException:
                await asyncio.shield(connection.disconnect(nowait=True))
                raise
            finally:
                await asyncio.shield(pool.release(connection))
                if pool is not self._pool:
                    await asyncio.shield(connection.disconnect(nowait=True))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_TIMEOUT if self._turns.locked() else None):
                await self._turns.acquire()
        except builtins.TimeoutError:
            raise StoreUnavailable("The store has too much to do at the moment.") from None
        try:
            yield
        finally:
            self._turns.release()


def is_broken(error: ConnectionError) -> bool:
    """Whether another connection may do better: those that were refused are of classes of their own."""
    return type(error) is ConnectionError


async def exchange(line: Line, commands: Sequence[Command]) -> Sequence[Reply]:
    """Send ``commands`` at once and read a reply to each; error replies are values."""
    if not line.asking:
        return await _round_trip(line, commands)
    asked: list[Command] = [word for command in commands for word in (("ASKING",), command)]
    return (await _round_trip(line, asked))[1::2]


async def exchange_atomically(line: Line, commands: Sequence[Command], place: Place | None = None) -> Sequence[Reply]:
    """``exchange`` within one transaction: every reply is about the same moment. Large ones are left in ``place``."""
    replies = await _transaction(line, commands, place)
    if any(isinstance(reply, OutOfMemoryError) for reply in replies):
        # A full server takes no transaction, not even one that only reads. Without one, a change may come in
        # between; at worst the bytes of one version are paired with the expiry of the next.
        return await exchange(line, commands)
    outcome: Sequence[Reply] = [value(reply) for reply in replies][-1]
    return outcome


async def commit(line: Line, commands: Sequence[Command]) -> bool:
    """Execute ``commands`` if nothing that is watched has changed; whether that was so. Raises ``Moving``."""
    if not line.connection.is_connected:
        # It was closed from elsewhere. The client would connect again, and the new connection watches nothing.
        raise ConnectionError("closed while a key was watched")
    try:
        outcome = [value(reply) for reply in await _transaction(line, commands)][-1]
    except MovedError:
        raise
    except (AskError, TryAgainError) as error:
        raise Moving from error
    for reply in outcome or ():
        value(reply)
    return outcome is not None


async def _transaction(line: Line, commands: Sequence[Command], place: Place | None = None) -> Sequence[Reply]:
    # ASKING holds for the next command, and from MULTI on for the whole transaction.
    asking: Sequence[Command] = [("ASKING",)] if line.asking else []
    whole: Sequence[Command] = [*asking, ("MULTI",), *commands, ("EXEC",)]
    return await (_round_trip(line, whole) if place is None else _receive(line, whole, place))


async def _round_trip(line: Line, commands: Sequence[Command]) -> Sequence[Reply]:
    connection = line.connection
    replies: list[Reply] = []
    async with _in_time(line.patience):
        _check_open(connection)
        await connection.send_packed_command(connection.pack_commands(commands))
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except ResponseError as error:
                replies.append(error)
    return replies


async def _receive(line: Line, commands: Sequence[Command], place: Place) -> Sequence[Reply]:
    """As ``_round_trip``, past the client: what arrives is received where it will be read."""
    connection: Any = line.connection  # the transport has no public name
    replies = Replies(len(commands), place, BaseParser.parse_error)
    async with _in_time(line.patience):
        if not connection.is_connected:
            await connection.connect()
        _check_open(connection)
        transport = connection._writer.transport
        receiver = _Receiver(replies, transport.get_protocol())
        transport.set_protocol(receiver)
        try:
            await connection.send_packed_command(connection.pack_commands(commands))
            await receiver.done
        finally:
            transport.set_protocol(receiver.client)
            receiver.close()
    return replies.replies


def _check_open(connection: Any) -> None:  # the transport has no public name
    """The client takes a connection for open until it has read its end; a transport that is closed takes nothing."""
    writer = connection._writer
    if writer is not None and writer.transport.is_closing():
        raise ConnectionError("closed before it was used")


class _Receiver(asyncio.BufferedProtocol):
    """Takes the place of ``client``, the client's own protocol, while replies are received."""

    def __init__(self, replies: Replies, client: asyncio.Protocol) -> None:
        self.client = client
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._replies = replies

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._replies.room()

    def buffer_updated(self, nbytes: int) -> None:
        if self.done.done():  # given up
            return
        try:
            if self._replies.arrived(nbytes):
                self.done.set_result(None)
        except ValueError as error:
            self.done.set_exception(ConnectionError(*error.args))

    def pause_writing(self) -> None:
        self.client.pause_writing()

    def resume_writing(self) -> None:
        self.client.resume_writing()

    def eof_received(self) -> bool | None:
        self._lose()
        return self.client.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()
        self.client.connection_lost(exc)

    def close(self) -> None:
        """Nobody waits any more, and the transport has another protocol. uvloop holds this one all the same, until the
        next exchange: what was received must not stay with it."""
        del self._replies
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()  # seen: asyncio need not complain

    def _lose(self) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("closed by the server within a reply"))


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    """Raise the client's ``TimeoutError`` unless what is done here is done within ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except builtins.TimeoutError as error:
        raise TimeoutError from error


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the client raises as the fact that it is; addresses stay in the chained cause."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise _fact(error) from error


def _fact(error: RedisError | OSError) -> LightfastError:
    match error:
        case OutOfMemoryError():
            return StoreFull()
        case AuthenticationError() | AuthorizationError() | NoPermissionError():
            return StoreUnavailable(
                "The store does not let this server in: its user or password is wrong, or its rights."
            )
        case ReadOnlyError():
            return StoreUnavailable("The store can't be written at the moment: it is a replica.")
        case BusyLoadingError() | ClusterDownError():
            return StoreUnavailable("The store is not ready yet.")
        case AskError() | TryAgainError():
            return StoreUnavailable("The store is moving this image at the moment.")
        case TimeoutError():
            return StoreUnavailable("The store did not answer in time.")
        case ResponseError():
            return StoreUnavailable("The store answered with an error.")
    return StoreUnavailable()


def _pool_factory(options: dict[str, Any], limits: Limits) -> Callable[[], BlockingConnectionPool]:
    """Check ``options`` now, connect later.

    Time-outs are kept here, not by the client: it sends with ``asyncio.wait_for``, which loses a cancellation that
    comes while it is done in Python 3.11 (CPython issue 86296), so that a task lives on which was told to end.
    """
    options = options | {
        "protocol": 3,
        "decode_responses": False,
        "socket_connect_timeout": limits.connect_timeout,
        "socket_timeout": None,
        "socket_read_size": READ_SIZE,
    }

    def make() -> BlockingConnectionPool:
        return BlockingConnectionPool(
            max_connections=limits.max_connections,
            timeout=limits.connect_timeout,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **options,
        )

    try:
        pool = make()
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, RedisError) as error:
        raise SettingsError("The Redis URL can't be used: its port, its database or an option is wrong.") from error
    return make
