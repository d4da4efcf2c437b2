"""How images are written down in Redis, and how records are read that other applications wrote. No I/O.

A record is a hash (``FIELDS`` and ``content``, raw bytes) or a string of JSON with ``base64_data``. An
application that writes hashes beside us writes ``content`` alone, or ``etag`` and ``size`` with it: the
content of a hash with an ``etag`` is not hashed again on every read.
"""

from __future__ import annotations

import binascii
import hashlib
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pybase64

from lightfast.errors import BrokenRecord, InvalidImage, UnsupportedMediaType
from lightfast.model import Image, Meta, Predecessor
from lightfast.sniff import media_type_essence, sniff

FIELDS = ("etag", "media_type", "content_type", "width", "height", "created", "replaced", "size")
"""The fields of a hash that say what its ``content`` is."""

UNKNOWN_ETAG = ""
"""Stands for the ETag of a broken record: equals none."""

_BASE64_KEY = re.compile(rb'"base64_data"[ \t\r\n]*:[ \t\r\n]*"')
_PLACEHOLDER = "lightfast:base64"
_DATA_URL = re.compile(r"data:([^,]{0,255}),", re.IGNORECASE)
MAX_AROUND = 256 * 1024
"""Bytes of JSON beside the base64 text that are parsed without a second look."""

MAX_VALUES = 50_000

_URL_SAFE = str.maketrans("-_", "+/", " \t\n\r\f\v")

# RFC 9110 §8.3.1, §5.6.2; images alone, since records are served under our origin. SVG runs scripts.
_IMAGE_TYPE = re.compile(r"image/(?!svg)[a-z0-9!#$%&'*+.^_`|~-]{1,127}")
_ETAG = re.compile(rb"[0-9a-f]{32}")
_LENGTH = re.compile(rb"[0-9]{1,10}")
MAX_TIME = 253_402_300_800  # the year 10000, where datetime ends


@dataclass(frozen=True, slots=True)
class _Unpacked:
    content: bytes
    declared: str | None
    """The media type that the record names, as an essence; not checked."""
    fields: Mapping[str, Any]  # whatever JSON holds


@dataclass(frozen=True, slots=True)
class _Own:
    """What only Lightfast writes into a JSON record."""

    media_type: str
    width: int | None
    height: int | None
    created: float | None
    replaced: bool


def unpack_json(raw: bytes, id: str = "") -> tuple[bytes, str | None]:
    """The image in a JSON object with ``base64_data``, and the media type that it names, if any.

    The type is that of ``mime_type``, ``content_type``, ``format`` or a data URL's head, the first there is.
    Raises ``BrokenRecord``.
    """
    unpacked = _unpack(id, raw)
    return unpacked.content, unpacked.declared


def image_from_json(
    id: str, raw: bytes | bytearray, expires: float | None, start: int = 0, stop: int | None = None
) -> Image:
    """Read a record that is a string, ``raw`` from ``start`` to ``stop``. Raises ``BrokenRecord``, and nothing else on
    any bytes."""
    unpacked = _unpack(id, raw, start, stop)
    content, etag = unpacked.content, _md5(unpacked.content)
    own = _own(unpacked, etag)
    if own is None:
        return _foreign(id, content, etag, unpacked.declared, expires)
    size = own.width, own.height
    meta = Meta(id, etag, own.media_type, len(content), *size, own.created, own.replaced, expires)
    return Image(meta, content)


def image_from_hash(id: str, fields: Mapping[str, bytes | None], content: bytes | None, expires: float | None) -> Image:
    """Read a record that is a hash; ``fields`` has a value for each of ``FIELDS``. Raises ``BrokenRecord``."""
    if content is None:
        raise BrokenRecord(id, "it is a hash without content")
    if fields["etag"] is not None:
        return Image(meta_from_hash(id, fields, len(content), expires), content)
    declared = fields["media_type"] or fields["content_type"]
    essence = media_type_essence(declared.decode("latin-1")) if declared else None
    return _foreign(id, content, _md5(content), essence, expires)


def meta_from_hash(id: str, fields: Mapping[str, bytes | None], size: int, expires: float | None) -> Meta:
    """Read a hash that has an ``etag``, and ``content`` of ``size`` bytes. Raises ``BrokenRecord``."""
    etag = fields["etag"] or b""
    if not _ETAG.fullmatch(etag):
        raise BrokenRecord(id, "its etag is no MD5 in lower-case hex")
    if _length(id, fields, "size") != size:
        raise BrokenRecord(id, "its size is not that of its content: who writes content writes etag and size too")
    media_type = (fields["media_type"] or b"").decode("latin-1")
    if not _IMAGE_TYPE.fullmatch(media_type):
        raise BrokenRecord(id, "its media_type is no image type that may be served")
    return Meta(
        id=id,
        etag=etag.decode(),
        media_type=media_type,
        size=size,
        width=_length(id, fields, "width"),
        height=_length(id, fields, "height"),
        created=_time(id, fields["created"]),
        replaced=fields["replaced"] == b"1",
        expires=expires,
    )


def hash_from(meta: Meta, content: bytes) -> tuple[str | bytes, ...]:
    """The fields of the hash for ``meta``, names and values in turn; unknown ones are left out."""
    known: dict[str, object] = {
        "etag": meta.etag,
        "media_type": meta.media_type,
        "width": meta.width,
        "height": meta.height,
        "created": meta.created,
        "replaced": int(meta.replaced),
        "size": meta.size,
    }
    pairs = ((name, str(value)) for name, value in known.items() if value is not None)
    return ("content", content, *itertools.chain.from_iterable(pairs))


def encode_content(content: bytes) -> bytes:
    return pybase64.b64encode(content)


def json_from(meta: Meta, encoded: bytes) -> bytes:
    """The JSON string for ``meta`` and the content that ``encode_content`` made of it."""
    fields = {
        "mime_type": meta.media_type,
        "etag": meta.etag,
        "width": meta.width,
        "height": meta.height,
        "created": meta.created,
        "replaced": meta.replaced,
    }
    return b"".join((orjson.dumps(fields)[:-1], b',"base64_data":"', encoded, b'"}'))


def broken_meta(id: str) -> Meta:
    """What a broken record counts as when something is to be written over it: another version."""
    return Meta(id, UNKNOWN_ETAG, "", 0, None, None, None, replaced=True, expires=None)


def tombstone_from(meta: Meta) -> bytes:
    return orjson.dumps({"etag": meta.etag, "created": meta.created, "replaced": meta.replaced})


def predecessor_from(tombstone: bytes | None) -> Predecessor | None:
    """Read what ``tombstone_from`` wrote; anything else says nothing."""
    try:
        match orjson.loads(tombstone or b"null"):
            case {"etag": str(etag), "created": float() | int() | None as created, "replaced": bool(replaced)}:
                return Predecessor(etag, created, replaced) if _is_time(created) else None
    except orjson.JSONDecodeError:
        pass
    return None


def _unpack(id: str, raw: bytes | bytearray, start: int = 0, stop: int | None = None) -> _Unpacked:
    return _unpack_quickly(raw, start, stop) or _unpack_carefully(id, bytes(memoryview(raw)[start:stop]))


def _unpack_quickly(raw: bytes | bytearray, first: int = 0, stop: int | None = None) -> _Unpacked | None:
    """Cut the base64 text out, so that only the little around it has to be parsed; ``None`` when in doubt."""
    stop = len(raw) if stop is None else stop
    key = _BASE64_KEY.search(raw, first, stop)
    if key is None:
        return None
    start = key.end()
    end = raw.find(b'"', start, stop)
    if end < 0 or raw.find(b"\\", start, end) >= 0:
        return None
    if start - first + stop - end > MAX_AROUND:
        return None
    around = raw[first:start], raw[end:stop]
    try:
        fields = orjson.loads(_PLACEHOLDER.encode().join(around))
    except orjson.JSONDecodeError:
        return None
    # The text found may lie in a nested object or be overruled by a second one: then the placeholder isn't here.
    if not isinstance(fields, dict) or fields.get("base64_data") != _PLACEHOLDER:
        return None
    if any(_PLACEHOLDER.encode() in part for part in around):
        return None
    head = _DATA_URL.match(raw[start : min(start + 300, end)].decode("latin-1"))
    if head is not None and not _is_base64(head[1]):
        return None
    try:
        content = pybase64.b64decode(memoryview(raw)[start + (head.end() if head else 0) : end], validate=True)
    except (binascii.Error, ValueError):
        return None
    return _Unpacked(content, _declared(fields, head), fields)


def _unpack_carefully(id: str, raw: bytes) -> _Unpacked:
    # Base64 has none of these. Millions of small values would hold up every thread while they are made, and take a
    # hundred times the room of their text.
    if len(raw) > MAX_AROUND and sum(map(raw.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise BrokenRecord(id, f"its JSON has more than {MAX_VALUES} values")
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BrokenRecord(id, "it is no JSON") from error
    if not isinstance(fields, dict):
        raise BrokenRecord(id, "its JSON is no object")
    text = fields.pop("base64_data", None)
    if not isinstance(text, str):
        raise BrokenRecord(id, "its JSON has no text named base64_data")
    text = text.strip()
    head = _DATA_URL.match(text)
    if head is not None and not _is_base64(head[1]):
        raise BrokenRecord(id, "its data URL is not base64")
    return _Unpacked(_decode_carefully(id, text[head.end() :] if head else text), _declared(fields, head), fields)


def _decode_carefully(id: str, text: str) -> bytes:
    """Base64 with line breaks, of either alphabet, with or without padding (RFC 4648 §3.1, §3.2, §5)."""
    if not text.isascii():
        raise BrokenRecord(id, "its base64_data is no base64")
    digits = text.translate(_URL_SAFE).rstrip("=")
    try:
        return pybase64.b64decode(digits.encode("ascii") + b"=" * (-len(digits) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise BrokenRecord(id, "its base64_data is no base64") from error


def _is_base64(data_url_head: str) -> bool:
    return data_url_head.rstrip().lower().endswith(";base64")


def _declared(fields: Mapping[str, Any], data_url: re.Match[str] | None) -> str | None:
    for name in ("mime_type", "content_type", "format"):
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            # An app's format is as often "png" as "image/png".
            bare = name == "format" and "/" not in value
            return media_type_essence(f"image/{value.strip()}" if bare else value)
    return (media_type_essence(data_url[1]) or None) if data_url is not None else None


def _own(unpacked: _Unpacked, etag: str) -> _Own | None:
    # An app may copy our fields over and change the picture: they count only with the picture they're about.
    if unpacked.fields.get("etag") != etag or not _IMAGE_TYPE.fullmatch(unpacked.declared or ""):
        return None
    match unpacked.fields:
        case {
            "width": int() | None as width,
            "height": int() | None as height,
            "created": float() | int() | None as created,
            "replaced": bool(replaced),
        } if not isinstance(width, bool) and not isinstance(height, bool) and _is_time(created):
            return _Own(unpacked.declared or "", width, height, created, replaced)
    return None


def _foreign(id: str, content: bytes, etag: str, declared: str | None, expires: float | None) -> Image:
    width: int | None
    height: int | None
    try:
        found = sniff(content)
        media_type, width, height = found.media_type, found.width, found.height
    except (UnsupportedMediaType, InvalidImage) as error:
        if declared is None or not _IMAGE_TYPE.fullmatch(declared):
            raise BrokenRecord(id, "its bytes are no known image and it names no image type") from error
        media_type, width, height = declared, None, None
    return Image(Meta(id, etag, media_type, len(content), width, height, None, False, expires), content)


def _length(id: str, fields: Mapping[str, bytes | None], name: str) -> int | None:
    value = fields[name]
    if value is not None and not _LENGTH.fullmatch(value):
        raise BrokenRecord(id, f"its {name} is no number")
    return int(value) if value is not None else None


def _time(id: str, value: bytes | None) -> float | None:
    try:
        seconds = float(value) if value is not None else None
    except ValueError:
        seconds = math.nan
    if not _is_time(seconds):
        raise BrokenRecord(id, "its created is no time in seconds")
    return seconds


def _is_time(seconds: float | None) -> bool:
    return seconds is None or (not isinstance(seconds, bool) and 0 <= seconds < MAX_TIME)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
