"""The story of a read, top to bottom. No I/O of its own."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from lightfast.cache.tiered import HIT, Entry, Found, TieredCache
from lightfast.errors import PreconditionFailed, RangeNotSatisfiable
from lightfast.http.caching import REVALIDATE, CachePolicy, cache_control, cache_status, fresh_until, server_timing
from lightfast.http.conditional import Conditions, Validators, Verdict, evaluate
from lightfast.http.dates import format_http_date
from lightfast.http.digest import repr_digest
from lightfast.http.disposition import content_disposition
from lightfast.http.ranges import Span, content_range, if_range_holds, multipart, resolve
from lightfast.model import Clock, Content, Meta
from lightfast.tally import Tier

DIGEST_INLINE_LIMIT = 64 * 1024
"""Content up to this many bytes is hashed on the event loop (about 0.1 ms), longer content in a thread."""

Headers = list[tuple[str, str]]
Body = tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A parsed GET or HEAD of an image."""

    id: str
    conditions: Conditions
    head: bool = False
    version: str | None = None
    download: bool = False
    range: str | None = None
    if_range: str | None = None
    digest: str | None = None
    """The algorithm of ``Repr-Digest`` that the client wants, if any."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing but If-None-Match says anything about what is wanted of the URL."""
        return not (self.range or self.digest) and self.conditions == Conditions(self.conditions.if_none_match)

    @property
    def needs_bytes(self) -> bool:
        return not self.head or self.digest is not None


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. The pieces of ``body`` follow each other; there are none for HEAD and 304."""

    status: int
    headers: Headers
    body: Body = ()
    tier: Tier = Tier.NONE
    """Where it came from."""


@dataclass(frozen=True, slots=True)
class Heads:
    """What a faster way of answering needs to answer plain requests for one URL, all from the same functions as here.

    Valid while ``entry`` is in memory and trusted, and until the moment ``until`` (Unix seconds).
    """

    entry: Entry
    until: float
    whole: Headers
    """Of a 200 to GET or HEAD."""
    unchanged: Headers
    """Of a 304."""


class Serving:
    """Answers read requests from the cache levels."""

    def __init__(self, tier: TieredCache, policy: CachePolicy, *, clock: Clock, timer: Clock) -> None:
        self.tier = tier
        self._policy = policy
        self._clock = clock
        self._timer = timer

    async def read(self, request: ReadRequest) -> Answer:
        """Answer ``request`` with 200, 206 or 304.

        Raises ``Missing``, ``PreconditionFailed``, ``RangeNotSatisfiable``, ``BrokenRecord``, ``StoreUnavailable``.
        """
        started = self._timer()
        found = await self._resolve(request)
        if found.content is None and request.needs_bytes and _judge(found, request) is Verdict.SEND:
            # It may have been replaced since it was resolved, so what comes is judged below like any other.
            found = await self.tier.find(request.id)
        verdict = _judge(found, request)
        if verdict is Verdict.PRECONDITION_FAILED:
            raise PreconditionFailed(found.meta.etag)
        if verdict is Verdict.NOT_MODIFIED:
            headers = self._validating_headers(found, request)
            return Answer(304, headers + self._story(found, started), tier=_tier(found))
        headers = self._representation_headers(found, request)
        if found.content is not None and request.digest is not None:
            headers.append(("repr-digest", await _digest(request.digest, found.content)))
        answer = _whole(found.meta) if found.content is None else self._deliver(found.meta, found.content, request)
        body = () if request.head else answer.body
        return Answer(answer.status, headers + answer.headers + self._story(found, started), body, _tier(found))

    async def _resolve(self, request: ReadRequest) -> Found:
        # A condition or a HEAD can be answered without the bytes; a plain GET never can, so one store read serves it.
        if request.needs_bytes and request.conditions.is_empty:
            return await self.tier.find(request.id)
        return await self.tier.find_meta(request.id)

    def heads(self, request: ReadRequest) -> Heads | None:
        """The headers of every plain answer to ``request``'s URL; ``None`` if its image can't be had without asking."""
        entry, now = self.tier.trusted(request.id), self._clock()
        if entry is None or (entry.meta.created or 0) > now:  # its Last-Modified is still to settle
            return None
        until = fresh_until(entry.meta, request.version, self._policy, now)
        found = Found(entry.meta, entry.content, HIT)
        status = [("cache-status", cache_status(HIT))]
        whole = self._representation_headers(found, request) + _whole(entry.meta).headers + status
        return Heads(entry, until, whole, self._validating_headers(found, request) + status)

    def _deliver(self, meta: Meta, content: Content, request: ReadRequest) -> Answer:
        """The whole, or the parts that a GET asks for (RFC 9110 §14.2: Range means nothing to HEAD)."""
        spans = None if request.head or request.range is None else resolve(request.range, meta.size)
        if spans is not None and request.if_range is not None:
            current = if_range_holds(request.if_range, meta.etag, meta.created, self._clock())
            spans = spans if current else None
        if spans is None:
            return _whole(meta, content)
        if not spans:
            raise RangeNotSatisfiable(meta.size)
        return _part(meta, content, spans[0]) if len(spans) == 1 else _parts(meta, content, spans)

    def _validating_headers(self, found: Found, request: ReadRequest) -> Headers:
        """What a 304 must carry as well (RFC 9110 §15.4.5)."""
        meta = found.meta
        headers = [("etag", f'"{meta.etag}"'), ("vary", "Accept-Encoding")]
        if found.age is None:
            headers.append(("cache-control", cache_control(meta, request.version, self._policy, self._clock())))
        else:
            # RFC 9111 §5.1: how long ago the origin vouched for it. Nobody is to keep what nobody vouches for.
            headers += [("age", str(int(found.age))), ("cache-control", REVALIDATE)]
        return headers

    def _representation_headers(self, found: Found, request: ReadRequest) -> Headers:
        meta = found.meta
        headers = self._validating_headers(found, request)
        if meta.created is not None:
            # RFC 9110 §8.8.2.1: never later than Date, even where the version's own second is still to come.
            headers.append(("last-modified", format_http_date(min(meta.created, self._clock()))))
        headers += [
            ("accept-ranges", "bytes"),
            ("content-disposition", content_disposition(meta.id, meta.media_type, request.download)),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "cross-origin"),
        ]
        return headers

    def _story(self, found: Found, started: float) -> Headers:
        total = self._timer() - started
        timings = [("total", total)]
        if found.store_seconds is not None:
            store = found.store_seconds - found.decode_seconds
            timings = [("store", store), ("decode", found.decode_seconds), ("total", total)]
        return [("cache-status", cache_status(found.outcome)), ("server-timing", server_timing(timings))]


def _tier(found: Found) -> Tier:
    if found.age is not None:
        return Tier.STALE
    return Tier.MEMORY if found.outcome.hit else Tier.STORE


def _judge(found: Found, request: ReadRequest) -> Verdict:
    return evaluate(request.conditions, Validators(found.meta.etag, found.meta.created))


async def _digest(algorithm: str, content: Content) -> str:
    if len(content) <= DIGEST_INLINE_LIMIT:
        return repr_digest(algorithm, content)
    return await asyncio.to_thread(repr_digest, algorithm, content)


def _whole(meta: Meta, content: Content | None = None) -> Answer:
    headers = [("content-type", meta.media_type), ("content-length", str(meta.size))]
    return Answer(200, headers, () if content is None else (content,))


def _part(meta: Meta, content: Content, span: Span) -> Answer:
    headers = [
        ("content-type", meta.media_type),
        ("content-length", str(span.stop - span.start)),
        ("content-range", content_range(span, meta.size)),
    ]
    return Answer(206, headers, (memoryview(content)[span.start : span.stop],))


def _parts(meta: Meta, content: Content, spans: tuple[Span, ...]) -> Answer:
    boundary = secrets.token_hex(16)
    framing = multipart(spans, meta.size, meta.media_type, boundary)
    view = memoryview(content)
    body: list[bytes | memoryview] = []
    for opening, span in zip(framing.heads, spans, strict=True):
        body += (opening, view[span.start : span.stop])
    headers = [
        ("content-type", framing.media_type),
        ("content-length", str(framing.length)),
    ]
    return Answer(206, headers, (*body, framing.tail))
