"""Which header blocks ask for nothing but the representation itself, told from their bytes alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lightfast.http.conditional import EntityTags
from lightfast.http.host import is_valid_host

# What can change the answer to a GET or HEAD of an image, or what becomes of the connection, and is not understood
# here. Host, Connection, If-None-Match and Origin are; every other field means nothing to an image's answer.
_DECISIVE = (
    "content-length|expect|http2-settings|if-match|if-modified-since|if-range|if-unmodified-since|proxy-connection|range|"
    "te|trailer|transfer-encoding|upgrade|want-content-digest|want-repr-digest"
)

# Field lines by the letter of RFC 9112 §5: no blank before the colon, no folding, no bare CR, LF or NUL.
_BLOCK = re.compile(
    rf"(?:\r\n(?!(?:{_DECISIVE}):)[!#$%&'*+\-.^_`|~0-9a-z]+:[\t\x20-\x7e\x80-\xff]*)*\r\n\r\n".encode("latin-1"),
    re.IGNORECASE,
)
_UNDERSTOOD = re.compile(rb"\r\n(host|connection|if-none-match|origin):([^\r\n]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plain:
    """What a header block says that asks for nothing special."""

    unless: frozenset[str] | None
    """The tags of If-None-Match, ``None`` without one."""
    unless_any: bool
    """Whether it is ``If-None-Match: *``."""
    has_origin: bool


def read_block(block: bytes) -> Plain | None:
    """Read a header block, from the line end of the request line to the empty line; ``None`` if it is not plain."""
    if _BLOCK.fullmatch(block) is None:
        return None
    hosts: list[bytes] = []
    tags: list[bytes] = []
    has_origin = False
    for name, raw in _UNDERSTOOD.findall(block):
        value = raw.strip(b"\t ")
        match name.lower():
            case b"host":
                hosts.append(value)
            case b"if-none-match":
                tags.append(value)
            case b"origin":
                has_origin = True
            case _:
                if value.lower() != b"keep-alive":
                    return None
    if not is_valid_host(hosts, "1.1"):
        return None
    if not tags:
        return Plain(None, False, has_origin)
    parsed = EntityTags.parse(b", ".join(tags).decode("latin-1"))
    if parsed is None:
        return None
    return Plain(frozenset(tag.opaque for tag in parsed.tags), parsed.any, has_origin)
