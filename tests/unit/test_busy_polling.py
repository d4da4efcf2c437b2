"""Whether the loop looks for the next request instead of sleeping."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.support import until
from uvicorn.server import ServerState

from lightfast.web import busy_polling
from lightfast.web.busy_polling import WINDOW, BusyPolling

LONG = 5 * WINDOW


def work(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.fixture
def server() -> ServerState:
    return ServerState()


def answer(polling: BusyPolling, server: ServerState) -> None:
    server.total_requests += 1
    if not polling.is_turning:
        polling.consider(asyncio.get_running_loop(), server)


async def be_pressed(polling: BusyPolling, server: ServerState) -> None:
    """Work without a pause, which a machine that does other things may not allow at once."""

    def is_pressed() -> bool:
        answer(polling, server)
        work(LONG)
        answer(polling, server)
        return polling.is_turning

    await until(is_pressed)


async def test_a_loop_that_works_turns_until_nothing_has_come_for_a_while(server: ServerState) -> None:
    polling = BusyPolling()
    await be_pressed(polling, server)
    turns = 0
    while polling.is_turning:
        turns += 1
        await asyncio.sleep(0)
        assert turns < 100_000
    assert turns > 1


async def test_what_is_answered_prolongs_it(server: ServerState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy_polling, "PATIENCE", 0.5)
    monkeypatch.setattr(busy_polling, "PRESSED", 0.1)  # other tests may have most of the processor
    polling = BusyPolling()
    await be_pressed(polling, server)
    end = time.perf_counter() + 1
    while time.perf_counter() < end:
        work(0.01)
        answer(polling, server)
        await asyncio.sleep(0)
        assert polling.is_turning


async def test_a_loop_that_mostly_sleeps_does_not_turn(server: ServerState) -> None:
    polling = BusyPolling()
    await be_pressed(polling, server)
    await until(lambda: not polling.is_turning)
    for _ in range(5):
        await asyncio.sleep(LONG)
        answer(polling, server)
        assert not polling.is_turning


async def test_turning_does_not_count_as_work(server: ServerState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy_polling, "PATIENCE", 3600)
    polling = BusyPolling()
    await be_pressed(polling, server)
    await until(lambda: not polling.is_turning)
