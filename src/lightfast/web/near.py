"""The connections of clients that are near: proxies and other programs on the same machine or beside it.

The kernel lets the send buffer of each connection grow to megabytes (tcp_wmem), as a client a hundred milliseconds away
needs it. A near one does not, and with some dozens of them reading large pictures what is on its way no longer fits
into the processor's cache: a bounded buffer sends up to a quarter more, and the slowest waits half as long (ADR 17).

BBR spreads what it sends over the round trip. Within a millisecond there is nothing to spread, and its timers take up
to half of the processor's time: so near clients have Reno where they would have BBR. A connection that began with BBR
is paced for good, whatever it has later, so it is the listening socket that gets Reno; far clients get what the
system has chosen as soon as they are accepted (ADR 18).
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

NEAR = 1000
"""Microseconds that the handshake's round trip may take. The buffer is then good for half a gigabyte a second."""

BUFFER = 512 * 1024
"""Bytes of ``SO_SNDBUF``. The kernel doubles it for what it needs itself."""

PACED, UNPACED = b"bbr", b"reno"
"""Congestion controls, as ``TCP_CONGESTION`` names them. Every Linux has Reno."""

_LONGEST_NAME = 16
_SIZE_OF_TCP_INFO = 72
_ROUND_TRIP = slice(68, 72)
"""``tcpi_rtt`` in ``struct tcp_info`` (<linux/tcp.h>), a native unsigned integer; 0 where it was not measured."""

Address = tuple[str, int]


class Socket(Protocol):
    """What servers let their protocols see of a connection."""

    def getsockname(self) -> Any: ...

    def getsockopt(self, level: int, option: int, length: int, /) -> bytes: ...

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...


def suit_client(connection: Socket) -> bool:
    """Give an accepted ``connection`` what is good at its distance; whether it is near. Linux only: elsewhere, and on
    other sockets than those of TCP, nothing is done and nobody is near."""
    if not sys.platform.startswith("linux"):
        return False
    is_near = False
    with suppress(OSError):
        is_near = _is_near(connection)
        if is_near and _is_allowed():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        _suit_pace(connection, is_near)
    return is_near


def begin_unpaced(listener: Socket) -> None:
    """Have all who connect to ``listener`` from now on begin without pacing. Linux only."""
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError):  # Reno may be forbidden (tcp_allowed_congestion_control)
        if _control(listener).startswith(PACED):
            _choose(listener, UNPACED)


def _suit_pace(connection: Socket, is_near: bool) -> None:
    """Neither BBR for the near nor what its listener has instead for the far. What else there is was chosen."""
    control = _control(connection)
    if control.startswith(PACED):
        _find_listeners(connection.getsockname()[:2])
        if is_near:
            _choose(connection, UNPACED)
    elif control == UNPACED and not is_near:
        with socket.socket() as new:
            _choose(connection, _control(new))


def _is_near(connection: Socket) -> bool:
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE_OF_TCP_INFO)
    return is_short(int.from_bytes(information[_ROUND_TRIP], sys.byteorder))


def is_short(round_trip: int) -> bool:
    return 0 < round_trip <= NEAR


@cache
def _is_allowed() -> bool:
    """Whether ``net.core.wmem_max`` lets a buffer be as large. A smaller one would be worse than none: it makes
    senders wait for acknowledgements that readers put off."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= 2 * BUFFER


def _control(connection: Socket) -> bytes:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _LONGEST_NAME).rstrip(b"\0")


def _choose(connection: Socket, control: bytes) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control)


@lru_cache(maxsize=64)  # all who were waiting to be accepted began paced; one look is enough
def _find_listeners(address: Address) -> None:
    """``begin_unpaced`` at ``address``."""
    for listener in _listeners():
        host, port = listener.getsockname()[:2]
        if port == address[1] and host in (address[0], "0.0.0.0", "::"):  # noqa: S104 - nobody is bound to it here
            begin_unpaced(listener)


def _listeners() -> Iterator[socket.socket]:
    """The sockets of TCP that this process listens on. An app's server does not hand them to its protocols."""
    for entry in filter(Path.is_socket, Path("/proc/self/fd").iterdir()):
        with suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as found:
            is_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
            if is_tcp and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield found
