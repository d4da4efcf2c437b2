"""The images of a store, without a server: what a command does with ``--store``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from lightfast.app import Lightfast
from lightfast.errors import Missing
from lightfast.model import Info, Listing, Sighting
from lightfast.remote import Watcher


class StoreImages:
    """The images of the store at ``url``, of the one in the settings for ``None``.

    Each call runs the event loop until it is done, so that in between a signal ends the process as any other.
    Raises ``SettingsError``; the methods raise as those of ``Lightfast``, and ``Missing``.
    """

    def __init__(self, url: str | None) -> None:
        self._images = Lightfast(url, warm=False)  # a command asks once
        self.max_bytes = self._images.settings.max_upload
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        try:
            self._runner.run(self._images.open())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        with self._runner:
            self._runner.run(self._images.close())

    def put(self, data: bytes, *, id: str | None, ttl: str | None, watcher: Watcher) -> Info:
        """Store ``data``; without ``id`` under one that nobody can guess."""
        info = self._runner.run(self._images.put(data, id=id, ttl=ttl))
        watcher.moved(len(data))
        return info

    def get(self, id: str, watcher: Watcher) -> tuple[bytes, str]:
        """The content and the media type of the current version."""
        image = self._runner.run(self._images.get(id))
        if image is None:
            raise Missing(id)
        return image.content, image.meta.media_type

    def info(self, id: str) -> Info:
        """Describe an image."""
        info = self._runner.run(self._images.info(id))
        if info is None:
            raise Missing(id)
        return info

    def delete(self, id: str) -> None:
        """Remove an image."""
        if not self._runner.run(self._images.delete(id)):
            raise Missing(id)

    def watch(self, show: Callable[[Sighting], None]) -> None:
        """Pass every change of the store to ``show``, until the process is interrupted."""
        self._runner.run(self._watch(show))

    async def _watch(self, show: Callable[[Sighting], None]) -> None:
        async for sighting in self._images.watch():
            show(sighting)

    def list(self, cursor: str | None, limit: int) -> Listing:
        """One page from ``cursor`` (``None`` = from the start) on."""
        return self._runner.run(self._images.list(cursor, limit))
