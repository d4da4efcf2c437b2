"""How a render that is under way is told to end."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

from lightfast.errors import RenderTimeout


class Killable(Protocol):
    """A libvips image: whatever computes its pixels fails from then on."""

    def set_kill(self, kill: bool, /) -> None: ...


class Stop:
    """Ends a render from another thread. ``limit``: the seconds that it had, for the error.

    Decoding, scaling and the encoders of WebP, PNG and JPEG end within milliseconds; a GIF ends with its frame. An AVIF
    can't be interrupted while libaom encodes it, nor while it is decoded. How hard these two try depends on their size,
    and so this takes a few seconds at most.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._stopped = False
        self._watched: list[Killable] = []

    @property
    def stopped(self) -> bool:
        return self._stopped

    def stop(self) -> None:
        """End whatever is watched, now and later. From any thread, any number of times."""
        with self._lock:
            self._stopped = True
            watched, self._watched = self._watched, []
        for image in watched:
            image.set_kill(True)

    def watch(self, image: Killable) -> None:
        with self._lock:
            if not self._stopped:
                self._watched.append(image)
                return
        image.set_kill(True)

    def forget(self, *, but: Iterable[Killable] = ()) -> None:
        """Let go of what was watched, ``but`` of a part: it is freed in the thread that made it."""
        kept = list(but)
        with self._lock:
            self._watched = [] if self._stopped else kept

    def check(self) -> None:
        """Raises ``RenderTimeout`` once it is time to end."""
        if self._stopped:
            raise RenderTimeout(self.limit)
