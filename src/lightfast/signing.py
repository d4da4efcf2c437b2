"""Signatures on URLs: what needs one carries ``s=…``, made with a key that only the application and the server know.

``Scheme.HMAC`` is our own: HMAC-SHA256 (RFC 2104), in base64url, of the path and the decoded parameters sorted by name,
so that a proxy may sort or re-encode them. ``Scheme.IMGIX`` is what the clients of imgix make: the MD5 of token, path
and query exactly as sent. Both cover every parameter but ``s``, with ``expires`` (Unix seconds) among them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from enum import StrEnum
from urllib.parse import parse_qsl, urlencode, urlsplit

from lightfast.errors import Forbidden, InvalidRequest, SettingsError

MIN_KEY = 16
"""Characters of a key; imgix's own tokens have as many."""
MAX_FIELDS = 100

_PRINTABLE = re.compile(r"[\x21-\x7e]*")
_SECONDS = re.compile(r"[0-9]{1,12}")


class Scheme(StrEnum):
    """How a signature is made."""

    HMAC = "hmac"
    IMGIX = "imgix"


def parse_keys(text: str) -> tuple[str, ...]:
    """The keys of a setting, separated by commas. The first one signs, all are good for verifying, so that a key can be
    replaced without breaking what it has signed. Raises ``SettingsError`` for a short one."""
    keys = tuple(key for part in text.split(",") if (key := part.strip()))
    if any(len(key) < MIN_KEY for key in keys):
        raise SettingsError(f"A signing key must have at least {MIN_KEY} characters.")
    return keys


def sign(url: str, key: str, expires: int | None = None, scheme: Scheme = Scheme.HMAC) -> str:
    """``url`` (a whole one or path and query) with a signature, good until ``expires`` in Unix seconds.

    An old signature is replaced, and so is an old ``expires`` where a new one is given. A fragment is dropped.
    """
    parts = urlsplit(url)
    pairs = [pair for pair in _pairs(parts.query) if _name(pair) != "s"]
    if expires is not None:
        pairs = [pair for pair in pairs if _name(pair) != "expires"] + [f"expires={expires}"]
    unsigned = "&".join(pairs)
    pairs.append("s=" + _digest(_message(parts.path, unsigned, scheme), key, scheme))
    return parts._replace(query="&".join(pairs), fragment="").geturl()


def verify(path: str, query: str, keys: Sequence[str], now: float, scheme: Scheme = Scheme.HMAC) -> int | None:
    """Check the signature of a request for ``path`` with ``query``, both as sent. ``now`` in Unix seconds.

    Returns the moment from which it is no longer good, ``None`` = never. Raises ``Forbidden``, and ``InvalidRequest``
    for an ``expires`` that is signed but no number.
    """
    pairs = _pairs(query)
    signatures = [pair.partition("=")[2] for pair in pairs if _name(pair) == "s"]
    if not signatures:
        raise Forbidden("This needs a signature (s).")
    if not keys:
        raise Forbidden("This needs a signature, and no signing key is set up.")
    # MD5 can be continued behind a known message, but only with bytes that are not printable.
    if len(signatures) > 1 or len(pairs) > MAX_FIELDS or _PRINTABLE.fullmatch(path + query) is None:
        raise Forbidden("The signature (s) is not right for this URL.")
    unsigned = "&".join(pair for pair in pairs if _name(pair) != "s")
    message, given = _message(path, unsigned, scheme), signatures[0].encode()
    # All keys are tried, so that the time does not tell which one, if any, was right.
    matches = [hmac.compare_digest(_digest(message, key, scheme).encode(), given) for key in keys if key]
    if not any(matches):
        raise Forbidden("The signature (s) is not right for this URL.")
    return _expiry(unsigned, now)


def _expiry(query: str, now: float) -> int | None:
    texts = [text for name, text in parse_qsl(query, keep_blank_values=True) if name == "expires"]
    if not texts:
        return None
    if any(_SECONDS.fullmatch(text) is None for text in texts):
        raise InvalidRequest(f"expires is {texts[-1][:64]!r}; it must be a time in Unix seconds.")
    expires = min(int(text) for text in texts)
    if expires <= now:
        raise Forbidden("The signature (s) has expired.")
    return expires


def _message(path: str, query: str, scheme: Scheme) -> bytes:
    if scheme is Scheme.HMAC:
        # By name only: the order of repeated parameters has a meaning.
        query = urlencode(sorted(parse_qsl(query, keep_blank_values=True), key=lambda pair: pair[0]))
    return (f"{path}?{query}" if query else path).encode()


def _digest(message: bytes, key: str, scheme: Scheme) -> str:
    if scheme is Scheme.IMGIX:
        return hashlib.md5(key.encode() + message, usedforsecurity=False).hexdigest()
    return base64.urlsafe_b64encode(hmac.digest(key.encode(), message, "sha256")).rstrip(b"=").decode()


def _pairs(query: str) -> list[str]:
    return query.split("&") if query else []


def _name(pair: str) -> str:
    return pair.partition("=")[0]
