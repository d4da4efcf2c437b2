"""Whether the loop polls for the next request or sleeps."""

from __future__ import annotations

import asyncio

import pytest
from uvicorn.server import ServerState

from lightfast.web.busy_polling import PATIENCE, PRESSED, WINDOW, BusyPolling


class Thread:
    """One whose clocks are moved by hand, and the server that it runs."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.used = 10.0
        self.server = ServerState()
        self.polling = BusyPolling(lambda: self.now, lambda: self.used)

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.used += seconds

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def answer(self) -> None:
        self.server.total_requests += 1
        if not self.polling.is_polling:
            self.polling.after_answer(asyncio.get_running_loop(), self.server)

    async def poll(self, seconds: float) -> None:
        """One turn of the loop, and what it takes."""
        self.work(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def pressed() -> Thread:
    thread = Thread()
    thread.work(WINDOW)
    thread.answer()
    assert thread.polling.is_polling
    return thread


async def test_it_polls_until_nothing_has_come_for_a_while(pressed: Thread) -> None:
    await pressed.poll(0)
    await pressed.poll(PATIENCE * 0.9)
    assert pressed.polling.is_polling
    await pressed.poll(PATIENCE * 0.2)
    assert not pressed.polling.is_polling


async def test_an_answer_prolongs_it(pressed: Thread) -> None:
    for _ in range(100):
        pressed.answer()
        await pressed.poll(PATIENCE * 0.9)
        assert pressed.polling.is_polling


async def test_it_polls_again_with_the_next_answer(pressed: Thread) -> None:
    await pressed.poll(0)
    await pressed.poll(2 * PATIENCE)
    assert not pressed.polling.is_polling
    pressed.answer()
    assert pressed.polling.is_polling


@pytest.mark.parametrize(("share", "polls"), [(PRESSED - 0.05, False), (PRESSED + 0.05, True)])
async def test_a_thread_polls_that_has_much_to_do(share: float, polls: bool) -> None:
    thread = Thread()
    for _ in range(10):
        thread.work(share * WINDOW / 10)
        thread.sleep((1 - share) * WINDOW / 10)
        thread.answer()
    thread.sleep(1e-9)
    thread.answer()
    assert thread.polling.is_polling == polls


async def test_less_than_a_window_tells_nothing() -> None:
    thread = Thread()
    thread.work(WINDOW * 0.9)
    thread.answer()
    assert not thread.polling.is_polling


async def test_polling_in_vain_is_no_work(pressed: Thread) -> None:
    """A quarter of the time at most: then what is left is not pressing any more, and the next answer is slept for."""
    await pressed.poll(0)
    for _ in range(round(WINDOW / PATIENCE)):
        pressed.work(PATIENCE * 0.4)
        pressed.answer()
        await pressed.poll(0)
        await pressed.poll(PATIENCE * 0.8)
    assert not pressed.polling.is_polling
    pressed.answer()
    assert not pressed.polling.is_polling


async def test_it_ends_with_the_window_if_nothing_comes(pressed: Thread) -> None:
    await pressed.poll(0)
    pressed.sleep(WINDOW)
    await pressed.poll(0)
    assert not pressed.polling.is_polling
    pressed.answer()
    assert not pressed.polling.is_polling
