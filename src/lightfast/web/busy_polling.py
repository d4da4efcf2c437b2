"""A loop that has much to do looks for the next request instead of sleeping until it comes.

Whoever wakes a thread pays for it: a client on a virtual machine with some 10 µs of its own processor each time, and
then it waits until the server's processor is up. The pauses between the requests of many clients are hardly longer. So
the loop turns on for ``PATIENCE`` after an answer, as the kernel does it for devices (busy polling) and KVM for
processors (halt polling), but only while its thread has work for more than ``PRESSED`` of its time anyway: what it may
waste is the rest of one core, and nothing where there is less to do (ADR 19).
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from time import perf_counter, thread_time

from uvicorn.server import ServerState

PATIENCE = 50e-6
"""Seconds."""

PRESSED = 0.75
"""Work, in seconds of processor time for each second."""

WINDOW = 0.01
"""Seconds over which work is measured, at least."""


class BusyPolling:
    """Of one server's loop."""

    def __init__(self) -> None:
        self.is_turning = False
        self._is_pressed = False
        self._began = 0.0
        self._used = 0.0
        self._in_vain = 0.0
        """Seconds of turning since ``_began`` in which nothing was answered."""
        self._turned = self._answered = 0.0
        """When the last turn was, and the last one that had answers before it."""
        self._total = 0

    def consider(self, loop: AbstractEventLoop, server: ServerState) -> None:
        """Something was answered, and nobody ``is_turning``: turn, if there is much to do."""
        now = perf_counter()
        if now - self._began >= WINDOW:
            self._judge(now)
        if self._is_pressed:
            self.is_turning = True
            self._turned = self._answered = now
            loop.call_soon(self._turn, loop, server)

    def _turn(self, loop: AbstractEventLoop, server: ServerState) -> None:
        now = perf_counter()
        if server.total_requests != self._total:
            self._total = server.total_requests
            self._answered = now
        else:
            self._in_vain += now - self._turned
            if now - self._began >= WINDOW:
                self._judge(now)
        self._turned = now
        if self._is_pressed and now - self._answered < PATIENCE:
            loop.call_soon(self._turn, loop, server)
        else:
            self.is_turning = False

    def _judge(self, now: float) -> None:
        used = thread_time()
        self._is_pressed = used - self._used - self._in_vain > PRESSED * (now - self._began)
        self._began, self._used, self._in_vain = now, used, 0.0
