"""A loop that has much to do goes on polling for the next request instead of sleeping until it comes.

Whoever wakes a thread pays for it: a client on a virtual machine with some 10 µs of its own processor each time, and
then it waits until the server's processor is up. The pauses between the requests of many clients are hardly longer. So
the loop polls for ``PATIENCE`` after an answer, as the kernel does it for devices (busy polling) and KVM for
processors (halt polling), but only while its thread has work for more than ``PRESSED`` of its time anyway: what it may
waste is the rest of one core, and nothing where there is less to do (ADR 19).
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from time import perf_counter, thread_time

from uvicorn.server import ServerState

PATIENCE = 50e-6
"""Seconds without an answer after which the loop sleeps."""

PRESSED = 0.75
"""Seconds of processor time per second of time from which on it does not sleep."""

WINDOW = 0.1
"""Seconds over which this is measured, at least: the period of a container's quota. One that works until its quota is
used up, and then stands still until the period ends, would seem to have much to do in shorter windows."""


class BusyPolling:
    """Decides for one server's loop whether it polls or sleeps. Used on that loop only."""

    def __init__(
        self, clock: Callable[[], float] = perf_counter, processor_time: Callable[[], float] = thread_time
    ) -> None:
        self.is_polling = False
        self._clock = clock
        self._processor_time = processor_time
        self._is_pressed = False
        self._began = clock()
        self._used = processor_time()
        self._in_vain = 0.0
        """Seconds of polling since ``_began`` without an answer."""
        self._polled = self._answered = 0.0
        self._seen = 0
        """``total_requests`` at the last poll."""

    def after_answer(self, loop: AbstractEventLoop, server: ServerState) -> None:
        """Begin to poll, if there is much to do. For when it is not polling."""
        now = self._clock()
        self._measure(now)
        if self._is_pressed:
            self.is_polling = True
            self._polled = self._answered = now
            loop.call_soon(self._poll, loop, server)

    def _poll(self, loop: AbstractEventLoop, server: ServerState) -> None:
        now = self._clock()
        if server.total_requests != self._seen:
            self._seen = server.total_requests
            self._answered = now
        else:
            self._in_vain += now - self._polled
            self._measure(now)
        self._polled = now
        if self._is_pressed and now - self._answered < PATIENCE:
            loop.call_soon(self._poll, loop, server)
        else:
            self.is_polling = False

    def _measure(self, now: float) -> None:
        """At the end of a window: whether the thread had that much to do. Polling in vain is no work."""
        if now - self._began < WINDOW:
            return
        used = self._processor_time()
        self._is_pressed = used - self._used - self._in_vain > PRESSED * (now - self._began)
        self._began, self._used, self._in_vain = now, used, 0.0
