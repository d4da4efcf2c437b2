"""Where pictures are made: a few threads, a bounded queue before them, a deadline for each job."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lightfast.errors import Overloaded, RenderTimeout
from lightfast.imaging.stop import Stop

T = TypeVar("T")

SPARE = 1
"""Threads beside one for each core: while one waits to be given work, a core has some. With two cores, 41 instead of 36
thumbnails of a photo a second; two spare threads make 42."""

IDLE_WAITING = 64
"""Most jobs that wait for the pool to be idle, by default."""


def cores() -> int:
    """How many processors this process may use."""
    counted = getattr(os, "process_cpu_count", None)  # Python 3.13
    if counted is not None:
        return counted() or 1
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass(slots=True, eq=False)
class _Job:
    """``result`` is what the caller waits for: it may be given up before the thread has ended."""

    work: Callable[[Stop], Any]  # of any type: run() knows which
    result: asyncio.Future[Any]
    stop: Stop
    deadline: asyncio.TimerHandle | None = field(default=None)


class RenderPool:
    """Runs blocking jobs in threads. For one event loop, on which alone its state changes; needs none to be made.

    ``waiting``: most jobs that wait for a thread. ``seconds``: from the asking to the answer. Jobs for idle times run
    one at a time in a thread of their own, for at most ``idle_seconds``, so that they never take one from a caller.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        waiting: int = 64,
        seconds: float = 10.0,
        idle_waiting: int = IDLE_WAITING,
        idle_seconds: float = 60.0,
    ) -> None:
        self.threads = threads or cores() + SPARE
        self._most_waiting, self._seconds = waiting, seconds
        self._most_idle, self._idle_seconds = idle_waiting, idle_seconds
        self._executor = ThreadPoolExecutor(self.threads, "lightfast-render")
        self._idle_executor = ThreadPoolExecutor(1, "lightfast-idle")
        self._waiting: deque[_Job] = deque()
        self._idle: deque[_Job] = deque()
        self._running: set[_Job] = set()
        self._idle_running: set[_Job] = set()
        self._closed = False

    @property
    def running(self) -> int:
        """How many threads are at work for callers, also for those who have given up."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._waiting)

    async def run(self, job: Callable[[Stop], T]) -> T:
        """The result of ``job``, or what it raises.

        Raises ``Overloaded`` where too many wait, and ``RenderTimeout`` at the deadline: the job is told to stop and
        the caller does not wait for that. A caller that is cancelled stops its job; what is shared by several callers
        is shared above, by a single flight.
        """
        self._refuse_if_closed()
        if len(self._running) >= self.threads and len(self._waiting) >= self._most_waiting:
            raise Overloaded(f"{len(self._waiting)} pictures wait to be made already; try again later.")
        return await self._answer(job, self._waiting, self._seconds)

    async def run_when_idle(self, job: Callable[[Stop], T]) -> T:
        """The result of ``job``, which starts only while nobody waits for a picture.

        Its time counts from its start. Raises ``Overloaded`` where too many such jobs wait: it may be left out.
        """
        self._refuse_if_closed()
        if len(self._idle) >= self._most_idle:
            raise Overloaded(f"{len(self._idle)} jobs wait for an idle moment already.")
        return await self._answer(job, self._idle, None)

    async def close(self) -> None:
        """Stop every job and wait until all threads have ended. Who still waits gets ``Overloaded``. Idempotent."""
        self._closed = True
        for job in (*self._waiting, *self._idle, *self._running, *self._idle_running):
            self._give_up(job, Overloaded("The server is shutting down."))
        self._waiting.clear()
        self._idle.clear()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._executor.shutdown)
        await loop.run_in_executor(None, self._idle_executor.shutdown)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Overloaded("The server is shutting down.")

    async def _answer(self, work: Callable[[Stop], T], queue: deque[_Job], seconds: float | None) -> T:
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future(), Stop(self._idle_seconds if seconds is None else seconds))
        if seconds is not None:
            self._set_deadline(job)
        queue.append(job)
        self._start_next()
        try:
            result: T = await job.result
            return result
        finally:
            # Stopping what has ended does nothing; what was cancelled has to end.
            job.stop.stop()
            if job.deadline is not None:
                job.deadline.cancel()
            if job in queue:
                queue.remove(job)

    def _set_deadline(self, job: _Job) -> None:
        loop = job.result.get_loop()
        job.deadline = loop.call_later(job.stop.limit, self._give_up, job, RenderTimeout(job.stop.limit))

    def _give_up(self, job: _Job, error: Exception) -> None:
        job.stop.stop()
        if not job.result.done():
            job.result.set_exception(error)

    def _start_next(self) -> None:
        while self._waiting and len(self._running) < self.threads:
            job = self._waiting.popleft()
            if not job.result.done():
                self._start(job, self._executor, self._running)
        if self._idle and not self._waiting and not self._running and not self._idle_running:
            job = self._idle.popleft()
            self._set_deadline(job)
            self._start(job, self._idle_executor, self._idle_running)

    def _start(self, job: _Job, executor: ThreadPoolExecutor, running: set[_Job]) -> None:
        running.add(job)
        loop = job.result.get_loop()
        # The job, not the caller's context: what a request carries (log fields, scopes) stays with it.
        thread = executor.submit(job.work, job.stop)
        thread.add_done_callback(lambda done: loop.call_soon_threadsafe(self._ended, job, running, done))

    def _ended(self, job: _Job, running: set[_Job], done: Future[Any]) -> None:
        running.discard(job)
        if not job.result.done():
            error = done.exception()
            if error is None:
                job.result.set_result(done.result())
            else:
                job.result.set_exception(error)
        if not self._closed:
            self._start_next()
