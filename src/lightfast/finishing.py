"""What follows once an image is stored: its preview, and the variants that are wanted beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

from lightfast.cache.variants import Variants
from lightfast.errors import LightfastError
from lightfast.model import Meta, Preview
from lightfast.spec import Wish, encoded_as
from lightfast.variant import Format, Variant

MAX_UNFINISHED = 8
"""Images whose content is kept for this. What is left out is made when it is first asked for."""

READY = 0.05
"""Seconds for which the answer to a write waits for the preview."""


class Finishing:
    """Makes, in idle time, what will be asked for. Nothing of it is lost by failing: it is made on first need."""

    def __init__(self, variants: Variants, prewarmed: Sequence[Wish], *, previews: bool) -> None:
        self._variants = variants
        self._prewarmed = tuple(it for wish in prewarmed for it in _made_for(wish))
        self._previews = previews
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, meta: Meta, content: bytes) -> Preview | None:
        """Begin with an image that was just stored; its preview if that is ready soon."""
        if not (self._previews or self._prewarmed) or len(self._tasks) >= MAX_UNFINISHED:
            return None
        ready: asyncio.Future[Preview | None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._finish(meta, content, ready), name="lightfast-finishing")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self._previews:
            return None
        await asyncio.wait((ready,), timeout=READY)
        return ready.result() if ready.done() and not ready.cancelled() else None

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _finish(self, meta: Meta, content: bytes, ready: asyncio.Future[Preview | None]) -> None:
        made: Preview | None = None
        try:
            if self._previews:
                with suppress(LightfastError):  # whoever asks for it will hear why
                    made = await self._variants.preview_of(meta, content)
        finally:
            if not ready.done():
                ready.set_result(made)
        for variant in self._prewarmed:
            with suppress(LightfastError):
                await self._variants.make(meta, content, variant)


def _made_for(wish: Wish) -> Iterator[Variant]:
    """What a wish comes to: where Accept decides, what most browsers get."""
    if wish.variant is not None:
        formats = (Format.WEBP, Format.AVIF) if wish.negotiate else (wish.variant.format,)
        yield from (encoded_as(wish.variant, it) for it in formats)
