"""The values that every floor speaks in. Frozen, standard library only.

Times are Unix seconds as floats, lengths are bytes, dimensions are pixels.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

Clock = Callable[[], float]
"""Returns the current Unix time in seconds. ``time.time`` in production."""

ANY_ETAG = "*"

ID_PATTERN = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"
_ID = re.compile(ID_PATTERN)


def is_valid_id(text: str) -> bool:
    """Whether ``text`` may name an image: 1 to 128 of ``A-Z a-z 0-9 . _ -``, no dot in front."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of one version of an image without its bytes."""

    id: str
    etag: str
    """MD5 of the content, 32 lower-case hex digits, without quotes."""
    media_type: str
    size: int
    width: int | None
    """Pixels; ``None`` where a foreign record holds an image whose header is not understood."""
    height: int | None
    created: float | None
    """When this version was stored; ``None`` where a foreign record does not say."""
    replaced: bool
    """Whether this id named other bytes before, so that old copies may be in browsers."""
    expires: float | None
    """The moment from which the image is gone; ``None`` = never."""

    def is_expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now


Content = bytes | memoryview
"""The bytes of an image, or a read-only view of them where they lie in a memory file."""


@dataclass(frozen=True, slots=True)
class Image:
    """One version of an image with its bytes."""

    meta: Meta
    content: bytes
    decode_seconds: float = field(default=0.0, compare=False)
    """How long turning the stored form into ``content`` took; part of the store's time."""


def meta_of(seen: Meta | Image) -> Meta:
    """Of a version, whether or not its bytes came with it."""
    return seen.meta if isinstance(seen, Image) else seen


@dataclass(frozen=True, slots=True)
class Picture:
    """What was made. ``width`` and ``height`` in pixels, of one frame."""

    content: bytes
    media_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Rendition:
    """A picture that was made from a version of an image, as it is kept."""

    content: bytes
    etag: str
    media_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What stands for a picture until it is there."""

    thumbhash: str
    """Base64 of about 25 bytes."""
    blurhash: str
    """4 × 3 components; what is transparent counts as white."""
    colour: str
    """The most common colour, ``#rrggbb``."""
    data_url: str
    """A WebP of at most 64 × 64 pixels, the whole URL below 1 KB."""
    width: int
    """Of the picture as it is shown, its orientation applied."""
    height: int

    @property
    def transparent(self) -> bool:
        """Whether something behind the picture would shine through; a bit of the ThumbHash says so."""
        return bool(base64.b64decode(self.thumbhash)[2] & 0x80)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Preview:
        """Raises ``ValueError`` where ``text`` is not what ``to_json`` writes."""
        values: Any = json.loads(text)  # JSON may be anything; what it is gets checked below
        if not isinstance(values, dict) or {name: type(value).__name__ for name, value in values.items()} != {
            item.name: item.type for item in fields(cls)
        }:
            raise ValueError("This is no preview.")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Draft:
    """A validated image on its way into a store, before the store has given it a place in time."""

    id: str
    content: bytes
    etag: str
    media_type: str
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class Predecessor:
    """What a store remembers of the version that an id named last, also after its deletion."""

    etag: str
    created: float | None
    replaced: bool


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold of the current version for a write to happen (RFC 9110 §13.1.1, §13.1.2, §13.1.4).

    The tags are opaque, without quotes; ``{"*"}`` stands for any, ``None`` for an absent condition.
    """

    match: frozenset[str] | None = None
    none_match: frozenset[str] | None = None
    unmodified_since: int | None = None

    def allows(self, current: Meta | None) -> bool:
        """Decide against the current version, ``None`` when there is none, in the order of RFC 9110 §13.2.2."""
        if self.match is not None:
            unchanged = _selects(self.match, current)
        else:
            unchanged = self.unmodified_since is None or _unmodified(self.unmodified_since, current)
        return unchanged and (self.none_match is None or not _selects(self.none_match, current))


ALWAYS = Precondition()


def _selects(tags: frozenset[str], current: Meta | None) -> bool:
    return current is not None and (ANY_ETAG in tags or current.etag in tags)


def _unmodified(since: int, current: Meta | None) -> bool:
    # RFC 9110 §13.1.4: the condition is ignored where no modification date is known.
    return current is None or current.created is None or math.floor(current.created) <= since


@dataclass(frozen=True, slots=True)
class Stored:
    """The outcome of a put: the version as stored, and whether the id named nothing before."""

    meta: Meta
    created: bool


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing. ``cursor`` is opaque; ``None`` on the last page."""

    items: tuple[Meta, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to what the store has under an id."""

    id: str | None
    """``None``: anything may have changed, by a flush or while nobody was told."""
    kind: str = "changed"
    """What happened: ``stored``, ``deleted`` or ``flushed`` where the store says so, else ``changed``. A watch also
    says ``linked`` and ``missed``."""
    at: float | None = None
    """When it happened, where the store says so. Unix seconds."""
    etag: str | None = None
    """Of the version that was stored, where the store says so; then ``expires`` is its own, too."""
    expires: float | None = None

    def made(self, meta: Meta) -> bool:
        """Whether ``meta`` is the version that this change has brought."""
        return self.etag is not None and (self.etag, self.expires) == (meta.etag, meta.expires)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A change as it was seen to arrive, for people."""

    at: datetime
    id: str | None
    what: str
    """``linked``, ``lost: …``, ``flushed`` or ``missed``; of an image ``stored``, ``deleted``, ``changed``, ``gone`` or
    ``broken: …``."""
    etag: str | None = None
    lag: float | None = None
    """Seconds from the change to its arrival here; ``None`` where the store does not say when it was."""


@dataclass(frozen=True, slots=True)
class Info:
    """What an application and its clients get told about an image."""

    id: str
    url: str
    """Where it is served; names the version, so it may be cached for ever."""
    etag: str
    media_type: str
    width: int | None
    height: int | None
    bytes: int
    created: datetime | None
    replaced: bool
    expires: datetime | None
    preview: Preview | None = None
    """``None`` in listings, and where it can't be made or was not ready yet."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of ``Info``. ``cursor`` is opaque; ``None`` on the last page."""

    images: tuple[Info, ...]
    cursor: str | None


def describe(meta: Meta, url: str, preview: Preview | None = None) -> Info:
    return Info(
        id=meta.id,
        url=url,
        etag=meta.etag,
        media_type=meta.media_type,
        width=meta.width,
        height=meta.height,
        bytes=meta.size,
        created=_moment(meta.created),
        replaced=meta.replaced,
        expires=_moment(meta.expires),
        preview=preview,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def next_version(draft: Draft, previous: Predecessor | Meta | None, now: float, ttl: float) -> Meta:
    """Give ``draft`` its place after ``previous``. ``ttl`` in seconds, ``0`` = for ever.

    Two different versions of one id never share a whole second, because Last-Modified can't tell
    them apart within one (RFC 9110 §8.8.2.2). Storing the same bytes again is not a replacement:
    it renews the expiry and leaves the version where it is in time.
    """
    created, replaced = now, False
    if previous is not None:
        unchanged = previous.etag == draft.etag
        replaced = previous.replaced or not unchanged
        if previous.created is not None:
            following = math.floor(previous.created) + 1
            created = previous.created if unchanged else max(now, float(following))
    return Meta(
        id=draft.id,
        etag=draft.etag,
        media_type=draft.media_type,
        size=len(draft.content),
        width=draft.width,
        height=draft.height,
        created=created,
        replaced=replaced,
        expires=now + ttl if ttl else None,
    )
