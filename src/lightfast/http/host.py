"""The Host header field (RFC 9112 §3.2, RFC 3986 §3.2.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv6Address

_MAX_PORT = 65535

# A comma may stand in a name by RFC 3986, but here it means that somebody joined two Host lines, which
# is what §3.2 wants refused. No IPvFuture address exists.
_HOST = re.compile(
    rb"(?:(?=[^:]{1,255}(?::|\Z))(?:[A-Za-z0-9._~!$&'()*+;=-]++|%[0-9A-Fa-f]{2})+"
    rb"|\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\])"
    rb"(?::0*+(?P<port>[0-9]{0,5}))?"
)


def is_valid_host(values: Sequence[bytes], http_version: str) -> bool:
    """Whether the Host field lines of a request may stand; if not, the answer is 400 (RFC 9112 §3.2).

    ``values`` are the raw values in order, ``http_version`` is ``"1.0"``, ``"1.1"`` or later. Exactly one is
    needed, except that HTTP/1.0 may do without. Names are at most 255 bytes long, ports 0 to 65535 or empty.
    """
    if len(values) != 1:
        return not values and http_version == "1.0"
    found = _HOST.fullmatch(values[0].strip(b" \t"))
    if found is None:
        return False
    ipv6, port = found.group("ipv6", "port")
    return (not port or int(port) <= _MAX_PORT) and (ipv6 is None or _is_ipv6(ipv6))


def _is_ipv6(literal: bytes) -> bool:
    try:
        IPv6Address(literal.decode("ascii"))
    except AddressValueError:
        return False
    return True
