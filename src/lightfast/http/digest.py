"""Digest fields (RFC 9530)."""

from __future__ import annotations

import base64
import hashlib

import http_sf

from lightfast.errors import InvalidRequest

# In the order of choice where a client likes several equally: SHA-256 is shorter and known to more clients.
_ALGORITHMS = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}


def wanted(value: str) -> str | None:
    """The algorithm of ours that a Want-Repr-Digest header likes best (RFC 9530 §4).

    ``None`` if it accepts none of ours or is malformed; the answer then carries no digest.
    """
    members = _dictionary(value)
    if members is None:
        return None
    best, highest = None, 0
    for algorithm in _ALGORITHMS:
        preference = members.get(algorithm, 0)
        # A key without a value is a boolean, which Python takes for an integer.
        if not isinstance(preference, int) or isinstance(preference, bool) or not 0 <= preference <= 10:
            return None
        if preference > highest:
            best, highest = algorithm, preference
    return best


def repr_digest(algorithm: str, content: bytes | memoryview) -> str:
    """The value of Repr-Digest for ``content``; ``algorithm`` as ``wanted`` gave it (RFC 9530 §3)."""
    return f"{algorithm}=:{base64.b64encode(_ALGORITHMS[algorithm](content).digest()).decode('ascii')}:"


def verify_content_digest(value: str, content: bytes) -> None:
    """Check ``content`` against every digest in a Content-Digest header that we can compute (RFC 9530 §2).

    Raises ``InvalidRequest`` if the header is malformed or one of them differs. Other algorithms are ignored.
    """
    members = _dictionary(value)
    if members is None:
        raise InvalidRequest(_MALFORMED)
    for algorithm, hashing in _ALGORITHMS.items():
        if algorithm not in members:
            continue
        expected = members[algorithm]
        if not isinstance(expected, bytes):
            raise InvalidRequest(_MALFORMED)
        if hashing(content).digest() != expected:
            raise InvalidRequest(f"Content-Digest does not match: the {algorithm} of the content received is another.")


_MALFORMED = "Content-Digest can't be read: it must be a dictionary such as sha-256=:<base64>:."


def _dictionary(value: str) -> dict[str, object] | None:
    """The bare items of a structured dictionary by key, ``None`` if it is malformed (RFC 9651 §4.2)."""
    try:
        parsed = http_sf.parse(value.encode("ascii"), tltype="dictionary")
    except ValueError:
        return None
    if not isinstance(parsed, dict):
        return None
    return {key: member[0] if isinstance(member, tuple) else member for key, member in parsed.items()}
