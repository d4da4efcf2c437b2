"""Decoding of records that came from Redis: in a thread where it would hold up the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from lightfast.model import Image
from lightfast.stores import records
from lightfast.stores.redis_replies import Text

T = TypeVar("T")

INLINE_BYTES = 256 * 1024
"""Decoding and hashing more than this happens in a thread."""


async def decode_string(id: str, raw: bytes | Text, expires: float | None) -> Image:
    """Raises ``BrokenRecord``."""
    if isinstance(raw, bytes):
        return await _decode(len(raw), lambda: records.image_from_json(id, raw, expires))
    return await _decode(len(raw), lambda: records.image_from_json(id, raw.buffer, expires, raw.start, raw.stop))


async def decode_hash(id: str, values: Sequence[bytes | Text | None], expires: float | None) -> Image:
    """``values`` of ``content`` and ``records.FIELDS``. Raises ``BrokenRecord``."""
    content, *rest = (bytes(value) if isinstance(value, Text) else value for value in values)
    fields = dict(zip(records.FIELDS, rest, strict=True))
    hashed = len(content or b"") if fields["etag"] is None else 0
    return await _decode(hashed, lambda: records.image_from_hash(id, fields, content, expires))


async def offload(size: int, work: Callable[[], T]) -> T:
    """Do ``work`` on ``size`` bytes here if that is quick, else in a thread."""
    return await asyncio.to_thread(work) if size > INLINE_BYTES else work()


async def _decode(size: int, decode: Callable[[], Image]) -> Image:
    begun = time.perf_counter()
    image = await offload(size, decode)
    return replace(image, decode_seconds=time.perf_counter() - begun)
