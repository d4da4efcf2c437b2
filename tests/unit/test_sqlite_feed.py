"""A thread that hung in the file system says nothing any more once its link was given up."""

from __future__ import annotations

import asyncio
import threading

from lightfast.stores.sqlite import SqliteStore
from lightfast.stores.sqlite_feed import follow
from lightfast.stores.sqlite_file import connect


class Observer:
    def __init__(self):
        self.heard = []

    def linked(self):
        self.heard.append("linked")

    def alive(self, lag=None):
        self.heard.append("alive")

    def changed(self, change):
        self.heard.append(change)


async def test_a_late_link_is_none(tmp_path):
    store = SqliteStore(tmp_path / "images.db")
    await store.open()
    hanging, let_go, observer = threading.Event(), threading.Event(), Observer()

    def connect_late():
        hanging.set()
        assert let_go.wait(10)
        return connect(tmp_path / "images.db", 1.0)

    following = asyncio.create_task(follow(connect_late, observer, 0.005))
    await asyncio.to_thread(hanging.wait)
    following.cancel()
    await asyncio.wait((following,))
    let_go.set()
    for thread in threading.enumerate():
        if thread.name == "lightfast-sqlite-feed":
            await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    assert observer.heard == []
    await store.close()
