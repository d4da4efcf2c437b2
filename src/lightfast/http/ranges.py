"""Byte ranges of a representation (RFC 9110 §14, §13.1.5 and §15.3.7)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lightfast.http.conditional import EntityTag
from lightfast.http.dates import parse_http_date

MAX_SPECS = 100
"""More ranges than this in one request are not read at all."""
MAX_SPANS = 16
"""More parts than this are not sent in one answer."""
MIN_GAP = 80
"""Bytes. Spans nearer to each other are sent as one: the framing of a part costs about as much."""

_SPEC = re.compile(r"(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<suffix>[0-9]+)")
_MAX_DIGITS = 18
_BEYOND = 10**_MAX_DIGITS


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from ``start`` up to, not including, ``stop``."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Multipart:
    """The framing of a ``multipart/byteranges`` body: ``heads[0]``, bytes of span 0, ``heads[1]``, …, ``tail``."""

    heads: tuple[bytes, ...]
    tail: bytes
    length: int
    """Of the whole body, in bytes: framing and spans."""
    media_type: str
    """For Content-Type, with the boundary."""


def resolve(value: str, size: int) -> tuple[Span, ...] | None:
    """The spans that a Range header asks of a representation of ``size`` bytes, in the order asked for.

    ``()`` = none can be satisfied (416). ``None`` = the header is to be ignored: another unit, not well
    formed, or so many ranges that answering them would serve nobody (RFC 9110 §14.2, §17.15). Where more
    than one is asked for, spans that overlap or nearly touch are sent as one, in the place of the first.
    """
    unit, _, text = value.partition("=")
    if unit.lower() != "bytes":
        return None
    # §5.6.1.2: blanks may stand around commas, not in front of the first element.
    head, *rest = text.split(",")
    specs = [spec for spec in (head.rstrip(" \t"), *(part.strip(" \t") for part in rest)) if spec]
    if not 0 < len(specs) <= MAX_SPECS:
        return None
    spans = []
    for spec in specs:
        span = _read(spec, size)
        if span is None:
            return None
        if span.length:
            spans.append(span)
    spans = _coalesce(spans)
    return tuple(spans) if len(spans) <= MAX_SPANS else None


def if_range_holds(value: str, etag: str, modified: float | None, now: float) -> bool:
    """Whether If-Range names the current representation, so that Range applies (RFC 9110 §13.1.5).

    ``etag`` is the strong tag without quotes, ``modified`` and ``now`` are Unix seconds. False for anything
    that can't be read: the whole representation is always a right answer.
    """
    tag = EntityTag.parse(value)
    if tag is not None:
        return tag.equals_strongly(EntityTag(etag))
    date = parse_http_date(value, now)
    if date is None or modified is None:
        return False
    # §8.8.2.2: within the second it names, a date does not yet tell two versions apart.
    return date == math.floor(modified) and date + 1 <= now


def content_range(span: Span, size: int) -> str:
    """Content-Range of one part (RFC 9110 §14.4)."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"


def unsatisfied_range(size: int) -> str:
    """Content-Range of a 416 (RFC 9110 §14.4)."""
    return f"bytes */{size}"


def multipart(spans: Sequence[Span], size: int, media_type: str, boundary: str) -> Multipart:
    """Frame ``spans`` of a representation of ``size`` bytes (RFC 9110 §14.6, RFC 2046 §5.1).

    ``boundary`` is a token that does not occur in the content.
    """
    heads = []
    for index, span in enumerate(spans):
        # §14.6: no line break in front of the first boundary.
        lead = "\r\n" if index else ""
        head = f"{lead}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {content_range(span, size)}\r\n\r\n"
        heads.append(head.encode("latin-1"))
    tail = f"\r\n--{boundary}--\r\n".encode("latin-1")
    length = sum(map(len, heads)) + sum(span.length for span in spans) + len(tail)
    return Multipart(tuple(heads), tail, length, f"multipart/byteranges; boundary={boundary}")


def _read(spec: str, size: int) -> Span | None:
    """One range-spec cut to ``size``; an empty span where it can't be satisfied, ``None`` if malformed."""
    found = _SPEC.fullmatch(spec)
    if found is None:
        return None
    if found["suffix"]:
        return Span(max(size - _bounded(found["suffix"]), 0), size)
    first, last = found["first"], found["last"]
    if last and _magnitude(last) < _magnitude(first):
        return None
    start = min(_bounded(first), size)
    return Span(start, min(_bounded(last) + 1, size) if last else size)


def _magnitude(digits: str) -> tuple[int, str]:
    """Orders decimal numbers of any length without converting them."""
    significant = digits.lstrip("0")
    return len(significant), significant


def _bounded(digits: str) -> int:
    # Converting decimal digits takes quadratic time, and Python refuses very many.
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= _MAX_DIGITS else _BEYOND


def _coalesce(spans: Sequence[Span]) -> list[Span]:
    merged: list[tuple[int, Span]] = []
    for place, span in sorted(enumerate(spans), key=lambda entry: entry[1].start):
        if merged and span.start - merged[-1][1].stop < MIN_GAP:
            earlier, wider = merged[-1]
            merged[-1] = min(earlier, place), Span(wider.start, max(wider.stop, span.stop))
        else:
            merged.append((place, span))
    return [span for _, span in sorted(merged, key=lambda entry: entry[0])]
