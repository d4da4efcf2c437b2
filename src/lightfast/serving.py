"""The story of a read, top to bottom. No I/O of its own."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace

from lightfast.cache.entry import HIT, Entry, Found
from lightfast.cache.placeholders import Placeholders
from lightfast.cache.tiered import TieredCache
from lightfast.cache.variants import Outdated, Variants, Wanted
from lightfast.errors import Overloaded, PreconditionFailed, RangeNotSatisfiable
from lightfast.http.caching import REVALIDATE, CachePolicy, cache_control, cache_status, fresh_until, server_timing
from lightfast.http.conditional import Conditions, Validators, Verdict, evaluate
from lightfast.http.dates import format_http_date
from lightfast.http.digest import repr_digest
from lightfast.http.disposition import content_disposition
from lightfast.http.negotiation import choose
from lightfast.http.ranges import Span, content_range, if_range_holds, multipart, resolve
from lightfast.model import Clock, Content, Meta, Preview
from lightfast.spec import encoded_as
from lightfast.tally import Tier
from lightfast.variant import MEDIA_TYPES, Format, Placeholder, Variant

DIGEST_INLINE_LIMIT = 64 * 1024
"""Content up to this many bytes is hashed on the event loop (about 0.1 ms), longer content in a thread."""

ATTEMPTS = 5
"""How often a variant is begun whose source is replaced before it is made."""

REPLACED_TOO_FAST = "This image is being replaced faster than variants of it can be made."

NEGOTIABLE = {MEDIA_TYPES[it]: it for it in (Format.AVIF, Format.WEBP)}
"""What is sent to clients that name it, best first."""

VARY = "Accept-Encoding"
"""What every answer says that it depends on, if on nothing else."""

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
    variant: Variant | None = None
    """``None``: the image as it was stored."""
    preview: bool = False
    """Whether it is for the preview instead."""
    negotiate: bool = False
    """Whether ``accept`` chooses the format of ``variant``."""
    accept: str | None = None
    vary: str = VARY
    until: float | None = None
    """The moment from which the URL is no longer good (Unix seconds); ``None``: never."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing but If-None-Match says anything about what is wanted of the URL."""
        return not (self.range or self.digest) and self.conditions == Conditions(self.conditions.if_none_match)

    @property
    def is_for_original(self) -> bool:
        return self.variant is None and not self.preview

    def has(self, etag: str) -> bool:
        """Whether the client says that it has this representation."""
        tags = self.conditions.if_none_match
        return tags is not None and any(tag.opaque == etag for tag in tags.tags)

    @property
    def needs_bytes(self) -> bool:
        return not self.head or self.digest is not None


@dataclass(frozen=True, slots=True)
class Subject:
    """The representation that a request is about."""

    found: Found
    """Of it; without content, and without size, while a variant is not loaded."""
    source: Meta
    """The version of the image that it is, or is made from."""
    wanted: Wanted | None = None
    """``None``: the image as it was stored."""

    @property
    def key(self) -> str:
        """Where it is in memory."""
        return self.source.id if self.wanted is None else self.wanted.key


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. The pieces of ``body`` follow each other; there are none for HEAD and 304."""

    status: int
    headers: Headers
    body: Body = ()
    tier: Tier = Tier.NONE
    """Where it came from."""
    subject: Subject | None = None
    """What it is of."""


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

    def __init__(
        self,
        tier: TieredCache,
        variants: Variants,
        placeholders: Placeholders,
        policy: CachePolicy,
        *,
        clock: Clock,
        timer: Clock,
    ) -> None:
        self.tier = tier
        self._variants = variants
        self.placeholders = placeholders
        self._policy = policy
        self._clock = clock
        self._timer = timer

    async def read(self, request: ReadRequest) -> Answer:
        """Answer ``request`` with 200, 206 or 304.

        Raises ``Missing``, ``PreconditionFailed``, ``RangeNotSatisfiable``, ``BrokenRecord``, ``StoreUnavailable``; for
        a variant also what ``ports.Renderer.render`` raises.
        """
        started = self._timer()
        for _ in range(ATTEMPTS):
            try:
                return await self._read(request, started)
            except Outdated:
                continue
        raise Overloaded(REPLACED_TOO_FAST)

    async def _read(self, request: ReadRequest, started: float) -> Answer:
        subject = await self._resolve(request)
        if _judge(subject, request) is Verdict.SEND:
            subject = await self._load(subject, request)
        # It may have been replaced since it was resolved, so what has come is judged like any other.
        return await self._answer(subject, request, started)

    async def preview(self, id: str) -> Preview:
        """The preview of an image. Raises ``Missing``, and what ``ports.Renderer.preview`` raises."""
        for _ in range(ATTEMPTS):
            try:
                return await self._variants.preview(await self.tier.find_meta(id))
            except Outdated:
                continue
        raise Overloaded(REPLACED_TOO_FAST)

    async def placeholder(self, request: ReadRequest, wanted: Placeholder) -> Answer:
        """Answer ``request`` with the placeholder ``wanted``, which never changes. Raises as ``Placeholders.find``,
        ``PreconditionFailed`` and ``RangeNotSatisfiable``."""
        started = self._timer()
        found = await self.placeholders.find(wanted)
        subject = Subject(found, found.meta)
        return await self._answer(subject, replace(request, version=found.meta.etag), started)

    async def _answer(self, subject: Subject, request: ReadRequest, started: float) -> Answer:
        verdict, found = _judge(subject, request), subject.found
        if verdict is Verdict.PRECONDITION_FAILED:
            raise PreconditionFailed(found.meta.etag)
        if verdict is Verdict.NOT_MODIFIED:
            headers = self._validating_headers(subject, request)
            return Answer(304, headers + self._story(found, started), tier=_tier(found), subject=subject)
        headers = self._representation_headers(subject, request)
        if found.content is not None and request.digest is not None:
            headers.append(("repr-digest", await _digest(request.digest, found.content)))
        answer = _whole(found.meta) if found.content is None else self._deliver(subject, found.content, request)
        body = () if request.head else answer.body
        headers += answer.headers + self._story(found, started)
        return Answer(answer.status, headers, body, _tier(found), subject)

    async def _resolve(self, request: ReadRequest) -> Subject:
        """Find out the version of the image, and which representation of it is wanted."""
        # A condition or a HEAD can be answered without the bytes; a plain GET never can, so one store read serves it.
        if request.is_for_original and request.needs_bytes and request.conditions.is_empty:
            found = await self.tier.find(request.id)
            return Subject(found, found.meta)
        found = await self.tier.find_meta(request.id)
        wanted = self._variants.wanted(found.meta, None) if request.preview else None
        if request.variant is not None:
            wanted = await self._select(found, request.variant, request)
        if wanted is None:
            return Subject(found, found.meta)
        return Subject(Found(wanted.meta(), None, found.outcome, found.epoch, age=found.age), found.meta, wanted)

    async def _select(self, source: Found, variant: Variant, request: ReadRequest) -> Wanted | None:
        """Choose the format (RFC 9110 §12.5.1); ``None``: the image as it was stored.

        An AVIF that has to be made first is made quickly now, and well later.
        """
        variants, plain = self._variants, source.meta.media_type
        if not request.negotiate:
            return variants.wanted(source.meta, variant)
        if variant.format is not None:
            plain = variants.wanted(source.meta, variant).media_type
        named = list(NEGOTIABLE)
        if await variants.moves(source):
            named.remove("image/avif")  # it would stand still
        chosen = choose(request.accept, named, [plain])
        if chosen is None or chosen == plain:
            return variants.wanted(source.meta, variant) if variant != Variant() else None
        wanted = variants.wanted(source.meta, encoded_as(variant, NEGOTIABLE[chosen]))
        if chosen != "image/avif":
            return wanted
        # Whoever has the better one already keeps it, though nobody else may.
        if request.has(wanted.etag):
            return wanted
        instead = variants.wanted(source.meta, encoded_as(variant, Format.AVIF, fast=True))
        if await variants.is_made(wanted, instead):
            return wanted
        return instead

    async def _load(self, subject: Subject, request: ReadRequest) -> Subject:
        """With the bytes, where they are needed."""
        found, wanted = subject.found, subject.wanted
        if wanted is None:
            if found.content is not None or not request.needs_bytes:
                return subject
            found = await self.tier.find(request.id)
            return Subject(found, found.meta)
        source = replace(found, meta=subject.source)
        made = await self._variants.find(source, wanted)
        if wanted.variant is not None and wanted.transient:
            better = self._variants.wanted(subject.source, encoded_as(wanted.variant, Format.AVIF))
            self._variants.improve(better, wanted)
        return Subject(made, subject.source, wanted)

    def heads(self, request: ReadRequest, subject: Subject) -> Heads | None:
        """The headers of every plain answer to ``request``'s URL, which has just been answered with ``subject``;
        ``None`` if it can't be had without asking."""
        return self._heads(self.tier.trusted(subject.key), request, subject)

    def placeholder_heads(self, request: ReadRequest, wanted: Placeholder, subject: Subject) -> Heads | None:
        """As ``heads``, of a placeholder."""
        entry = self.placeholders.kept(wanted)
        return self._heads(entry, replace(request, version=subject.source.etag), subject)

    def _heads(self, entry: Entry | None, request: ReadRequest, subject: Subject) -> Heads | None:
        now = self._clock()
        if entry is None or entry.meta.etag != subject.found.meta.etag:
            return None
        if (entry.meta.created or 0) > now:  # its Last-Modified is still to settle
            return None
        source = entry.meta if subject.wanted is None else subject.source
        until = fresh_until(source, request.version, self._policy, now, request.until)
        if subject.wanted is not None and subject.wanted.transient:
            until = min(until, now + 1)  # a better one may be there then
        current = Subject(Found(entry.meta, entry.content, HIT), source, subject.wanted)
        status = [("cache-status", cache_status(HIT))]
        whole = self._representation_headers(current, request) + _whole(entry.meta).headers + status
        return Heads(entry, until, whole, self._validating_headers(current, request) + status)

    def _deliver(self, subject: Subject, content: Content, request: ReadRequest) -> Answer:
        """The whole, or the parts that a GET asks for (RFC 9110 §14.2: Range means nothing to HEAD)."""
        meta = subject.found.meta
        spans = None if request.head or request.range is None else resolve(request.range, meta.size)
        if spans is not None and request.if_range is not None:
            # What is made has the date of its source, whoever makes it, so that date names no bytes.
            date = meta.created if subject.wanted is None else None
            current = if_range_holds(request.if_range, meta.etag, date, self._clock())
            spans = spans if current else None
        if spans is None:
            return _whole(meta, content)
        if not spans:
            raise RangeNotSatisfiable(meta.size)
        return _part(meta, content, spans[0]) if len(spans) == 1 else _parts(meta, content, spans)

    def _validating_headers(self, subject: Subject, request: ReadRequest) -> Headers:
        """What a 304 must carry as well (RFC 9110 §15.4.5)."""
        found = subject.found
        headers = [("etag", f'"{found.meta.etag}"'), ("vary", request.vary)]
        if found.age is not None:
            # RFC 9111 §5.1: how long ago the origin vouched for it. Nobody is to keep what nobody vouches for.
            headers += [("age", str(int(found.age))), ("cache-control", REVALIDATE)]
        elif subject.wanted is not None and subject.wanted.transient:
            headers.append(("cache-control", REVALIDATE))
        else:
            control = cache_control(subject.source, request.version, self._policy, self._clock(), request.until)
            headers.append(("cache-control", control))
        return headers

    def _representation_headers(self, subject: Subject, request: ReadRequest) -> Headers:
        meta = subject.found.meta
        headers = self._validating_headers(subject, request)
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
        if found.render_seconds is not None:
            timings.insert(-1, ("render", found.render_seconds))
        return [("cache-status", cache_status(found.outcome)), ("server-timing", server_timing(timings))]


def _tier(found: Found) -> Tier:
    if found.age is not None:
        return Tier.STALE
    if found.render_seconds is not None:
        return Tier.RENDERED
    return Tier.MEMORY if found.outcome.hit else Tier.STORE


def _judge(subject: Subject, request: ReadRequest) -> Verdict:
    meta = subject.found.meta
    return evaluate(request.conditions, Validators(meta.etag, meta.created))


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
