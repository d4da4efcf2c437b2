"""Loads what will be expensive to read before it is asked for.

An app that stores a picture hands out its URL a moment later. Reading, decoding and hashing its record before that
makes the first request for it one for memory; for base64 in JSON they take longer than all the rest of a request.
What the store held before this process began is as expensive, so as much of it is loaded as leaves half of the memory
to what is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from lightfast.errors import LightfastError, StoreUnavailable
from lightfast.model import Clock
from lightfast.ports import CostlyStore

log = logging.getLogger("lightfast.warming")

MAX_WAITING = 64
"""Ids that wait to be loaded; the one that has waited longest is forgotten for a newer one."""

PAUSE = 0.003
"""Seconds before each load, so that a storm of changes costs some hundred loads a second at most."""

OWN_WRITE = 10.0
"""Seconds for which the news of a write of our own may take. Who stores here does not ask here next."""

MAX_STEPS = 200
"""Steps of the walk through the store at the start: of a huge one, only a part is looked at."""

MAX_LOADS = 4096
"""Loads of that walk, those that bring nothing among them."""

BUSY = 0.02
"""Seconds until another look whether the store is linked and nobody waits for it."""

AWAY = 1.0
"""Seconds until a store is asked again that did not answer."""

MAX_FAILURES = 300
"""Answers that may fail to come; a store that refuses to be walked through is left alone then."""


class Room(Protocol):
    """What the walk at the start may use, and when."""

    def is_free(self) -> bool:
        """Whether nobody else wants anything of the store now, and what it tells is trusted."""

    def has_room(self, loaded: int) -> bool:
        """Whether more may be loaded, after ``loaded`` bytes, so that nothing has to leave for it."""

    def has(self, id: str) -> bool:
        """Whether ``id`` is in memory."""


class Warming:
    """One load at a time, the newest first. ``load`` gives the bytes that it brought, and raises ``LightfastError``
    where there is nothing to load."""

    def __init__(self, load: Callable[[str], Awaitable[int]], clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._waiting: dict[str, None] = {}
        self._own: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._walk: asyncio.Task[None] | None = None
        self.loads = 0
        self.walked = asyncio.Event()
        """Whether all has been loaded that will be of what the store held at the start."""

    def begin(self, store: CostlyStore, room: Room) -> None:
        """Load what ``store`` holds, for as long as there is ``room``."""
        self._walk = asyncio.create_task(self._load_stock(_Stock(store), room), name="lightfast-warming-stock")

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
        tasks = [task for task in (self._task, self._walk) if task is not None]
        self._task = self._walk = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _load_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(PAUSE)
            id, _ = self._waiting.popitem()
            await self._load_one(id)
        self._task = None

    async def _load_one(self, id: str) -> int:
        """The bytes that were loaded; none where there was nothing to load."""
        try:
            size = await self._load(id)
        except LightfastError:
            return 0  # whoever asks for it will hear why
        except Exception:
            log.exception("loading %s beforehand failed", id)
            return 0
        self.loads += 1
        return size

    async def _load_stock(self, stock: _Stock, room: Room) -> None:
        loop = asyncio.get_running_loop()
        loaded, pause = 0, PAUSE
        for _ in range(MAX_LOADS):
            # Half of the time of one core at most: a server that begins under load is slow enough.
            await asyncio.sleep(pause)
            id = await stock.next(lambda: self._task is None and room.is_free())
            if id is None or not room.has_room(loaded):
                break
            begun = loop.time()
            if not room.has(id):
                loaded += await self._load_one(id)
            pause = max(PAUSE, loop.time() - begun)
        self.walked.set()


class _Stock:
    """What the store holds: a walk in bounded steps, that waits whenever it would be in the way."""

    def __init__(self, store: CostlyStore) -> None:
        self._store = store
        self._found: list[str] = []
        self._position: str | None = None
        self._steps = self._failures = 0

    async def next(self, is_free: Callable[[], bool]) -> str | None:
        """The next id, at a moment that ``is_free``; ``None`` at the end."""
        while True:
            while not is_free():  # noqa: ASYNC110 - what it looks at is no event
                await asyncio.sleep(BUSY)
            if self._found:
                return self._found.pop()
            if self._steps and self._position is None:
                return None
            if self._steps >= MAX_STEPS or self._failures >= MAX_FAILURES:
                return None
            await self._step()

    async def _step(self) -> None:
        try:
            found, self._position = await self._store.costly(self._position)
        except StoreUnavailable:
            self._failures += 1
            await asyncio.sleep(AWAY)
        except LightfastError:
            self._failures = MAX_FAILURES  # the walk can't go on from where it was: the store is another one now
        else:
            self._found = [*found]
            self._steps += 1
            await asyncio.sleep(PAUSE)
