"""Durations and sizes as people write them, in settings and in requests.

A duration is a number of seconds (``7200``, ``0.5``) or numbers with units, the largest first: ``d``, ``h``,
``m``, ``s``, ``ms`` (``2h``, ``1h30m``, ``500ms``). A size is a number of bytes (``1024``) or a number with
one unit: ``B``, the decimal ``KB``, ``MB``, ``GB`` or the binary ``KiB``, ``MiB``, ``GiB``, upper or lower
case alike, after a space or not (``50MiB``, ``1.5 GiB``, ``10mb``).
"""

from __future__ import annotations

import re
from decimal import Decimal

MAX_DURATION = 36_525 * 86_400
"""Seconds: 100 years."""
MAX_SIZE = 2**63 - 1
"""Bytes: the longest file, and the largest integer of a database."""

_MAX_TEXT = 64
_NUMBER = r"[0-9]{1,19}(?:\.[0-9]{1,9})?"  # spelt out: \d would take the digits of every script
_SECONDS = {"d": Decimal(86_400), "h": Decimal(3_600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_PLAIN = re.compile(_NUMBER)
_DURATION = re.compile("".join(f"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _SECONDS))
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(rf"({_NUMBER}) ?({'|'.join(_BYTES)})|([0-9]{{1,19}})", re.ASCII | re.IGNORECASE)
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB")


def parse_duration(text: str) -> float:
    """Seconds. Raises ``ValueError`` for anything but a duration from 0 to ``MAX_DURATION``."""
    seconds = _seconds(text) if len(text) <= _MAX_TEXT else None
    if seconds is None:
        raise ValueError(
            f"{_quoted(text)} is no duration. Write seconds or units from large to small, "
            'such as "7200", "2h", "1h30m", "7d" or "500ms".'
        )
    if seconds > MAX_DURATION:
        raise ValueError(f'{_quoted(text)} is too long. A duration is at most 100 years, "36525d".')
    return float(seconds)


def parse_size(text: str) -> int:
    """Bytes, a fraction of one cut off. Raises ``ValueError`` for anything but a size from 0 to ``MAX_SIZE``."""
    match = _SIZE.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None or (match[2] in ("b", "B") and "." in match[1]):
        raise ValueError(
            f"{_quoted(text)} is no size. Write bytes or one of the units B, KB, MB, GB, KiB, MiB and GiB, "
            'such as "1024", "50MiB", "1.5GiB" or "10MB".'
        )
    number, unit, plain = match.groups()
    size = int(plain) if plain else int(Decimal(number) * _BYTES[unit.lower()])
    if size > MAX_SIZE:
        raise ValueError(f'{_quoted(text)} is too large. A size is at most {MAX_SIZE} bytes, such as "50MiB".')
    return size


def format_size(n: int) -> str:
    """``n`` bytes (not negative) for people, in binary units and to a tenth: ``50 MiB``, ``1.4 MiB``, ``512 B``."""
    tenths, unit = n * 10, 0
    while tenths >= 10_240 and unit < len(_BINARY_UNITS) - 1:
        unit += 1
        # From n each time: what was rounded once must not be rounded again.
        tenths = (n * 10 + 1024**unit // 2) // 1024**unit
    whole, tenth = divmod(tenths, 10)
    return f"{whole}.{tenth} {_BINARY_UNITS[unit]}" if tenth else f"{whole} {_BINARY_UNITS[unit]}"


def _seconds(text: str) -> Decimal | None:
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return None
    return sum((Decimal(match[unit]) * worth for unit, worth in _SECONDS.items() if match[unit]), Decimal(0))


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…")
