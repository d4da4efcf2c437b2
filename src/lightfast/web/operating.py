"""FastAPI routes for those who operate the server: is it alive, can it work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from lightfast.errors import StoreUnavailable
from lightfast.web.errors import Problem
from lightfast.web.methods import other_methods

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METRICS_TEXT = {"text/plain": {"schema": {"type": "string"}}}
NO_STORE = {"cache-control": "no-store"}


def operating_router(
    ping: Callable[[], Awaitable[None]], link_state: Callable[[], str], metrics: Callable[[], bytes]
) -> APIRouter:
    """``/healthz``, ``/readyz`` and ``/metrics``.

    ``ping`` raises ``StoreUnavailable`` while the store does not answer. ``metrics`` gives the text of Prometheus.
    """
    router = APIRouter(tags=["operating"])

    @router.get("/healthz", responses={200: {"description": "The process is alive"}})
    async def healthz() -> Response:
        """Whether the process answers at all. Does not touch the store."""
        return JSONResponse({"status": "ok"}, headers=NO_STORE)

    @router.get("/readyz", responses={503: {"description": "The store does not answer"}})
    async def readyz() -> Response:
        """Whether the store answers, so that requests for images can be served."""
        try:
            await ping()
        except StoreUnavailable as error:
            detail = f"{error} The link to the store: {link_state()}."
            return Problem(503, detail, [("retry-after", str(error.retry_after))])
        return JSONResponse({"status": "ready", "link": link_state()}, headers=NO_STORE)

    @router.get("/metrics", responses={200: {"description": "The numbers, for Prometheus", "content": _METRICS_TEXT}})
    async def prometheus() -> Response:
        """Requests, bytes, cache, link and store in the text format of Prometheus, over all workers."""
        return Response(metrics(), headers=NO_STORE | {"content-type": METRICS_TYPE})

    for path, endpoint in (("/healthz", healthz), ("/readyz", readyz), ("/metrics", prometheus)):
        router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
        router.routes.append(other_methods(path, "GET, HEAD, OPTIONS"))
    return router
