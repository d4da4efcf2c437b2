"""Header fields as one mapping from lower-case name to value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Fields = Mapping[str, str]
"""Lower-case field name to combined value, without surrounding whitespace. Read only."""


def combine(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Join repeated field lines with ``", "`` in their order (RFC 9110 §5.3).

    Values are decoded as Latin-1, so that every byte stands for the character with its number.
    """
    lines: dict[str, list[str]] = {}
    for name, value in raw:
        lines.setdefault(name.decode("latin-1").lower(), []).append(value.strip(b" \t").decode("latin-1"))
    return {name: ", ".join(values) for name, values in lines.items()}
