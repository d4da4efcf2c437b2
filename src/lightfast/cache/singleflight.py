"""Single flight: of all who want the same at the same time, one does the work and everyone gets the result."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from lightfast.errors import StoreUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Shares work by key. For one event loop; needs none to be constructed.

    The work runs in a task of its own, so it outlives any of its callers, the first one too.
    """

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[V]] = {}
        self._tasks: set[asyncio.Task[V]] = set()  # forgotten flights too: the loop holds tasks only weakly
        self.joins = 0
        """How many callers joined a flight that another had begun."""

    async def do(self, key: K, work: Callable[[], Awaitable[V]]) -> tuple[V, bool]:
        """The result of ``work()``, and whether this caller joined a flight that another had begun.

        What the work raises, everyone raises who waited for this flight; it is not remembered. A caller
        that is cancelled leaves the flight to the others. Raises ``StoreUnavailable`` where the flight
        itself was cancelled, as ``close`` does.
        """
        task = self._flights.get(key)
        joined = task is not None and not task.done()
        if task is None or task.done():
            task = self._begin(key, work)
        else:
            self.joins += 1
        # wait(), unlike shield(), raises CancelledError for this caller's own cancellation only.
        await asyncio.wait((task,))
        if task.cancelled():
            raise StoreUnavailable("The work for this request was cancelled before it was done.")
        return task.result(), joined

    def in_flight(self, key: K) -> bool:
        """Whether a caller would join a flight now."""
        task = self._flights.get(key)
        return task is not None and not task.done()

    def forget(self, key: K) -> None:
        """Let the next caller begin a new flight. Those who wait for the present one still get its result."""
        self._flights.pop(key, None)

    async def close(self) -> None:
        """Cancel whatever is under way, and wait until it has ended."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _begin(self, key: K, work: Callable[[], Awaitable[V]]) -> asyncio.Task[V]:
        async def fly() -> V:
            return await work()

        # An empty context: what the first caller's request carries (log fields, scopes) is not the others'.
        task = asyncio.get_running_loop().create_task(fly(), context=contextvars.Context())
        self._flights[key] = task
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, key))
        return task

    def _ended(self, key: K, task: asyncio.Task[V]) -> None:
        self._tasks.discard(task)
        if self._flights.get(key) is task:
            del self._flights[key]
        if not task.cancelled():
            task.exception()  # seen, even where every caller has gone: asyncio need not complain
