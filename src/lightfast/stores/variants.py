"""How what was made from an image is written down where a store keeps bytes alone, and how much of it. No I/O.

A record is one line of JSON, then the content: one value, so that nobody can see half of it.
"""

from __future__ import annotations

import logging

import orjson

from lightfast.model import Rendition

MAX_VARIANTS = 200
"""Variants of one version; one more, and the one that was put longest ago goes."""

MAX_HEAD = 1024
"""Bytes of the first line of a record."""

log = logging.getLogger("lightfast.stores.variants")


def record_from(rendition: Rendition) -> bytes:
    head = {
        "etag": rendition.etag,
        "media_type": rendition.media_type,
        "size": len(rendition.content),
        "width": rendition.width,
        "height": rendition.height,
    }
    return b"\n".join((orjson.dumps(head), rendition.content))


def rendition_from(raw: bytes) -> Rendition | None:
    """Read what ``record_from`` wrote; ``None`` for anything else."""
    end = raw.find(b"\n", 0, MAX_HEAD)
    try:
        head = orjson.loads(raw[: max(end, 0)])
    except orjson.JSONDecodeError:
        return None
    if not isinstance(head, dict):
        return None
    fields = (head.get(name) for name in ("etag", "media_type", "size", "width", "height"))
    return checked_rendition(raw[end + 1 :], *fields)


def checked_rendition(
    content: object, etag: object, media_type: object, size: object, width: object, height: object
) -> Rendition | None:
    """``None`` unless everything is of its type and nothing is missing of the content."""
    match content, etag, media_type, size, width, height:
        case bytes(), str(), str(), int(), int(), int() if size == len(content) and etag and "/" in media_type:
            return Rendition(content, etag, media_type, width, height)
    return None


def log_broken(source: str, spec: str) -> None:
    log.warning("the variant %r of the version %s can't be read and will be made again", spec, source)
