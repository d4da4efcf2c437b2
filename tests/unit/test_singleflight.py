from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Callable
from typing import Any

import pytest

from lightfast.cache.singleflight import SingleFlight
from lightfast.errors import StoreUnavailable

DEADLINE = 10


class Work:
    """Counts how often it was begun and finished; waits at a gate, then answers or fails."""

    def __init__(self, answer: str | Exception = "answer") -> None:
        self.answer = answer
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.ended = asyncio.Event()
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        self.begun.set()
        try:
            await self.gate.wait()
        finally:
            self.ended.set()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - how many have joined is a number, not an event
            await asyncio.sleep(0)


async def finished(*tasks: asyncio.Task[Any]) -> list[Any]:
    async with asyncio.timeout(DEADLINE):
        return await asyncio.gather(*tasks, return_exceptions=True)


def start(flight: SingleFlight[str, str], work: Work, number: int = 1) -> list[asyncio.Task[tuple[str, bool]]]:
    return [asyncio.create_task(flight.do("key", work)) for _ in range(number)]


async def start_and_cancel(flight: SingleFlight[str, str], work: Work) -> None:
    before = flight.joins
    tasks = start(flight, work, 3)
    await until(lambda: flight.joins == before + 2)
    for task in tasks:
        task.cancel()
    outcomes = await finished(*tasks)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3


def test_needs_no_loop_to_be_constructed() -> None:
    flight: SingleFlight[str, str] = SingleFlight()

    async def answer() -> str:
        return "answer"

    assert asyncio.run(flight.do("key", answer)) == ("answer", False)


async def test_500_callers_one_call() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    work = Work()
    tasks = start(flight, work, 500)
    await until(lambda: flight.joins == 499)
    assert flight.in_flight("key")
    work.gate.set()
    results = await finished(*tasks)
    assert work.calls == 1
    assert results == [("answer", False)] + [("answer", True)] * 499
    assert not flight.in_flight("key")


async def test_different_keys_do_not_wait_for_each_other() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    slow, quick = Work("slow"), Work("quick")
    waiting = asyncio.create_task(flight.do("slow", slow))
    quick.gate.set()
    assert await flight.do("quick", quick) == ("quick", False)
    assert not waiting.done()
    slow.gate.set()
    assert await finished(waiting) == [("slow", False)]


async def test_a_result_is_not_remembered() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    work = Work()
    work.gate.set()
    assert await flight.do("key", work) == ("answer", False)
    assert await flight.do("key", work) == ("answer", False)
    assert work.calls == 2


async def test_a_cancelled_leader_takes_nobody_down() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    work = Work()
    leader, *followers = start(flight, work, 3)
    await until(lambda: flight.joins == 2)
    leader.cancel()
    assert isinstance((await finished(leader))[0], asyncio.CancelledError)
    late = start(flight, work)
    await until(lambda: flight.joins == 3)
    work.gate.set()
    assert await finished(*followers, *late) == [("answer", True)] * 3
    assert work.calls == 1


async def test_the_work_completes_when_all_callers_are_cancelled() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    work = Work()
    await start_and_cancel(flight, work)
    gc.collect()
    assert flight.in_flight("key")
    assert not work.ended.is_set()
    work.gate.set()
    await until(lambda: not flight.in_flight("key"))
    assert work.ended.is_set()


async def test_an_error_goes_to_all_and_is_not_remembered() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    work = Work(StoreUnavailable("away"))
    tasks = start(flight, work, 3)
    await until(lambda: flight.joins == 2)
    work.gate.set()
    assert [str(error) for error in await finished(*tasks)] == ["away"] * 3
    again = Work()
    again.gate.set()
    assert await flight.do("key", again) == ("answer", False)


async def test_nobody_joins_a_flight_that_has_failed_but_is_not_cleared_away() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    again = Work()
    again.gate.set()
    later: list[asyncio.Task[tuple[str, bool]]] = []

    async def fail() -> str:
        # The step of this task is scheduled after the failure and before its done callbacks.
        later.extend(start(flight, again))
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        await flight.do("key", fail)
    assert await finished(*later) == [("answer", False)]


async def test_an_error_that_nobody_waits_for_is_no_noise() -> None:
    noise: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    flight: SingleFlight[str, str] = SingleFlight()
    work = Work(ValueError("unseen"))
    # No name here may hold a caller: through its frame it would keep the flight's task from being collected.
    await start_and_cancel(flight, work)
    work.gate.set()
    await until(lambda: not flight.in_flight("key"))
    await asyncio.sleep(0)  # the done callbacks
    gc.collect()
    assert noise == []


async def test_after_forget_the_next_caller_begins_anew() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    old, new = Work("old"), Work("new")
    before = start(flight, old)
    await until(old.begun.is_set)
    flight.forget("key")
    assert not flight.in_flight("key")
    after = start(flight, new, 2)
    await until(lambda: flight.joins == 1)
    old.gate.set()
    assert await finished(*before) == [("old", False)]
    assert flight.in_flight("key"), "the end of the old flight is not the end of the new one"
    new.gate.set()
    assert await finished(*after) == [("new", False), ("new", True)]


async def test_forgetting_what_is_not_under_way_is_fine() -> None:
    SingleFlight[str, str]().forget("key")


async def test_close_cancels_and_waits_for_forgotten_flights_too() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    forgotten, current = Work(), Work()
    tasks = start(flight, forgotten)
    await until(forgotten.begun.is_set)
    flight.forget("key")
    tasks += start(flight, current)
    await until(current.begun.is_set)
    async with asyncio.timeout(DEADLINE):
        await flight.close()
    assert forgotten.ended.is_set()
    assert current.ended.is_set()
    assert not flight.in_flight("key")
    assert [type(error) for error in await finished(*tasks)] == [StoreUnavailable, StoreUnavailable]
    await flight.close()


async def test_close_before_the_work_has_begun() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    work = Work()
    (task,) = start(flight, work)
    await until(lambda: flight.in_flight("key"))
    await flight.close()
    assert isinstance((await finished(task))[0], StoreUnavailable)
    assert work.calls == 0


async def test_the_work_sees_nothing_of_its_first_caller() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    flight: SingleFlight[str, str] = SingleFlight()

    async def seen() -> str:
        return request.get()

    request.set("first caller")
    assert await flight.do("key", seen) == ("none", False)


async def test_a_deadline_of_the_first_caller_is_not_the_works() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    work = Work()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await flight.do("key", work)
    work.gate.set()
    assert await flight.do("key", work) == ("answer", True)
    assert work.calls == 1
