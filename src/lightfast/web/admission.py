"""Bounds how many requests are under way at the same time."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from lightfast.web.errors import Problem

ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})
"""What tells of the server is answered in any case: a busy one must not be taken for a dead one."""


class Admission:
    """ASGI middleware that answers 503 to what comes beyond ``limit`` requests under way."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._limit:
            await Problem(503, "The server has too many requests under way.", [("retry-after", "1")])(
                scope, receive, send
            )
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
