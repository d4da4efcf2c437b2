"""Takes reads of an image past the framework's routing, which would cost more than all the rest of a miss."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from lightfast.model import ID_PATTERN

_IMAGE = re.compile(rf"/images/({ID_PATTERN})")


class Front:
    """ASGI middleware for the server's own application: GET and HEAD of a valid id go straight to ``reading``.

    Whatever else there is goes to the application, which has the same route and answers the same.
    """

    def __init__(self, app: ASGIApp, reading: ASGIApp) -> None:
        self._app = app
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            match = _IMAGE.fullmatch(scope["path"])
            if match is not None:
                scope["path_params"] = {"id": match[1]}
                await self._reading(scope, receive, send)
                return
        await self._app(scope, receive, send)
