"""An exact Date on every answer. Uvicorn's own lags by up to a second, and Last-Modified must never be later."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightfast.http.dates import format_http_date


class DateHeader:
    """ASGI middleware (RFC 9110 §6.6.1). For a server that adds no Date itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._second = 0
        self._value = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [(b"date", self._now()), *message["headers"]]
            await send(message)

        await self._app(scope, receive, send_dated if scope["type"] == "http" else send)

    def _now(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._value = second, format_http_date(second).encode()
        return self._value
