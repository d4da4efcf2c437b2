"""Closes the connections of a server that do nothing: one timer for all of them instead of one for each request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

INTERVAL = 1.0
"""Seconds between two looks; a time-out may come this much late."""

LIMITS = "lightfast.limits"
"""Where an application's lifespan state may say other limits than the defaults."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Seconds that a client may take. ``0`` = for ever."""

    keep_alive: float = 75.0
    """Until its next request."""
    head: float = 10.0
    """To send the head of a request, from its first byte on."""
    send: float = 60.0
    """To take the next byte of an answer."""
    undelivered: int = 256 << 20
    """Bytes, not seconds: how much of all answers may wait here for clients to take it. Beyond it, those who keep most
    waiting are cut off."""


class Kept(Protocol):
    """A connection under upkeep."""

    def look_after(self, now: float, limits: ConnectionLimits) -> None:
        """Close the connection if a limit is over. ``now`` on the event loop's clock."""

    def undelivered(self) -> tuple[object, int]:
        """How many bytes wait here for the client, and of what: what waits for many is kept once."""

    def cut_off(self) -> None:
        """Close the connection and let go of what waits."""


class Upkeep:
    """Looks after every connection of one server while there are any."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._connections: set[Kept] = set()
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Kept, lifespan_state: Mapping[str, Any]) -> None:
        self._limits = lifespan_state.get(LIMITS, self._limits)
        self._connections.add(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look)

    def discard(self, connection: Kept) -> None:
        self._connections.discard(connection)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._connections):
            with suppress(OSError):  # it is about to be lost
                connection.look_after(now, self._limits)
        self._let_go()
        self._timer = loop.call_later(INTERVAL, self._look) if self._connections else None

    def _let_go(self) -> None:
        """Cut off whom most waits for, until what waits in all is within its bound."""
        sizes: dict[object, int] = {}
        clients: dict[object, list[Kept]] = {}
        for connection in self._connections:
            of, size = connection.undelivered()
            if size:
                sizes[of] = max(size, sizes.get(of, 0))
                clients.setdefault(of, []).append(connection)
        excess = sum(sizes.values()) - self._limits.undelivered
        for of in sorted(sizes, key=sizes.__getitem__, reverse=True):
            if excess <= 0:
                return
            excess -= sizes[of]
            for connection in clients[of]:
                connection.cut_off()
