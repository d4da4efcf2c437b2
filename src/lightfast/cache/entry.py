"""What memory has of an image, and what is found when one is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lightfast.cache.coherence import UNTRUSTED
from lightfast.http.caching import CacheOutcome
from lightfast.model import Content, Meta

ENTRY_OVERHEAD = 4096
"""What an entry holds beside its content, in bytes: metadata, prepared header blocks, cache node. Rounded up."""

HIT = CacheOutcome(hit=True)
STALE_HIT = CacheOutcome(hit=True, detail="stale-store-away")


@dataclass(slots=True)
class Entry:
    """A copy in memory, and who vouches for it."""

    meta: Meta
    content: Content
    epoch: int
    """Of the link that has brought every change since the copy was verified (``Link.trusted_epoch``)."""
    verified: float
    """When the store was last asked about it. Unix seconds."""
    prepared: dict[bytes, Any] = field(default_factory=dict)
    """Whatever a faster way of answering keeps ready for each request target; goes with the copy."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, and how. ``content`` is ``None`` where only the metadata was asked for and the store told it.

    ``store_seconds`` is what the store took, ``None`` where it was not asked for bytes, ``decode_seconds`` the part of
    it that was decoding. ``age`` is for how many seconds the copy has not been verified, ``None`` unless it is served
    as stale.
    """

    meta: Meta
    content: Content | None
    outcome: CacheOutcome
    epoch: int = UNTRUSTED
    store_seconds: float | None = None
    decode_seconds: float = 0.0
    age: float | None = None
    render_seconds: float | None = None
    """What making it took, where it was made for this request."""
