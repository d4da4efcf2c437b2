"""One structured line per request, on standard error, and everything else that is logged in the same form."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from copy import deepcopy
from typing import Any, Literal
from urllib.parse import quote

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import LOGGING_CONFIG

from lightfast.web.hit_log import HitLog, to_standard_error


class AccessLog:
    """ASGI middleware that logs method, path, status, bytes, milliseconds and the cache level of each answer."""

    def __init__(self, app: ASGIApp, log_format: Literal["console", "json"], share_of_hits: float) -> None:
        self._app = app
        self._log = access_logger(log_format)
        self._hits = HitLog(to_standard_error(log_format), share_of_hits)
        self._path = _decoded if log_format == "json" else _as_sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                self._hits.flush()
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "lightfast.hot" in scope:
            scope["lightfast.hot"].hit_log = self._hits
        started = time.perf_counter()
        status, sent, cache = 0, 0, ""

        async def observe(message: Message) -> None:
            nonlocal status, sent, cache
            if message["type"] == "http.response.start":
                status = message["status"]
                cache = next((value.decode() for name, value in message["headers"] if name == b"cache-status"), "")
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except Exception:
            status = status or 500  # which is what the server around us answers then
            raise
        finally:
            self._hits.flush()  # in the order of the answers
            with suppress(OSError, ValueError):  # who read the log has gone; those who are served need not know
                self._log.info(
                    "request",
                    method=scope["method"],
                    path=self._path(scope),
                    status=status,
                    bytes=sent,
                    ms=round((time.perf_counter() - started) * 1000, 3),
                    cache=cache.removeprefix("lightfast; "),
                    client=scope["client"][0] if scope.get("client") else None,
                )


def _decoded(scope: Scope) -> str:
    path: str = scope["path"]
    return path


def _as_sent(scope: Scope) -> str:
    """What the path means decoded may steer a terminal."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.decode("ascii", "backslashreplace")


def console_log_config(level: str) -> dict[str, Any]:
    """Uvicorn's own, and our rooms in the same form from ``level`` on."""
    config = deepcopy(LOGGING_CONFIG)
    config["loggers"]["lightfast"] = {"handlers": ["default"], "level": level, "propagate": False}
    return config


def json_log_config() -> dict[str, Any]:
    """For ``logging.config``: what uvicorn, our rooms and the libraries log comes out as JSON, a line each."""
    stamped = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    rendered = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()]
    line = {"()": structlog.stdlib.ProcessorFormatter, "foreign_pre_chain": stamped, "processors": rendered}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {"uvicorn": {"level": "INFO"}, "lightfast": {"level": "INFO"}},
    }


def access_logger(log_format: Literal["console", "json"]) -> structlog.types.FilteringBoundLogger:
    """A logger of its own, so that an application's structlog configuration is left alone."""
    renderer: structlog.types.Processor = structlog.processors.JSONRenderer()
    if log_format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    logger: structlog.types.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("INFO"),
    )
    return logger
