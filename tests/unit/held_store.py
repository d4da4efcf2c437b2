"""A store that can be held back, lose its link, and be away: for tests of what only the order of events shows."""

from __future__ import annotations

import asyncio

from lightfast.errors import StoreUnavailable
from lightfast.stores.memory import MemoryStore


class HeldStore(MemoryStore):
    """What waits for ``answering``, and what fails while the store is ``away``, subclasses say."""

    def __init__(self, clock):
        super().__init__(max_bytes=1 << 20, clock=clock)
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked = asyncio.Event()
        self.away = False
        self._lost = None

    async def ping(self):
        self.check()

    def check(self):
        if self.away:
            raise StoreUnavailable

    def hold(self):
        self.answering.clear()
        self.asked.clear()

    async def held(self, answer):
        """``answer``, which was made already, when it is let go."""
        self.asked.set()
        await self.answering.wait()
        self.check()
        return answer

    async def follow(self, observer):
        self.check()
        self._lost = asyncio.get_running_loop().create_future()
        following = asyncio.ensure_future(super().follow(observer))
        try:
            await self._lost
        finally:
            following.cancel()
        raise StoreUnavailable

    def lose(self):
        self._lost.set_result(None)
