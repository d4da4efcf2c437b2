"""How images are named in Redis, and what is asked and answered about them. No I/O, no client."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightfast.errors import InvalidRequest, SettingsError
from lightfast.model import Meta, is_valid_id
from lightfast.stores import records

Command = tuple[str | bytes | int, ...]
Reply = Any  # of whatever type the command has; an error inside a transaction is a value, too

START = "0"
"""Where a walk through all keys begins."""

_CURSOR = re.compile(r"([0-9a-f-]{1,70})\.([A-Za-z0-9._,-]*)")


class Unread(enum.Enum):
    """Stands for a ``Meta`` that the content itself has to be read for."""

    UNREAD = enum.auto()


UNREAD = Unread.UNREAD


def tombstone_pattern(prefix: str) -> str:
    """Where a deleted image is remembered: the key for ``%s``, in the cluster slot of the image's own key.

    The slot is that of the text between the first brace and the next closing one, where there is any
    (Redis cluster specification, "Hash tags"). Raises ``SettingsError`` where that can't be had.
    """
    escaped = "lightfast:deleted:%s"
    opening = prefix.find("{")
    closing = prefix.find("}", opening + 1) if opening >= 0 else -1
    if closing > opening + 1:
        return escaped
    if "}" in prefix:
        raise SettingsError(f"The prefix {prefix!r} may hold braces only as a hash tag, as in '{{app}}:image:'.")
    return "lightfast:deleted:{%s}"


@dataclass(frozen=True, slots=True)
class VariantKeys:
    """Where variants are. ``tagged``: in a cluster, all of a version's keys are in the slot of its ETag."""

    base: str
    tagged: bool

    def variant(self, source: str, spec: str) -> str:
        return f"{self.base}:{self._version(source)}:{spec}"

    def index(self, source: str) -> str:
        return f"{self.base}s:{self._version(source)}"

    def _version(self, source: str) -> str:
        return f"{{{source}}}" if self.tagged else source


def variant_keys(prefix: str, *, tagged: bool) -> VariantKeys:
    """Beside the images with ``prefix``: no key of one kind begins like the keys of the other.

    Otherwise every variant would be told of as a change of an image. With an empty prefix, all keys are.
    """
    mixed = "variants:".startswith(prefix) or prefix.startswith(("variant:", "variants:"))
    return VariantKeys("lightfast:variant" if mixed or "variant:".startswith(prefix) else "variant", tagged)


def scan_pattern(prefix: str) -> str:
    """The glob of every key with ``prefix``, whatever characters are in it."""
    return re.sub(r"([\\*?\[\]^])", r"\\\1", prefix) + "*"


def make_cursor(position: str | None, ids: Sequence[str]) -> str | None:
    """Where a listing goes on: with ``ids`` that a SCAN has found already, then with a SCAN at ``position``."""
    return f"{position or START}.{','.join(ids)}" if ids or position is not None else None


def parse_cursor(cursor: str | None) -> tuple[str | None, Sequence[str]]:
    """What ``make_cursor`` was given; the start for ``None``. Raises ``InvalidRequest``."""
    if cursor is None:
        return START, ()
    parts = _CURSOR.fullmatch(cursor)
    ids = parts[2].split(",") if parts is not None and parts[2] else []
    position = parts[1] if parts is not None and parts[1] != START else None
    if not (position or ids) or not all(map(is_valid_id, ids)):
        raise InvalidRequest("The cursor is none that this server gave.")
    return position, ids


def milliseconds(seconds: float) -> int:
    """For PX and PEXPIRE, which refuse 0."""
    return max(1, round(seconds * 1000))


def expiry(ttl: int, now: float) -> float | None:
    """What a PTTL means that was asked for at ``now``."""
    expires = now + ttl / 1000
    # Who gives EXPIREAT milliseconds means no year 58,000.
    return expires if ttl >= 0 and expires < records.MAX_TIME else None


def head_commands(key: str) -> list[Command]:
    """Ask for what ``read_head`` reads: four commands."""
    return [("TYPE", key), ("HMGET", key, *records.FIELDS), ("HSTRLEN", key, "content"), ("PTTL", key)]


def read_head(id: str, replies: Sequence[Reply], now: float) -> Meta | Unread | None:
    """The metadata of an image from the replies to ``head_commands``, asked at ``now``. Raises ``BrokenRecord``.

    ``UNREAD`` where they don't tell: a string, or a hash whose content has to be hashed, or may be missing.
    """
    kind, values, size, ttl = replies
    if value(kind) == b"none" or value(ttl) == -2:
        return None
    if kind != b"hash":
        return UNREAD
    fields = dict(zip(records.FIELDS, value(values), strict=True))
    if fields["etag"] is None or not value(size):
        return UNREAD
    return records.meta_from_hash(id, fields, size, expiry(ttl, now))


def value(reply: Reply) -> Reply:
    """``reply`` itself, raised if it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return reply
