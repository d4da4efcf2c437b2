"""What a cache is told and what it is explained: Cache-Control, Cache-Status, Server-Timing.

RFC 9111 (caching), RFC 8246 (immutable), RFC 9211 (Cache-Status), W3C Server Timing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from lightfast.model import Meta

REVALIDATE = "no-cache"
VERSIONED_TTL = 31_536_000
"""Seconds: a year."""
VERSIONED = f"public, max-age={VERSIONED_TTL}, immutable"

_CACHE = "lightfast"
_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]*")


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long others may keep what was answered, in seconds. Raises ``ValueError`` unless finite and not negative."""

    browser_ttl: float = 3600
    """For the bare URL of an image that was never replaced."""
    immutable: bool = True
    """Whether browsers may skip revalidation of such a URL, also when the user reloads (RFC 8246)."""
    missing_ttl: float = 1
    """For the answer that an image is missing."""

    def __post_init__(self) -> None:
        for ttl in (self.browser_ttl, self.missing_ttl):
            if not (math.isfinite(ttl) and ttl >= 0):
                raise ValueError(f"A time to live is a number of seconds from 0 on, not {ttl}.")


class Forward(Enum):
    """Why a request went past the cache to the store (RFC 9211 §2.2)."""

    URI_MISS = "uri-miss"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class CacheOutcome:
    """What the memory cache did for one request: it was a hit, or it was forwarded for a reason.

    Raises ``ValueError`` for both or neither of these, for a hit that says ``stored`` or ``collapsed``, which
    RFC 9211 ties to forwarding, and for a ``detail`` that is no token.
    """

    hit: bool
    forward: Forward | None = None
    stored: bool = False
    """Whether the answer of the store was kept (RFC 9211 §2.5)."""
    collapsed: bool = False
    """Whether it waited for a load that another request had begun (RFC 9211 §2.6)."""
    detail: str | None = None
    """A token of our own that says more, such as ``stale-store-away`` (RFC 9211 §2.8)."""

    def __post_init__(self) -> None:
        if self.hit is not (self.forward is None):
            raise ValueError("A request is either a hit or forwarded.")
        if self.hit and (self.stored or self.collapsed):
            raise ValueError("Only what was forwarded can be stored or collapsed.")
        if self.detail is not None and not _TOKEN.fullmatch(self.detail):
            raise ValueError(f"{self.detail!r} is no token.")


def cache_control(meta: Meta, version: str | None, policy: CachePolicy, now: float, until: float | None = None) -> str:
    """Cache-Control of ``meta``'s image at a URL that asks for ``version`` (an ETag; ``None`` = the bare URL).

    ``until``: the moment from which the URL itself is no longer good, because its signature ends; ``None`` = never.
    """
    if version == meta.etag:
        # These bytes are the only ones this URL can ever name, so what has them may keep them; that the
        # image expires here does not make a kept copy wrong.
        if until is None or until - now >= VERSIONED_TTL:
            return VERSIONED
        lifetime = until - now
    elif version is not None or meta.replaced:
        # Another version than asked for, or an id that is known to change: no promise for later.
        return REVALIDATE
    else:
        lifetime = policy.browser_ttl if meta.expires is None else min(policy.browser_ttl, meta.expires - now)
        if until is not None:
            lifetime = min(lifetime, until - now)
    seconds = math.floor(lifetime)
    if seconds < 1:
        return REVALIDATE
    return f"public, max-age={seconds}, immutable" if policy.immutable else f"public, max-age={seconds}"


def fresh_until(meta: Meta, version: str | None, policy: CachePolicy, now: float, until: float | None = None) -> float:
    """The moment until which ``cache_control`` goes on to answer what it answers ``now``; the end of the image's life,
    or that of the URL, at the latest."""
    ends = [end for end in (meta.expires, until) if end is not None]
    if not ends:
        return math.inf
    first = min(ends)
    if version == meta.etag:
        counting, lifetime = until, float(VERSIONED_TTL)
    elif version is not None or meta.replaced:
        counting, lifetime = None, 0.0
    else:
        counting, lifetime = first, policy.browser_ttl
    if counting is None or counting - now < 1 or lifetime < 1:
        return first
    # From its lifetime before the end on, max-age counts down with every second.
    remaining = counting - now
    return min(first, counting - (lifetime if remaining > lifetime else math.floor(remaining)))


def missing_cache_control(policy: CachePolicy) -> str:
    """Cache-Control of a 404, which caches would otherwise keep for as long as they see fit (RFC 9111 §4.2.2)."""
    seconds = math.floor(policy.missing_ttl)
    return f"public, max-age={seconds}" if seconds else REVALIDATE


def cache_status(outcome: CacheOutcome) -> str:
    """Cache-Status with this one cache in it (RFC 9211 §2)."""
    parts = [_CACHE, "hit" if outcome.forward is None else f"fwd={outcome.forward.value}"]
    if outcome.stored:
        parts.append("stored")
    if outcome.collapsed:
        parts.append("collapsed")
    if outcome.detail is not None:
        parts.append(f"detail={outcome.detail}")
    return "; ".join(parts)


def server_timing(entries: Sequence[tuple[str, float]]) -> str:
    """Server-Timing of names (tokens) and seconds; on the wire these are milliseconds."""
    return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in entries)
