"""The access log's lines for answers from memory: kept for a moment, then written together."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import unquote

import orjson

FLUSH_INTERVAL = 0.5
"""Seconds that a line waits at most."""

BATCH = 500
"""Lines that wait at most."""

Hit = tuple[float, str, bytes, int, int, object]


class HitLog:
    """Writes every ``1 / share``-th hit that it is told of, in the form of the access log's other lines less ``ms``.

    A hit takes some microseconds, and nobody takes its time: a reader who sums up ``ms`` sees the other answers only.
    """

    def __init__(self, log_format: Literal["console", "json"], share: float) -> None:
        self._line = _as_json if log_format == "json" else _as_text
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
        with suppress(OSError, ValueError):  # who read the log has gone; those who are served need not know
            sys.stderr.write("".join(map(self._line, hits)))


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
