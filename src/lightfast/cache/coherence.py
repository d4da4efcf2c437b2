"""Whether memory may be trusted: the state of the link that brings the store's changes.

*Linked*: every change arrives, so a copy that was verified since the link was made needs no question to the store.
*Unlinked*: the store answers, but its changes don't arrive; each copy is held against its version before it is used.
*Store away*: the store does not answer; copies are served as stale, for a bounded time.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any, TypeVar

from lightfast.errors import LightfastError, StoreUnavailable
from lightfast.model import Change, Clock
from lightfast.ports import FollowedStore
from lightfast.tally import Histogram

log = logging.getLogger("lightfast.coherence")

T = TypeVar("T")

UNTRUSTED = 0
"""The epoch of a copy that no link vouches for."""

NEVER = -1
"""An epoch that no copy has."""

PING_TIMEOUT = 0.35
"""Seconds. With the silence that a feed allows, a store that hangs is found within one second."""

TICK = 0.01
"""Seconds after which the event loop shows again that it turns."""

LATE = 0.025
"""Seconds by which a tick may be late. A loop that sends large pictures to many takes its time, but it turns."""

LEASE = 0.04
"""Seconds for which copies are trusted after a tick that was not late."""

FOUND_OUT = 1.0
"""Seconds after which a store that does not answer is known to be away."""

FIRST_DELAY = 0.05
LONGEST_DELAY = 1.0


class LinkState(Enum):
    LINKED = "linked"
    UNLINKED = "unlinked"
    STORE_AWAY = "store-away"


class Link:
    """Follows the store's changes, and makes a new link after each loss. Implements ``ports.FeedObserver``.

    A copy is trusted while its epoch equals ``trusted_epoch``. Each link has an epoch of its own, so a new one leaves
    every copy unverified without touching any of them.
    """

    def __init__(
        self,
        store: FollowedStore,
        *,
        on_change: Callable[[Change], None],
        on_loss: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._store = store
        self._on_change = on_change
        self._on_loss = on_loss
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._questions: set[asyncio.Task[Any]] = set()
        self.state = LinkState.UNLINKED
        self.epoch = UNTRUSTED
        """Of the current link, or of the last one."""
        self.trusted_epoch = NEVER
        """``epoch`` while linked."""
        self.last_alive = 0.0
        """The moment up to which the current or the last link has brought every change, in Unix seconds."""
        self.changes = 0
        self.turning_until = 0.0
        """Unix seconds. From then on changes may be waiting to be heard of, because this process stood still."""
        self._ticks = 0
        self._next_tick = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ticked = asyncio.Event()
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._away = asyncio.Event()
        self.losses = 0
        self.lag = Histogram()

    async def open(self) -> None:
        """Begin to follow. Returns once the first attempt has succeeded or failed."""
        self._task = asyncio.create_task(self._follow_for_ever(), name="lightfast-link")
        self._next_tick = asyncio.get_running_loop().time()
        self._tick()
        await self._settled.wait()

    async def close(self) -> None:
        """Stop following. Closing twice, or before opening, is fine."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        self._settled.clear()
        self.trusted_epoch = NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._ticked.set()
            self._call_waiting(all_of_them=True)

    def linked(self) -> None:
        self.epoch += 1
        self.last_alive = self._clock()
        self._enter(LinkState.LINKED)

    def alive(self, lag: float | None = None) -> None:
        # What happened later than ``lag`` ago may still be on its way.
        self.last_alive = self._clock() - (lag or 0.0)
        if lag is not None:
            self.lag.observe(lag)

    def changed(self, change: Change) -> None:
        self.changes += 1
        if change.at is not None:
            self.lag.observe(max(0.0, self._clock() - change.at))
        self._on_change(change)

    async def caught_up(self) -> None:
        """Return when the event loop has looked at every socket since this call: what was pushed is known then.

        A process that the machine has let stand still finds requests and news of changes waiting side by side. Nothing
        says that the news comes first.
        """
        target = self._ticks + 2
        while self._ticks < target and self._timer is not None:
            await self._ticked.wait()

    def after_catching_up(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when ``caught_up`` would return. For protocols, which can't wait; they are called in order.

        A loop that sends large pictures to hundreds of clients is as late as one that stood still. What it would
        answer from memory waits its turn here instead of taking a way that costs ten times as much.
        """
        if self._timer is None:
            callback()
        else:
            self._waiting.append((self._ticks + 2, callback))

    def _call_waiting(self, *, all_of_them: bool = False) -> None:
        while self._waiting and (all_of_them or self._waiting[0][0] <= self._ticks):
            _, callback = self._waiting.popleft()
            callback()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._next_tick < LATE:
            self.turning_until = self._clock() + LEASE
        self._ticks += 1
        ticked, self._ticked = self._ticked, asyncio.Event()
        ticked.set()
        self._next_tick = now + TICK
        self._timer = loop.call_at(self._next_tick, self._tick)
        self._call_waiting()

    async def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """The store's answer. Raises ``StoreUnavailable`` at once while the store is away, and as soon as it is found
        to be, so that nobody waits for a time-out that is bound to come."""
        try:
            self.check()
        except StoreUnavailable:
            question.close()
            raise
        task = asyncio.ensure_future(question)
        self._questions.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if task.cancelled() and not _is_being_cancelled():
                raise StoreUnavailable from None
            raise
        finally:
            self._questions.discard(task)

    def check(self) -> None:
        """Raise ``StoreUnavailable`` while the store is away. For writes, which are never given up half-way."""
        if self.state is LinkState.STORE_AWAY:
            raise StoreUnavailable

    async def is_found_away(self) -> bool:
        """Whether the store is away, waiting for as long as it takes to find that out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FOUND_OUT):
                await self._away.wait()
        return self.state is LinkState.STORE_AWAY

    async def _follow_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_DELAY
        while True:
            begun = loop.time()
            try:
                await self._store.follow(self)
            except Exception as error:  # a follower that died must never look like a link
                if not isinstance(error, LightfastError):
                    log.error("following the store failed", exc_info=error)
                await self._lose(error)
            # A link that was lost as soon as it was made is no reason to begin again at once.
            delay = FIRST_DELAY if loop.time() - begun > LONGEST_DELAY else min(2 * delay, LONGEST_DELAY)
            # Jitter: many processes lose their links at the same moment and must not come back at the same moment.
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  # not a secret

    async def _lose(self, cause: Exception) -> None:
        if self.state is LinkState.LINKED:
            self.losses += 1
            self._enter(LinkState.UNLINKED)
            self._on_loss()
        try:
            async with asyncio.timeout(PING_TIMEOUT):
                await self._store.ping()
        except Exception as error:  # what can't be asked is away, whatever the reason
            if not isinstance(error, LightfastError | TimeoutError):
                log.error("asking the store failed", exc_info=error)
            self._enter(LinkState.STORE_AWAY, error)
        else:
            self._enter(LinkState.UNLINKED, cause)

    def _enter(self, state: LinkState, cause: Exception | None = None) -> None:
        self._settled.set()
        if state is self.state:
            return
        if state is not LinkState.LINKED:
            level = logging.WARNING
        else:
            level = logging.INFO if self.losses or self._away.is_set() else logging.DEBUG  # that it starts is no news
        log.log(
            level,
            "link: %s -> %s%s",
            self.state.value,
            state.value,
            f" ({_reason(cause)})" if cause else "",
        )
        self.state = state
        if state is LinkState.STORE_AWAY:
            self._away.set()
        else:
            self._away.clear()
        self.trusted_epoch = self.epoch if state is LinkState.LINKED else NEVER
        if state is LinkState.STORE_AWAY:
            for question in self._questions:
                question.cancel()


def _reason(cause: BaseException) -> str:
    """For the log, which may name what a response must not: what lies behind ``cause``."""
    origin = cause.__cause__ or cause
    return str(origin) or type(origin).__name__


def _is_being_cancelled() -> bool:
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0
