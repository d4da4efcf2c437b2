"""Every store that the contract is held against, each on a real, empty back end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support import etag_of

from lightfast.model import Draft
from lightfast.ports import Store
from lightfast.stores.memory import MemoryStore
from lightfast.stores.redis import RedisStore
from lightfast.stores.sqlite import SqliteStore


@dataclass
class Backend:
    """Where one kind of store keeps its data, and how to get at it."""

    name: str
    clock: Any
    make: Callable[[], Store]
    server: Any = None
    opened: list[Store] = field(default_factory=list)

    async def open(self) -> Store:
        """One more store over the same data; in memory there can be only one."""
        store = self.make()
        await store.open()
        self.opened.append(store)
        return store


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        "valkey",
        "redis",
        pytest.param("tls", marks=pytest.mark.alone),  # twenty handshakes at once, and a second for each
        "cluster",
        "sentinel",
        "valkey-json",
    ]
)
async def backend(request: pytest.FixtureRequest, tmp_path: Any, clock: Any) -> AsyncIterator[Backend]:
    name = request.param
    kind, _, form = name.partition("-")
    if kind == "memory":
        only = MemoryStore(max_bytes=100 << 20, clock=clock)
        backend = Backend(name, clock, lambda: only)
    elif kind == "sqlite":
        path = tmp_path / "images.db"
        # Nobody reclaims while a test looks; reclaiming has tests of its own.
        backend = Backend(name, clock, lambda: SqliteStore(path, clock=clock, reclaim_interval=3600))
    else:
        server = request.getfixturevalue(kind)
        url = server.url
        backend = Backend(name, clock, lambda: RedisStore(url, format=form or "hash", clock=clock), server)
    yield backend
    for store in backend.opened:
        await store.close()


@pytest.fixture
async def store(backend: Backend) -> Store:
    return await backend.open()


@pytest.fixture
def draft() -> Callable[..., Draft]:
    """``draft("id", b"…")``: a draft with the right ETag. The bytes need not be an image: stores don't look."""

    def make(id: str, content: bytes, media_type: str = "image/png", width: int | None = 3) -> Draft:
        etag = etag_of(content)
        return Draft(id, content, etag, media_type, width, 5 if width is not None else None)

    return make
