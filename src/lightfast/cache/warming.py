"""Loads what others have just stored, before it is asked for.

An app that stores a picture hands out its URL a moment later. Reading, decoding and hashing its record before that
makes the first request for it one for memory; for base64 in JSON they take longer than all the rest of a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lightfast.errors import LightfastError
from lightfast.model import Clock

log = logging.getLogger("lightfast.warming")

MAX_WAITING = 64
"""Ids that wait to be loaded; the one that has waited longest is forgotten for a newer one."""

PAUSE = 0.003
"""Seconds before each load, so that a storm of changes costs some hundred loads a second at most."""

OWN_WRITE = 10.0
"""Seconds for which the news of a write of our own may take. Who stores here does not ask here next."""


class Warming:
    """One load at a time, the newest first. ``load`` raises ``LightfastError`` where there is nothing to load."""

    def __init__(self, load: Callable[[str], Awaitable[object]], clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._waiting: dict[str, None] = {}
        self._own: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        self.loads = 0

    def leave_out(self, id: str) -> None:
        """A write of our own begins."""
        now = self._clock()
        while self._own and next(iter(self._own.values())) < now:
            del self._own[next(iter(self._own))]
        self._own.pop(id, None)
        self._own[id] = now + OWN_WRITE

    def heard_of(self, id: str) -> None:
        """What is stored under ``id`` has changed."""
        if self._own.get(id, 0.0) > self._clock():
            return
        self._waiting.pop(id, None)
        self._waiting[id] = None
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        if self._task is None:
            self._task = asyncio.create_task(self._load_all(), name="lightfast-warming")

    async def close(self) -> None:
        """Stop. Closing twice is fine."""
        self._waiting.clear()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _load_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(PAUSE)
            id, _ = self._waiting.popitem()
            try:
                await self._load(id)
                self.loads += 1
            except LightfastError:
                pass  # whoever asks for it will hear why
            except Exception:
                log.exception("loading %s beforehand failed", id)
        self._task = None
