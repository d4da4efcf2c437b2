"""Lightfast for code that is not async: generators, scripts, task workers."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar

from lightfast.errors import LightfastError
from lightfast.model import ALWAYS, Image, Info, Listing, Precondition, Preview

T = TypeVar("T")


class AsyncImages(Protocol):
    """The async methods that are mirrored here."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def put(
        self,
        data: bytes,
        *,
        id: str | None,
        ttl: float | str | None,
        media_type: str | None,
        precondition: Precondition,
    ) -> Coroutine[Any, Any, Info]: ...

    def get(self, id: str) -> Coroutine[Any, Any, Image | None]: ...

    def info(self, id: str) -> Coroutine[Any, Any, Info | None]: ...

    def delete(self, id: str, *, precondition: Precondition) -> Coroutine[Any, Any, bool]: ...

    def list(self, cursor: str | None, limit: int) -> Coroutine[Any, Any, Listing]: ...

    def url(self, id: str, *, expires: float | str | None, **parameters: object) -> Coroutine[Any, Any, str]: ...

    def preview(self, id: str) -> Coroutine[Any, Any, Preview]: ...

    def html(self, id: str, **options: Any) -> Coroutine[Any, Any, str]: ...


@dataclass(frozen=True, slots=True)
class _Background:
    """An event loop on a thread of our own, until ``leave`` is set there."""

    loop: asyncio.AbstractEventLoop
    leave: asyncio.Event
    thread: threading.Thread


class SyncImages:
    """The same methods, blocking; from any thread but the event loop's own.

    While the app runs, the work is done on the app's event loop. Where there is no app (a script, a task worker), the
    first call opens the store on a background thread, and ``close`` (or leaving ``with images.sync:``) ends it.
    """

    def __init__(self, images: AsyncImages) -> None:
        self._images = images
        self._background: _Background | None = None
        self._lock = threading.Lock()

    def put(
        self,
        data: bytes,
        *,
        id: str | None = None,
        ttl: float | str | None = None,
        media_type: str | None = None,
        precondition: Precondition = ALWAYS,
    ) -> Info:
        """As ``Lightfast.put``."""
        return self._run(self._images.put(data, id=id, ttl=ttl, media_type=media_type, precondition=precondition))

    def get(self, id: str) -> Image | None:
        """As ``Lightfast.get``."""
        return self._run(self._images.get(id))

    def info(self, id: str) -> Info | None:
        """As ``Lightfast.info``."""
        return self._run(self._images.info(id))

    def delete(self, id: str, *, precondition: Precondition = ALWAYS) -> bool:
        """As ``Lightfast.delete``."""
        return self._run(self._images.delete(id, precondition=precondition))

    def list(self, cursor: str | None = None, limit: int = 100) -> Listing:
        """As ``Lightfast.list``."""
        return self._run(self._images.list(cursor, limit))

    def url(self, id: str, *, expires: float | str | None = None, **parameters: object) -> str:
        """As ``Lightfast.url``."""
        return self._run(self._images.url(id, expires=expires, **parameters))

    def preview(self, id: str) -> Preview:
        """As ``Lightfast.preview``."""
        return self._run(self._images.preview(id))

    def html(self, id: str, **options: Any) -> str:  # Any: they are those of Lightfast.html
        """As ``Lightfast.html``."""
        return self._run(self._images.html(id, **options))

    def close(self) -> None:
        """Finish the writes under way and end the background thread, if there is one. Closing twice is fine."""
        with self._lock:
            background, self._background = self._background, None
            if background is not None:
                _closed_at_exit.discard(self)
                background.loop.call_soon_threadsafe(background.leave.set)
                background.thread.join()

    def __enter__(self) -> SyncImages:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            # Under the lock, so that what is handed over comes before the end of the loop.
            with self._lock:
                future = asyncio.run_coroutine_threadsafe(work, self._loop())
        except BaseException:
            work.close()
            raise
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise LightfastError("Lightfast was closed before this was done.") from error

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = self._images.loop
        if loop is None:
            self._background = _open_in_background(self._images)
            _closed_at_exit.add(self)
            return self._background.loop
        if loop is _running_loop():
            raise LightfastError(
                "images.sync can't be used on the event loop itself, which would wait for ever for its own answer: "
                "use 'await images.…' there, or call it from a plain 'def' endpoint or a thread."
            )
        return loop


def _open_in_background(images: AsyncImages) -> _Background:
    """Open ``images`` on an event loop of its own. Raises what ``images.open`` raises."""
    opened: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = concurrent.futures.Future()

    async def stay_open() -> None:
        await images.open()
        leave = asyncio.Event()
        opened.set_result((asyncio.get_running_loop(), leave))
        await leave.wait()
        await images.close()

    def run() -> None:
        try:
            asyncio.run(stay_open())
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)

    thread = threading.Thread(target=run, name="lightfast-sync", daemon=True)
    thread.start()
    return _Background(*opened.result(), thread)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_closed_at_exit: set[SyncImages] = set()


def _close_all() -> None:
    for images in tuple(_closed_at_exit):
        images.close()


# Closing a store needs threads, and at atexit's turn every thread pool has ended already. The pools end in the way
# that is used here, in the reverse order of registration: importing them first makes ours come before.
getattr(threading, "_register_atexit", atexit.register)(_close_all)
