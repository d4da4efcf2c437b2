"""Refuses requests whose Host is missing, doubled or malformed (RFC 9112 §3.2); servers let them through."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from lightfast.http.host import is_valid_host
from lightfast.web.errors import Problem

DETAIL = "The request needs exactly one valid Host header, such as 'Host: example.com' (RFC 9112 §3.2)."


class HostCheck:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if not is_valid_host(hosts, scope["http_version"]):
                await Problem(400, DETAIL)(scope, receive, send)
                return
        await self._app(scope, receive, send)
