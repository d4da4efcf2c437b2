"""The store's changes as a stream, for people who debug an invalidation."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

from lightfast.errors import BrokenRecord, StoreUnavailable
from lightfast.model import Change, Clock, Sighting, is_valid_id, meta_of
from lightfast.ports import ChangeFeed, FollowedStore

BACKLOG = 10_000
"""Changes that may wait for a slow reader; older ones are lost then, and the reader is told so."""


RELINK_DELAY = 1.0
PLAUSIBLE_LAG = 10.0
"""Seconds."""


class _Backlog:
    """Implements ``ports.FeedObserver``."""

    def __init__(self) -> None:
        self.changes: deque[Change] = deque(maxlen=BACKLOG)
        self.arrived = asyncio.Event()

    def linked(self) -> None:
        self.changed(Change(None, "linked"))

    def alive(self, lag: float | None = None) -> None:
        pass

    def changed(self, change: Change) -> None:
        is_full = len(self.changes) == BACKLOG
        self.changes.append(change)  # the oldest goes
        if is_full:
            self.changes[0] = Change(None, "missed")
        self.arrived.set()


async def sightings(store: FollowedStore, clock: Clock) -> AsyncGenerator[Sighting]:
    """Every change from now on, with what became of the image. Makes a new link when one is lost; never ends."""
    while True:
        try:
            async with aclosing(watch(store)) as changes:
                async for change in changes:
                    yield await _look_at(change, store, clock())
        except StoreUnavailable as error:
            yield Sighting(datetime.fromtimestamp(clock(), UTC), None, f"lost: {error}")
        await asyncio.sleep(RELINK_DELAY)


async def _look_at(change: Change, store: FollowedStore, arrived: float) -> Sighting:
    at = datetime.fromtimestamp(arrived, UTC)
    if change.id is None or not is_valid_id(change.id):
        return Sighting(at, change.id, change.kind)
    try:
        seen = await store.head(change.id)
    except BrokenRecord as error:
        return Sighting(at, change.id, f"broken: {error.reason}")
    if seen is None:
        return Sighting(at, change.id, "gone", lag=_lag(change.at, arrived))
    meta = meta_of(seen)
    return Sighting(at, change.id, change.kind, meta.etag, _lag(change.at or meta.created, arrived))


def _lag(moment: float | None, arrived: float) -> float | None:
    # A record that says when it was stored may have been touched for another reason, long after.
    return arrived - moment if moment is not None and 0 <= arrived - moment < PLAUSIBLE_LAG else None


async def watch(feed: ChangeFeed) -> AsyncGenerator[Change]:
    """Every change from now on; ``linked`` comes first. Raises ``StoreUnavailable`` when the link is lost."""
    backlog = _Backlog()
    following = asyncio.create_task(feed.follow(backlog))
    following.add_done_callback(lambda _: backlog.arrived.set())
    try:
        while True:
            await backlog.arrived.wait()
            backlog.arrived.clear()
            while backlog.changes:
                yield backlog.changes.popleft()
            if following.done():
                following.result()
    finally:
        following.cancel()
        await asyncio.wait((following,))
