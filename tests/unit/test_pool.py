"""The pool: bounded, on time, and fair to those who wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.golden.pictures import image, scene
from tests.support import until

from lightfast.errors import Overloaded, RenderTimeout
from lightfast.imaging.codec import Picture, render
from lightfast.imaging.geometry import Limits
from lightfast.imaging.pool import RenderPool, cores
from lightfast.imaging.stop import Stop
from lightfast.variant import Fit, Format, Variant

PNG = image(scene()).pngsave_buffer()


class Gate:
    """A job that runs until it is let go, or stopped."""

    def __init__(self) -> None:
        self.started, self.open = threading.Event(), threading.Event()
        self.stop: Stop | None = None

    def __call__(self, stop: Stop) -> str:
        self.stop = stop
        self.started.set()
        while not self.open.wait(0.001):
            stop.check()
        return "done"


@pytest.fixture
async def pool() -> AsyncIterator[RenderPool]:
    pool = RenderPool(threads=2, waiting=2, seconds=30, idle_waiting=2)
    yield pool
    await pool.close()


def spawn(pool: RenderPool, count: int) -> tuple[list[Gate], list[asyncio.Task[str]]]:
    gates = [Gate() for _ in range(count)]
    return gates, [asyncio.create_task(pool.run(gate)) for gate in gates]


def test_there_is_a_thread_more_than_there_are_cores() -> None:
    assert RenderPool().threads == cores() + 1 >= 2


async def test_it_gives_what_the_job_gives_or_raises(pool: RenderPool) -> None:
    picture = await pool.run(lambda stop: render(PNG, Variant(width=60), Limits(), stop))
    assert isinstance(picture, Picture)
    assert picture.width == 60
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda _stop: 1 // 0)


async def test_as_many_run_as_there_are_threads_and_a_full_queue_refuses(pool: RenderPool) -> None:
    gates, tasks = spawn(pool, 4)
    await until(lambda: pool.running == 2 and pool.waiting == 2)
    with pytest.raises(Overloaded) as caught:
        await pool.run(lambda _stop: None)
    assert caught.value.retry_after >= 1
    await until(lambda: gates[1].started.is_set())
    assert [gate.started.is_set() for gate in gates] == [True, True, False, False]
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*tasks) == ["done"] * 4
    assert (pool.running, pool.waiting) == (0, 0)


async def test_who_waits_comes_in_order(pool: RenderPool) -> None:
    order: list[int] = []
    gates, tasks = spawn(pool, 2)
    await until(lambda: pool.running == 2)
    more = [asyncio.create_task(pool.run(lambda _stop, number=number: order.append(number))) for number in range(2)]
    await until(lambda: pool.waiting == 2)
    gates[0].open.set()  # one thread goes on, the other stays busy
    await asyncio.gather(*more)
    assert order == [0, 1]
    gates[1].open.set()
    await asyncio.gather(*tasks)


async def test_the_deadline_counts_from_the_asking() -> None:
    pool = RenderPool(threads=1, seconds=0.05)
    let_go = threading.Event()  # stopping does not help, so the only thread is not free before the others' deadlines
    first = asyncio.create_task(pool.run(lambda _stop: let_go.wait(10)))
    gates, tasks = spawn(pool, 2)
    results = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert [type(result) for result in results] == [RenderTimeout] * 3
    let_go.set()
    await until(lambda: pool.running == 0)
    assert not any(gate.started.is_set() for gate in gates)
    await pool.close()


async def test_a_render_at_its_deadline_really_ends() -> None:
    noise = image(np.random.default_rng(5).integers(0, 256, (1500, 1500, 3), np.uint8)).pngsave_buffer(compression=0)
    variant = Variant(format=Format.WEBP, width=5000, fit=Fit.SCALE, lossless=True)
    pool = RenderPool(threads=1, seconds=0.2)
    with pytest.raises(RenderTimeout, match=r"0\.2 seconds"):
        await pool.run(lambda stop: render(noise, variant, Limits(), stop))
    await until(lambda: pool.running == 0)  # it would take several seconds
    await pool.close()


async def test_a_caller_does_not_wait_for_what_cannot_be_stopped() -> None:
    pool, go_on = RenderPool(threads=1, seconds=0.05), threading.Event()
    with pytest.raises(RenderTimeout):
        await pool.run(lambda _stop: go_on.wait(30))
    assert pool.running == 1  # the thread is not given to the next one before it has ended
    go_on.set()
    await until(lambda: pool.running == 0)
    await pool.close()


async def test_a_cancelled_caller_stops_its_job_and_no_other(pool: RenderPool) -> None:
    gates, tasks = spawn(pool, 3)
    await until(lambda: gates[0].started.is_set() and gates[1].started.is_set())
    tasks[0].cancel()
    tasks[2].cancel()
    await asyncio.wait((tasks[0], tasks[2]))
    assert gates[0].stop is not None
    assert gates[0].stop.stopped
    await until(lambda: pool.running == 1 and pool.waiting == 0)
    gates[1].open.set()
    assert await tasks[1] == "done"
    assert not gates[2].started.is_set()


async def test_idle_work_starts_only_while_nobody_waits(pool: RenderPool) -> None:
    gates, tasks = spawn(pool, 2)
    await until(lambda: pool.running == 2)
    idle = Gate()
    later = asyncio.create_task(pool.run_when_idle(idle))
    gates[0].open.set()
    await tasks[0]
    assert not idle.started.is_set()
    gates[1].open.set()
    await tasks[1]
    await until(idle.started.is_set)
    # It takes no thread from those who come while it runs.
    gates, tasks = spawn(pool, 2)
    await until(lambda: gates[0].started.is_set() and gates[1].started.is_set())
    for gate in (*gates, idle):
        gate.open.set()
    assert await asyncio.gather(*tasks, later) == ["done"] * 3


async def test_idle_work_is_one_at_a_time_and_bounded(pool: RenderPool) -> None:
    gates = [Gate() for _ in range(3)]
    tasks = [asyncio.create_task(pool.run_when_idle(gate)) for gate in gates]
    await until(gates[0].started.is_set)
    with pytest.raises(Overloaded):
        await pool.run_when_idle(lambda _stop: None)
    assert not gates[1].started.is_set()
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*tasks) == ["done"] * 3


async def test_idle_work_has_a_deadline_from_its_start() -> None:
    pool = RenderPool(threads=1, idle_seconds=0.05)
    with pytest.raises(RenderTimeout):
        await pool.run_when_idle(Gate())
    await pool.close()


async def test_closing_stops_everything_and_refuses_from_then_on() -> None:
    pool = RenderPool(threads=2)
    gates, tasks = spawn(pool, 4)
    idle = asyncio.create_task(pool.run_when_idle(lambda _stop: "never"))
    await until(lambda: gates[0].started.is_set() and gates[1].started.is_set() and pool.waiting == 2)
    await pool.close()
    results = await asyncio.gather(*tasks, idle, return_exceptions=True)
    assert [type(result) for result in results] == [Overloaded] * 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lightfast-render")]
    with pytest.raises(Overloaded):
        await pool.run(lambda _stop: None)
    await pool.close()


async def test_the_loop_goes_on_while_renders_run(pool: RenderPool) -> None:
    """Not a timing: while eight renders run, the loop turns many more times than renders end."""
    wide = RenderPool(threads=8, waiting=8)
    turns, variant = 0, Variant(width=200, format=Format.WEBP)
    jobs = [asyncio.create_task(wide.run(lambda stop: render(PNG, variant, Limits(), stop))) for _ in range(8)]
    while not all(job.done() for job in jobs):
        turns += 1
        await asyncio.sleep(0)
    assert turns > 8
    await asyncio.gather(*jobs)
    await wide.close()
