"""Bodies that stop coming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from lightfast.errors import TooSlow
from lightfast.web import body


async def chunks(*waits: asyncio.Event) -> AsyncGenerator[bytes, None]:
    for wait in waits:
        await wait.wait()
        yield b"x"


def happened() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_what_comes_in_time_passes():
    assert [chunk async for chunk in body._in_time(chunks(happened(), happened()))] == [b"x", b"x"]


async def test_who_stops_sending_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(body, "PATIENCE", 0.01)
    coming = body._in_time(chunks(happened(), asyncio.Event()))
    assert await anext(coming) == b"x"
    with pytest.raises(TooSlow, match="Nothing more of the body"):
        await anext(coming)
