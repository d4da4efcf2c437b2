"""How long the event loop makes others wait while pictures are made, seen from outside: a small request every ms."""

from __future__ import annotations

import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.client import Client
from benchmarks.headers import request
from benchmarks.plan import Advance, Plan, Result, tail
from benchmarks.processes import ALL_CORES, CORES, Process
from benchmarks.sources import PHOTO, source
from benchmarks.variant_reads import serving

RENDERS = 8
TIMES = 6
"""How often so many renders are asked for at once."""
EVERY = 0.001
"""Seconds from one probe to the next."""
PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGEST = 4 << 20


def steps(plan: Plan) -> int:
    return 3


def longest(plan: Plan, advance: Advance) -> Result:
    """Milliseconds until a probe is answered: at rest, beside other busy processes, and while pictures are made."""
    with serving({"photo.jpg": source(PHOTO)}, ALL_CORES) as server:
        advance("probes at rest")
        rest = probes(server, lasting(0.5 if plan.quick else 2))
        advance("probes beside busy processes")
        with busy():
            beside = probes(server, lasting(0.5 if plan.quick else 2))
        advance(f"probes beside {RENDERS} renders")
        during: list[float] = []
        for round in range(1 if plan.quick else TIMES):
            with ExitStack() as stack:
                clients = [stack.enter_context(Client(server.port, LARGEST)) for _ in range(RENDERS)]
                for at, client in enumerate(clients):
                    client.send(request(f"photo.jpg?w={1600 - RENDERS * round - at}&fm=webp"))
                during += probes(server, answered(clients))
    return {
        "renders": RENDERS,
        "times": 1 if plan.quick else TIMES,
        "milliseconds": {"at rest": tail(rest), "beside busy processes": tail(beside), "beside renders": tail(during)},
    }


def probes(server: Process, done: Callable[[], bool]) -> list[float]:
    """Milliseconds of each probe until ``done``, on one connection that is kept."""
    found = []
    with Client(server.port) as client:
        while not done():
            answer = client.ask(PROBE)
            if answer.status != 200:
                raise RuntimeError(f"a probe is answered {answer.status}")
            found.append(1000 * answer.seconds)
            time.sleep(max(0.0, EVERY - answer.seconds))
    return found


def lasting(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def answered(clients: list[Client]) -> Callable[[], bool]:
    """Whether all of them have their whole answer; takes what has come."""
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)

    def done() -> bool:
        for key, _ in selector.select(0):
            if key.data.receive():
                selector.unregister(key.fileobj)
                if key.data.answer(0).status != 200:
                    raise RuntimeError(f"a render is answered {key.data.answer(0).status}")
        if selector.get_map():
            return False
        selector.close()
        return True

    return done


@contextmanager
def busy() -> Iterator[None]:
    """A process for each core that does nothing but count: what is late then is late because of them."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in CORES]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
