"""The connections of clients that are near: proxies and other programs on the same machine or beside it.

The kernel lets the send buffer of each connection grow to megabytes (tcp_wmem), as a client a hundred milliseconds away
needs it. A near one does not, and with some dozens of them reading large pictures what is on its way no longer fits
into the processor's cache: a bounded buffer sends up to a quarter more, and the slowest waits half as long (ADR 17).

BBR spreads what it sends over the round trip. Within a millisecond there is nothing to spread, and its timers cost as
much as sending: so near connections have Reno where the system's choice is BBR (ADR 18).
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from functools import cache

NEAR = 1000
"""Microseconds that the handshake's round trip may take. The buffer is then good for half a gigabyte a second."""

BUFFER = 512 * 1024
"""Bytes of ``SO_SNDBUF``. The kernel doubles it for what it needs itself."""

PACED, UNPACED = b"bbr", b"reno"
"""Congestion controls, as ``TCP_CONGESTION`` names them. Every Linux has Reno, and lets anybody choose it."""

_LONGEST_NAME = 16

_SIZE_OF_TCP_INFO = 72
_ROUND_TRIP = slice(68, 72)
"""``tcpi_rtt`` in ``struct tcp_info`` (<linux/tcp.h>), a native unsigned integer; 0 where it was not measured."""


def suit_near_client(connection: socket.socket) -> None:
    """Bound the send buffer of an accepted ``connection`` and don't pace it, if its client is near. Linux only;
    elsewhere, and on other sockets than those of TCP, nothing is done."""
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError):
        if _is_near(connection):
            _bound_send_buffer(connection)
            _do_not_pace(connection)


def _bound_send_buffer(connection: socket.socket) -> None:
    if _is_allowed():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)


def _do_not_pace(connection: socket.socket) -> None:
    control = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _LONGEST_NAME)
    if control.startswith(PACED):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, UNPACED)


def _is_near(connection: socket.socket) -> bool:
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
