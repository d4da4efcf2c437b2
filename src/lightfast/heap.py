"""The C heap of a server that turns large pictures over. glibc only; elsewhere nothing is done."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

ARENAS = "MALLOC_ARENA_MAX"
M_ARENA_MAX = -8  # <malloc.h>

TRIM_INTERVAL = 1.0
"""Seconds between two looks whether there may be something to give back."""

LOOKS = 5
"""For how many of them something may still be: what was read is given back once it has been sent."""

_libc = ctypes.CDLL(None)


def share_one_heap() -> None:
    """Let every thread allocate from one heap, unless the environment has a number of its own. Comes before any thread
    allocates: a heap that a thread has had stays, and is given to others.

    glibc gives each thread a heap, and ``malloc_trim`` gives nothing back of what is free at the end of it: with
    pictures of 7 KB to 4 MB a process held 63 MiB for a cache of 50 MiB, and 51 MiB with one heap. Variants are made
    at the same speed.
    """
    if ARENAS in os.environ:
        return
    os.environ[ARENAS] = "1"  # for worker processes
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


@asynccontextmanager
async def trimmed(allocations: Callable[[], int]) -> AsyncIterator[None]:
    """Give the holes in the heap back to the system, every second in which ``allocations`` has grown.

    A smaller M_MMAP_THRESHOLD would leave no holes in the first place, but makes each read of the store take 1.3 to 1.7
    times as long (measured from 46 KB to 1.7 MB): every buffer would be mapped, cleared and unmapped.
    """
    trimming = asyncio.create_task(_trim_for_ever(allocations))
    try:
        yield
    finally:
        trimming.cancel()
        await asyncio.wait((trimming,))


async def _trim_for_ever(allocations: Callable[[], int]) -> None:
    malloc_trim = getattr(_libc, "malloc_trim", None)
    seen, looks = 0, 0
    while malloc_trim is not None:
        await asyncio.sleep(TRIM_INTERVAL)
        if allocations() != seen:
            seen, looks = allocations(), LOOKS
        if looks:
            looks -= 1
            await asyncio.to_thread(malloc_trim, 0)
