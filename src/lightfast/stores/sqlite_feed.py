"""Brings the changes of the embedded store to a process: those of other processes too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import NoReturn

from lightfast.errors import LightfastError, StoreUnavailable
from lightfast.model import Change
from lightfast.ports import FeedObserver
from lightfast.stores.sqlite_file import Connection, translated

HEARTBEAT = 0.5
"""Seconds between two signs of life of the thread that looks."""

SILENCE = 1.0
"""Seconds without one after which the link counts as lost: the disk hangs, or the machine did."""

CHANGES_PER_LOOK = 1000

# The table keeps its last number when it is tidied (AUTOINCREMENT).
_NEWEST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes'"


async def follow(connect: Callable[[], Connection], observer: FeedObserver, interval: float) -> NoReturn:
    """``ports.ChangeFeed.follow``: look every ``interval`` seconds whether anybody has committed."""
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[None] = loop.create_future()
    stopped = threading.Event()
    heard = loop.time()

    def alive() -> None:
        nonlocal heard
        heard = loop.time()
        observer.alive()

    def lose(error: LightfastError) -> None:
        if not lost.done():
            lost.set_exception(error)

    def take(call: Callable[..., None], *values: object) -> None:
        # What a thread says after its link was given up must not pass for a word from the next one.
        if not stopped.is_set():
            call(*values)

    def tell(call: Callable[..., None], *values: object) -> None:
        with suppress(RuntimeError):  # the loop has been closed: nobody is there to be told
            loop.call_soon_threadsafe(take, call, *values)

    def look() -> None:
        try:
            with translated(), closing(connect()) as connection:
                _Watch(connection, observer, tell).run(stopped, interval, alive)
        except LightfastError as error:
            tell(lose, error)

    # A thread that hangs in the file system can't be joined, so it must not keep the process from ending.
    threading.Thread(target=look, name="lightfast-sqlite-feed", daemon=True).start()
    try:
        while True:
            await asyncio.wait((lost,), timeout=HEARTBEAT)
            if lost.done():
                lost.result()
            if loop.time() - heard > SILENCE:
                raise StoreUnavailable("The store has gone silent.")
    finally:
        stopped.set()


class _Watch:
    """One thread's view of the table of changes, which triggers in the file fill."""

    def __init__(self, connection: Connection, observer: FeedObserver, tell: Callable[..., None]) -> None:
        self._connection = connection
        self._observer = observer
        self._tell = tell
        # The version is read first: what is committed between the two reads is seen again by the next look.
        self._version = connection.number("PRAGMA data_version")
        self._last = connection.number(_NEWEST)

    def run(self, stopped: threading.Event, interval: float, alive: Callable[[], None]) -> None:
        self._tell(self._observer.linked)
        looks_per_beat = max(1, round(HEARTBEAT / interval))
        looks = 0
        while not stopped.wait(interval):
            self._connection.check_in_place()
            # It changes when another connection has committed, and costs microseconds (PRAGMA data_version).
            version = self._connection.number("PRAGMA data_version")
            if version != self._version:
                self._version = version
                self._read_changes()
            looks += 1
            if looks % looks_per_beat == 0 and not stopped.is_set():
                self._tell(alive)

    def _read_changes(self) -> None:
        newest = self._connection.number(_NEWEST)
        select = "SELECT number, id, kind, at, etag, expires FROM changes WHERE number > ? ORDER BY number LIMIT ?"
        while rows := self._connection.rows(select, self._last, CHANGES_PER_LOOK):
            if rows[0][0] != self._last + 1:
                self._tell_of_lost_changes()
            for number, *change in rows:
                self._tell(self._observer.changed, Change(*change))
                self._last = number
        if self._last < newest:
            self._tell_of_lost_changes()
            self._last = newest

    def _tell_of_lost_changes(self) -> None:
        # This process stood still for so long that changes were tidied away before it saw them.
        self._tell(self._observer.changed, Change(None))
