"""Which header blocks ask for nothing but the representation itself, told from their bytes alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import filterfalse

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

_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

MAX_LINES = 4_000
MAX_LINE = 1024
"""Bytes. A longer line is read each time; one that says something makes its block not plain."""

MAX_BLOCKS = 1_000
MAX_TOLD = 2 * 1024
"""Bytes of all lines of a block that say something. Clients write them, so a block that says more is not plain."""

Field = tuple[bytes, bytes]
"""Name in lower case and value of a field that is understood."""

Choice = tuple[Field, ...]
"""The fields of ``CHOOSING`` in a request, as they come."""

CHOOSING = frozenset({b"accept", b"save-data", b"sec-ch-dpr", b"sec-ch-width"})
"""What may choose one of the representations at a URL."""

TELLING = CHOOSING | {b"if-none-match", b"origin"}

OTHER: Field = (b"", b"")
"""Stands for a field that means nothing to an image's answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """What a header block says that asks for nothing special. Equal only to itself, so that it is looked up at once."""

    unless: frozenset[str] | None
    """The tags of If-None-Match, ``None`` without one."""
    unless_any: bool
    """Whether it is ``If-None-Match: *``."""
    has_origin: bool
    choice: Choice = ()


class HeaderBlocks:
    """Reads header blocks, and remembers their lines: what differs between two requests is a line or two."""

    def __init__(self) -> None:
        self._silent: set[bytes] = set()
        """Lines that mean nothing to an image's answer."""
        self._telling: dict[bytes, Field | None] = {}
        """What other lines say; ``None`` where their block is not plain."""
        self._plain: dict[tuple[bytes, ...], Plain | None] = {}
        """What blocks say, by those of their lines that say something."""
        self._frame: tuple[bytes, bytes, Plain | None] = (b"", b"", None)
        """A block without the value of one field that means nothing, such as X-Request-Id, and what it says."""

    def read(self, block: bytes) -> Plain | None:
        """Read ``block``, from the line end of the request line to the empty line; ``None`` if it is not plain.

        Blocks that say the same get the same object.
        """
        before, after, plain = self._frame
        if (
            plain is not None
            and block.startswith(before)
            and block.endswith(after)
            and _VALUE.fullmatch(block, len(before), len(block) - len(after))
        ):
            return plain
        if not block.startswith(b"\r\n") or not block.endswith(b"\r\n\r\n"):
            return None
        # Most lines are known to say nothing, so this is what all of it costs.
        unread = tuple(filterfalse(self._silent.__contains__, block.split(b"\r\n")[1:-2]))
        if unread in self._plain:
            return self._plain[unread]
        self._make_room()
        new = list(filterfalse(self._telling.__contains__, unread))
        if not all(map(self._learn, new)):
            return None
        told = tuple(filter(self._telling.__contains__, unread))
        if sum(map(len, told)) > MAX_TOLD:
            return None
        if told not in self._plain:
            self._plain[told] = _plain([self._telling[line] for line in told])
        if len(new) == 1 and len(told) < len(unread):
            self._remember_frame(block, new[0], self._plain[told])
        return self._plain[told]

    def _make_room(self) -> None:
        """Between two blocks: of one, nothing that it says may be forgotten."""
        for known, most in ((self._silent, MAX_LINES), (self._telling, MAX_LINES), (self._plain, MAX_BLOCKS)):
            if len(known) >= most:
                known.clear()

    def _learn(self, line: bytes) -> bool:
        """Read ``line`` and remember what it says; ``False`` if that is something, and too long to be kept."""
        field = _read_line(line)
        if len(line) > MAX_LINE:
            return field is OTHER
        if field is OTHER:
            self._silent.add(line)
        else:
            self._telling[line] = field
        return True

    def _remember_frame(self, block: bytes, line: bytes, plain: Plain | None) -> None:
        """``line`` was the only new one of ``block``: the next block may differ in its value alone."""
        name = line[: line.index(b":") + 1]
        if name.lower() != b"connection:":  # the only field that means nothing with some values, and much with others
            before, _, after = block.partition(b"\r\n" + line + b"\r\n")
            self._frame = (before + b"\r\n" + name, b"\r\n" + after, plain)


def _plain(fields: Sequence[Field | None]) -> Plain | None:
    """What a block with these fields says; ``None`` if it is not plain."""
    hosts, tags, has_origin, choice = 0, [], False, []
    for field in fields:
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
