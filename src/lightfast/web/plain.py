"""Which header blocks ask for nothing but the representation itself, told from their bytes alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lightfast.http.conditional import EntityTags
from lightfast.http.host import is_valid_host

# What can change the answer to a GET or HEAD of an image, or what becomes of the connection, and is not understood
# here. Host, Connection, If-None-Match, Origin and what chooses a representation are; every other field means nothing
# to an image's answer.
_DECISIVE = (
    "content-length|expect|http2-settings|if-match|if-modified-since|if-range|if-unmodified-since|proxy-connection|range|"
    "te|trailer|transfer-encoding|upgrade|want-content-digest|want-repr-digest"
)

# A field line by the letter of RFC 9112 §5: no blank before the colon, no folding, no bare CR, LF or NUL.
_LINE = re.compile(
    rf"(?!(?:{_DECISIVE}):)([!#$%&'*+\-.^_`|~0-9a-z]+):([\t\x20-\x7e\x80-\xff]*)".encode("latin-1"), re.I
)

MAX_LINES = 4_000
MAX_LINE = 1024
"""Bytes. A longer line is read each time."""

Field = tuple[bytes, bytes]
"""Name in lower case and value of a field that is understood."""

Choice = tuple[Field, ...]
"""The fields of ``CHOOSING`` in a request, as they come."""

CHOOSING = frozenset({b"accept", b"save-data", b"sec-ch-dpr", b"sec-ch-width"})
"""What may choose one of the representations at a URL."""

TELLING = CHOOSING | {b"if-none-match", b"origin"}

OTHER: Field = (b"", b"")
"""Stands for a field that means nothing to an image's answer."""

UNREAD: Field = (b"?", b"")


@dataclass(frozen=True, slots=True)
class Plain:
    """What a header block says that asks for nothing special."""

    unless: frozenset[str] | None
    """The tags of If-None-Match, ``None`` without one."""
    unless_any: bool
    """Whether it is ``If-None-Match: *``."""
    has_origin: bool
    choice: Choice = ()


class HeaderBlocks:
    """Reads header blocks, and remembers the lines: what differs between two requests is a line or two."""

    def __init__(self) -> None:
        self._lines: dict[bytes, Field | None] = {}
        """What each line says; ``None`` where its block is not plain."""

    def read(self, block: bytes) -> Plain | None:
        """Read ``block``, from the line end of the request line to the empty line; ``None`` if it is not plain."""
        first, *lines, last, end = block.split(b"\r\n") if block.endswith(b"\r\n\r\n") else (b"!", b"", b"")
        if first or last or end:
            return None
        # Most lines are known to say nothing, so this is what all of it costs.
        remembered = self._lines.get
        telling = [(line, said) for line in lines if (said := remembered(line, UNREAD)) is not OTHER]
        hosts, tags, has_origin, choice = 0, [], False, []
        for line, said in telling:
            field = self._read_line(line) if said is UNREAD else said
            if field is None:
                return None
            name, value = field
            if name == b"host":
                hosts += 1
            elif name == b"if-none-match":
                tags.append(value)
            elif name == b"origin":
                has_origin = True
            elif name in CHOOSING:
                choice.append(field)
        if hosts != 1:
            return None
        if not tags:
            return Plain(None, False, has_origin, tuple(choice))
        parsed = EntityTags.parse(b", ".join(tags).decode("latin-1"))
        if parsed is None:
            return None
        return Plain(frozenset(tag.opaque for tag in parsed.tags), parsed.any, has_origin, tuple(choice))

    def _read_line(self, line: bytes) -> Field | None:
        field = _read_line(line)
        if len(line) <= MAX_LINE:
            if len(self._lines) >= MAX_LINES:
                self._lines.clear()
            self._lines[line] = field
        return field


def _read_line(line: bytes) -> Field | None:
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    name, value = found[1].lower(), found[2].strip(b"\t ")
    if name == b"connection":
        return OTHER if value.lower() == b"keep-alive" else None
    if name == b"host":
        return (name, value) if is_valid_host([value], "1.1") else None
    return (name, value) if name in TELLING else OTHER
