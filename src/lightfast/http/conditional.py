"""Entity tags and conditional requests (RFC 9110 §8.8.3 and §13)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from lightfast.errors import InvalidRequest
from lightfast.http.dates import parse_http_date
from lightfast.http.fields import Fields
from lightfast.model import ANY_ETAG, Precondition

_TAG_SYNTAX = r'(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*+)"'
_TAG = re.compile(_TAG_SYNTAX)
# §5.6.1.2: elements of a list may be empty. Possessive, so that a run of blanks costs linear time.
_LIST_ELEMENT = re.compile(rf"[ \t]*+(?:{_TAG_SYNTAX})?[ \t]*+(?P<end>,|\Z)")


@dataclass(frozen=True, slots=True)
class EntityTag:
    """One entity tag; ``opaque`` without the quotes."""

    opaque: str
    weak: bool = False

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read exactly one tag; ``None`` if ``text`` is anything else."""
        found = _TAG.fullmatch(text)
        return None if found is None else cls(found["opaque"], found["weak"] is not None)

    def __str__(self) -> str:
        return f'W/"{self.opaque}"' if self.weak else f'"{self.opaque}"'

    def equals_strongly(self, other: EntityTag) -> bool:
        """RFC 9110 §8.8.3.2: the same, and neither is weak."""
        return not self.weak and self == other

    def equals_weakly(self, other: EntityTag) -> bool:
        """RFC 9110 §8.8.3.2: the same but for weakness."""
        return self.opaque == other.opaque


@dataclass(frozen=True, slots=True)
class EntityTags:
    """The value of If-Match or If-None-Match: a list of tags, or ``*`` (``any``)."""

    tags: tuple[EntityTag, ...] = ()
    any: bool = False

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read ``*`` or a list of tags, which may be empty; ``None`` if it is neither."""
        if text == "*":
            return cls(any=True)
        tags, position = [], 0
        while True:
            found = _LIST_ELEMENT.match(text, position)
            if found is None:
                return None
            if found["opaque"] is not None:
                tags.append(EntityTag(found["opaque"], found["weak"] is not None))
            if not found["end"]:
                return cls(tuple(tags))
            position = found.end()

    def matches_strongly(self, etag: str) -> bool:
        """Whether the existing representation with the strong tag ``etag`` (no quotes) is named."""
        current = EntityTag(etag)
        return self.any or any(tag.equals_strongly(current) for tag in self.tags)

    def matches_weakly(self, etag: str) -> bool:
        """The same, and a weak tag will do."""
        current = EntityTag(etag)
        return self.any or any(tag.equals_weakly(current) for tag in self.tags)


_NO_TAGS = EntityTags()


class Verdict(Enum):
    """What the conditions of a read ask for."""

    SEND = auto()
    NOT_MODIFIED = auto()
    PRECONDITION_FAILED = auto()


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one representation from another."""

    etag: str
    """The opaque tag without quotes; strong."""
    modified: float | None
    """Unix seconds; ``None`` where it is not known."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a GET or HEAD; ``None`` = absent. Dates in Unix seconds."""

    if_match: EntityTags | None = None
    if_none_match: EntityTags | None = None
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None

    @classmethod
    def parse(cls, fields: Fields, now: float) -> Self:
        """Read the conditions of a request. An invalid date counts as absent (RFC 9110 §13.1.3, §13.1.4)."""
        return cls(
            if_match=_tags_for_reading(fields, "if-match"),
            if_none_match=_tags_for_reading(fields, "if-none-match"),
            if_modified_since=_date(fields, "if-modified-since", now),
            if_unmodified_since=_date(fields, "if-unmodified-since", now),
        )

    @property
    def is_empty(self) -> bool:
        return self == _NO_CONDITIONS


_NO_CONDITIONS = Conditions()


def evaluate(conditions: Conditions, validators: Validators) -> Verdict:
    """Judge a GET or HEAD of an existing representation in the order of RFC 9110 §13.2.2."""
    if conditions.if_match is not None:
        if not conditions.if_match.matches_strongly(validators.etag):
            return Verdict.PRECONDITION_FAILED
    elif conditions.if_unmodified_since is not None and _changed_after(validators, conditions.if_unmodified_since):
        return Verdict.PRECONDITION_FAILED
    # §13.1.3: a present If-None-Match silences If-Modified-Since.
    if conditions.if_none_match is not None:
        return Verdict.NOT_MODIFIED if conditions.if_none_match.matches_weakly(validators.etag) else Verdict.SEND
    since = conditions.if_modified_since
    if since is None or validators.modified is None or _changed_after(validators, since):
        return Verdict.SEND
    return Verdict.NOT_MODIFIED


def write_precondition(fields: Fields, now: float) -> Precondition:
    """The condition of a PUT, POST or DELETE. If-Modified-Since has no meaning there (RFC 9110 §13.1.3).

    Raises ``InvalidRequest`` for a tag condition that can't be read: a client that guards its write must
    not learn afterwards that the guard was overlooked. An invalid date is ignored, as §13.1.4 requires.
    """
    match = _tags_for_writing(fields, "if-match", "If-Match")
    none_match = _tags_for_writing(fields, "if-none-match", "If-None-Match")
    return Precondition(
        match=None if match is None else _opaque(match, weakly=False),
        none_match=None if none_match is None else _opaque(none_match, weakly=True),
        unmodified_since=_date(fields, "if-unmodified-since", now),
    )


def _changed_after(validators: Validators, date: int) -> bool:
    # §13.1.3, §13.1.4: by order, in the whole seconds of an HTTP-date; without a modification date
    # there is nothing to hold against the client.
    return validators.modified is not None and math.floor(validators.modified) > date


def _tags_for_reading(fields: Fields, name: str) -> EntityTags | None:
    value = fields.get(name)
    if value is None:
        return None
    # A condition that can't be read names no representation. If-None-Match then sends the whole, which is
    # never wrong. If-Match then fails: the client wants this answer of one version only, and nothing that
    # it said vouches for the version at hand.
    return EntityTags.parse(value) or _NO_TAGS


def _tags_for_writing(fields: Fields, name: str, shown: str) -> EntityTags | None:
    value = fields.get(name)
    if value is None:
        return None
    tags = EntityTags.parse(value)
    if tags is None or tags == _NO_TAGS:
        example = '"5d41402abc4b2a76b9719d911017c592"'
        raise InvalidRequest(f"{shown} can't be read: it must be * or a list of quoted entity tags such as {example}.")
    return tags


def _opaque(tags: EntityTags, weakly: bool) -> frozenset[str]:
    if tags.any:
        return frozenset({ANY_ETAG})
    # A tag whose opaque part is an asterisk is not the asterisk that stands for any.
    return frozenset(tag.opaque for tag in tags.tags if (weakly or not tag.weak) and tag.opaque != ANY_ETAG)


def _date(fields: Fields, name: str, now: float) -> int | None:
    value = fields.get(name)
    return None if value is None else parse_http_date(value, now)
