"""The access log's lines for answers from memory: kept for a moment, then written together."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import unquote

import orjson

FLUSH_INTERVAL = 0.5
"""Seconds that a line waits at most."""

BATCH = 500
"""Lines that wait at most."""

SHARE = "lightfast.log_hits"
"""Where an application's lifespan state may say which share of the hits is logged."""

Hit = tuple[float, str, bytes, int, int, object]
"""Time, method, target, status, bytes and client."""

Write = Callable[[Sequence[Hit]], None]


class HitLog:
    """Has every ``1 / share``-th hit that it is told of written."""

    def __init__(self, write: Write, share: float) -> None:
        self._write = write
        self._share = share
        self._due = 0.0
        self._hits: list[Hit] = []

    def add(self, at: float, method: str, target: bytes, status: int, sent: int, client: object) -> None:
        self._due += self._share
        if self._due < 1:
            return
        self._due -= 1
        self._hits.append((at, method, target, status, sent, client))
        if len(self._hits) == 1:
            asyncio.get_running_loop().call_later(FLUSH_INTERVAL, self.flush)
        elif len(self._hits) >= BATCH:
            self.flush()

    def flush(self) -> None:
        hits, self._hits = self._hits, []
        if hits:
            self._write(hits)


def to_standard_error(log_format: Literal["console", "json"]) -> Write:
    """In the form of the access log's other lines less ``ms``.

    A hit takes some microseconds, and nobody takes its time: a reader who sums up ``ms`` sees the other answers only.
    """
    as_line = _as_json if log_format == "json" else _as_text

    def write(hits: Sequence[Hit]) -> None:
        with suppress(OSError, ValueError):  # who read the log has gone; those who are served need not know
            sys.stderr.write("".join(map(as_line, hits)))

    return write


def to_uvicorns_log(logger: logging.Logger) -> Write:
    """As uvicorn logs the requests that it hands to the application."""

    def write(hits: Sequence[Hit]) -> None:
        for _, method, target, status, _, client in hits:
            address = f"{client[0]}:{client[1]}" if isinstance(client, tuple) else ""
            logger.info('%s - "%s %s HTTP/%s" %d', address, method, target.decode("ascii"), "1.1", status)

    return write


def _as_json(hit: Hit) -> str:
    at, method, target, status, sent, client = hit
    path = _path(target)
    record = {
        "method": method,
        "path": unquote(path) if "%" in path else path,
        "status": status,
        "bytes": sent,
        "cache": "hit",
        "client": _address(client),
        "event": "request",
        "level": "info",
        "timestamp": _moment(at),
    }
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE).decode()


def _as_text(hit: Hit) -> str:
    at, method, target, status, sent, client = hit
    return (
        f"{_moment(at)} [info     ] request                        bytes={sent} cache=hit client={_address(client)} "
        f"method={method} path={_path(target)} status={status}\n"
    )


def _path(target: bytes) -> str:
    return target.partition(b"?")[0].decode("ascii")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _address(client: object) -> str | None:
    return client[0] if isinstance(client, tuple) else None
