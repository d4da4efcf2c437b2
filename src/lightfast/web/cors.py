"""Which scripts may read images, and what they may see of an answer (Fetch standard, CORS protocol)."""

from __future__ import annotations

from collections.abc import Sequence

ALLOWED_METHODS = "GET, HEAD, OPTIONS"
ALLOWED_HEADERS = "If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Range, Want-Repr-Digest"
EXPOSED_HEADERS = (
    "Accept-Ranges, Age, Cache-Status, Content-Disposition, Content-Length, Content-Range, ETag, Last-Modified, "
    "Repr-Digest, Server-Timing"
)
PREFLIGHT_MAX_AGE = 86_400


class CorsPolicy:
    """``origins`` that may read; ``*`` among them stands for all, none at all switches CORS off."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origins)

    @property
    def names_origins(self) -> bool:
        """Whether answers depend on who asks."""
        return bool(self._origins) and not self._any

    def headers(self, origin: str | None) -> list[tuple[str, str]]:
        """What to add to an answer to a request from ``origin``."""
        if self._any:
            return _allowed("*")
        if not self._origins:
            return []
        vary = [("vary", "Origin")]
        return vary + _allowed(origin) if origin is not None and origin in self._origins else vary

    def preflight_headers(self, origin: str | None) -> list[tuple[str, str]]:
        allowed = self.headers(origin)
        if ("access-control-expose-headers", EXPOSED_HEADERS) not in allowed:
            return allowed
        return [
            *allowed,
            ("access-control-allow-methods", ALLOWED_METHODS),
            ("access-control-allow-headers", ALLOWED_HEADERS),
            ("access-control-max-age", str(PREFLIGHT_MAX_AGE)),
        ]


def _allowed(origin: str) -> list[tuple[str, str]]:
    return [
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", EXPOSED_HEADERS),
        ("timing-allow-origin", origin),
    ]
