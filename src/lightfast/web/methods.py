"""Answers what no other route of a path does: OPTIONS, and 405 for the rest."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lightfast.web.errors import Problem


class OtherMethods:
    """ASGI endpoint. ``allowed`` are the methods of the path, with OPTIONS (RFC 9110 §9.3.7, §10.2.1, §15.5.6)."""

    def __init__(self, allowed: str) -> None:
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self.options() if scope["method"] == "OPTIONS" else self.not_allowed()
        await response(scope, receive, send)

    def options(self) -> Response:
        return Response(status_code=204, headers={"allow": self._allowed})

    def not_allowed(self) -> Response:
        return Problem(405, f"The methods of this path are {self._allowed}.", [("allow", self._allowed)])


def other_methods(path: str, allowed: str) -> Route:
    """The route to add after the others of ``path``."""
    return Route(path, OtherMethods(allowed), include_in_schema=False)
