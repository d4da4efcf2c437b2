"""One table: exception → status and problem body (RFC 9457)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Iterable
from http import HTTPStatus

import orjson
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from lightfast.errors import (
    BrokenRecord,
    Forbidden,
    InvalidImage,
    InvalidRequest,
    LightfastError,
    Missing,
    Overloaded,
    PreconditionFailed,
    RangeNotSatisfiable,
    RenderTimeout,
    StoreFull,
    StoreUnavailable,
    TooLarge,
    TooSlow,
    Unauthorized,
    UnsupportedMediaType,
)
from lightfast.http.caching import CacheOutcome, CachePolicy, Forward, cache_status, missing_cache_control
from lightfast.http.ranges import unsatisfied_range

log = logging.getLogger("lightfast.web")

STATUS: dict[type[LightfastError], HTTPStatus] = {
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    Missing: HTTPStatus.NOT_FOUND,
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    TooSlow: HTTPStatus.REQUEST_TIMEOUT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    RangeNotSatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    InvalidImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    BrokenRecord: HTTPStatus.BAD_GATEWAY,
    RenderTimeout: HTTPStatus.SERVICE_UNAVAILABLE,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreFull: HTTPStatus.INSUFFICIENT_STORAGE,
}

RFC_9110_TITLES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
"""Where the standard library still has the names of RFC 7231."""


LINGER = 30.0
"""Seconds for which the rest of a refused request is read at most."""

PATIENCE = 2.0
"""Seconds of silence after which the rest of a refused request is not waited for any more."""


class Problem(Response):
    """An error as ``application/problem+json``."""

    media_type = "application/problem+json"

    def __init__(self, status: int, detail: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        title = RFC_9110_TITLES.get(status) or HTTPStatus(status).phrase
        body = {"type": "about:blank", "title": title, "status": int(status), "detail": detail}
        super().__init__(orjson.dumps(body), int(status))
        self.headers["cache-control"] = "no-store"
        self.headers["x-content-type-options"] = "nosniff"
        self.headers.update(dict(headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            self.body = b""  # the headers, Content-Length among them, are those of the GET
        await super().__call__(scope, receive, send)


class LastProblem(Problem):
    """A problem that ends the connection, because the rest of the request is not wanted.

    It is read for a while all the same: closing under a client that is still sending resets the connection, and
    most clients then never see the answer (RFC 9112 §9.6).
    """

    def __init__(self, status: int, detail: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(status, detail, [*headers, ("connection", "close")])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_read_on(message: Message) -> None:
            if message["type"] == "http.response.body":
                await send({**message, "more_body": True})
                await _read_on(receive)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await super().__call__(scope, receive, send_and_read_on)


async def _read_on(receive: Receive) -> None:
    clock = asyncio.get_running_loop().time
    end, more = clock() + LINGER, True
    with contextlib.suppress(TimeoutError):
        while more:
            async with asyncio.timeout_at(min(end, clock() + PATIENCE)):
                more = (await receive()).get("more_body", False)


def problem_of(error: LightfastError, policy: CachePolicy) -> Problem:
    """The answer to a request that failed with ``error``. What is our store's fault is logged with its cause."""
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        log.error("unexpected error", exc_info=error)
        return Problem(500, "The server could not answer this request.")
    # That the store is away is logged once, when it is found out, not for each request that this refuses.
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not (isinstance(error, StoreUnavailable) and not error.__cause__):
        log.warning("%s: %s (%r)", type(error).__name__, error, error.__cause__)
    # These may come before the body has been read.
    kind = LastProblem if isinstance(error, TooLarge | TooSlow | Overloaded | Unauthorized) else Problem
    return kind(status, str(error), _headers(error, policy))


def _headers(error: LightfastError, policy: CachePolicy) -> list[tuple[str, str]]:
    match error:
        case Missing():
            outcome = CacheOutcome(hit=False, forward=Forward.URI_MISS)
            return [("cache-control", missing_cache_control(policy)), ("cache-status", cache_status(outcome))]
        case RangeNotSatisfiable():
            return [("content-range", unsatisfied_range(error.size))]
        case Unauthorized():
            return [("www-authenticate", 'Bearer realm="lightfast"')]
        case Overloaded() | StoreUnavailable():
            return [("retry-after", str(error.retry_after))]
        case RenderTimeout():
            return [("retry-after", str(math.ceil(error.limit)))]
        case _:
            return []
