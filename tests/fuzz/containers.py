"""Files as trees of parts, so that a mutation gets past the checksums and lengths that would give it away.

A part is a PNG chunk, a JPEG segment (with the coded data after it), a RIFF chunk, an ISO media box or a GIF block.
``cut`` never fails: what can't be walked any further is one last part.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

PNG, JPEG, WEBP, GIF, AVIF = "image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NESTS = {
    b"meta": 4,
    b"iinf": 6,
    b"iref": 4,
    b"iprp": 0,
    b"ipco": 0,
    b"dinf": 0,
    b"moov": 0,
    b"trak": 0,
    b"mdia": 0,
    b"minf": 0,
    b"stbl": 0,
}
"""Boxes that hold boxes, and the bytes before these."""


@dataclass(slots=True)
class Part:
    """``body`` comes before ``children``. A part without ``kind`` is bytes that are written as they are."""

    kind: bytes
    body: bytes
    children: list[Part] = field(default_factory=list)

    def copy(self) -> Part:
        return Part(self.kind, self.body, [child.copy() for child in self.children])


def kind_of(content: bytes) -> str | None:
    """By the magic bytes alone."""
    if content.startswith(_PNG_MAGIC):
        return PNG
    if content.startswith(b"\xff\xd8"):
        return JPEG
    if content.startswith(b"GIF8"):
        return GIF
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return WEBP
    return AVIF if content[4:8] == b"ftyp" and b"avi" in content[8:64] else None


def cut(content: bytes, kind: str) -> list[Part]:
    return list(_CUT[kind](content))


def seal(parts: list[Part], kind: str) -> bytes:
    """The file of these parts, with lengths and checksums that fit."""
    return _SEAL[kind](parts)


def lists(parts: list[Part]) -> Iterator[list[Part]]:
    """``parts`` and all lists of parts within them, where there is something in them."""
    if parts:
        yield parts
    for part in parts:
        yield from lists(part.children)


def _cut_png(content: bytes) -> Iterator[Part]:
    at = 8
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if at + 12 + length > len(content):
            break
        yield Part(kind, content[at + 8 : at + 8 + length])
        at += 12 + length
    yield from _rest(content, at)


def _seal_png(parts: list[Part]) -> bytes:
    chunks = (
        struct.pack(">I", len(part.body)) + part.kind + part.body + struct.pack(">I", zlib.crc32(part.kind + part.body))
        if part.kind
        else part.body
        for part in parts
    )
    return _PNG_MAGIC + b"".join(chunks)


def _cut_jpeg(content: bytes) -> Iterator[Part]:
    """A part of no kind after a scan header: the coded data."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xD9 or length < 2 or at + 2 + length > len(content):
            break
        yield Part(content[at : at + 2], content[at + 4 : at + 2 + length])
        at += 2 + length
        if marker == 0xDA:
            found = _END_OF_SCAN.search(content, at)
            end = found.start() if found else len(content)
            yield Part(b"", content[at:end])
            at = end
    yield from _rest(content, at)


def _seal_jpeg(parts: list[Part]) -> bytes:
    segments = (
        part.kind + struct.pack(">H", min(65535, len(part.body) + 2)) + part.body[:65533] if part.kind else part.body
        for part in parts
    )
    return b"\xff\xd8" + b"".join(segments)


def _cut_riff(content: bytes) -> Iterator[Part]:
    at = 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        if at + 8 + length > len(content):
            break
        yield Part(kind, content[at + 8 : at + 8 + length])
        at += 8 + length + (length & 1)
    yield from _rest(content, at)


def _seal_riff(parts: list[Part]) -> bytes:
    chunks = b"".join(
        part.kind + struct.pack("<I", len(part.body)) + part.body + b"\0" * (len(part.body) & 1)
        if part.kind
        else part.body
        for part in parts
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _cut_boxes(content: bytes) -> Iterator[Part]:
    at = 0
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if length < 8 or at + length > len(content):
            break
        start = at + 8
        if kind in _NESTS:
            inside = start + _NESTS[kind]
            yield Part(kind, content[start:inside], list(_cut_boxes(content[inside : at + length])))
        else:
            yield Part(kind, content[start : at + length])
        at += length
    yield from _rest(content, at)


def _seal_boxes(parts: list[Part]) -> bytes:
    sealed = []
    for part in parts:
        body = part.body + _seal_boxes(part.children)
        sealed.append(struct.pack(">I4s", 8 + len(body), part.kind) + body if part.kind else body)
    return b"".join(sealed)


def _cut_gif(content: bytes) -> Iterator[Part]:
    """All of no kind: a GIF states no lengths but those of its sub-blocks."""
    at = 13 + _colours(content[10:11])
    yield Part(b"", content[:at])
    while at < len(content) and content[at] in (0x21, 0x2C):
        start = at
        at += 2 if content[at] == 0x21 else 11 + _colours(content[at + 9 : at + 10])
        while at < len(content) and content[at]:
            at += content[at] + 1
        at += 1
        yield Part(b"", content[start:at])
    yield from _rest(content, at)


def _colours(flags: bytes) -> int:
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _seal_gif(parts: list[Part]) -> bytes:
    return b"".join(part.body for part in parts)


def _rest(content: bytes, at: int) -> Iterator[Part]:
    if at < len(content):
        yield Part(b"", content[at:])


_CUT: Mapping[str, Callable[[bytes], Iterator[Part]]] = {
    PNG: _cut_png,
    JPEG: _cut_jpeg,
    WEBP: _cut_riff,
    GIF: _cut_gif,
    AVIF: _cut_boxes,
}
_SEAL: Mapping[str, Callable[[list[Part]], bytes]] = {
    PNG: _seal_png,
    JPEG: _seal_jpeg,
    WEBP: _seal_riff,
    GIF: _seal_gif,
    AVIF: _seal_boxes,
}
