"""The table of the mission: one PNG of 1 MB, single requests in sequence, then several at once.

All three read the same legacy JSON records from the same Valkey. Every round has new ids, so that its first request is
a first request. It comes a moment after the record was stored, as when an app hands out its URL. By then Lightfast has
loaded what was stored; with ``--no-warm`` it reads the store for the first request. In further rounds the records are
there before Lightfast starts, which then has a moment to load them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import redis

from benchmarks import contestants, processes
from benchmarks.browser import views
from benchmarks.client import Answer, Client, ask_together
from benchmarks.contestants import legacy_record
from benchmarks.headers import request
from benchmarks.pictures import picture
from benchmarks.plan import Advance, Plan, Result, spread
from benchmarks.wording import ROWS

SIZE = 1_000_000
ROUNDS = 100
WARM_UP = 5
REPEATS = 5
"""Requests for a picture that was asked for before, in each round; each is measured."""
CONCEPTS = 3
AT_ONCE = 32
MOMENT = 0.05
"""Seconds between storing a record and the first request for it."""
BEFORE = 14
"""Records that are in the store when a server starts; they fit into half of its memory."""
START = 2.0
"""Seconds between the start of a server and the first request."""

NAMES = ("naive", "cached", "lightfast", "lightfast-no-warm")
Milliseconds = dict[str, list[float]]


def steps(plan: Plan) -> int:
    return plan.times(ROUNDS) + WARM_UP + _starts(plan) + 1


def run(plan: Plan, advance: Advance) -> Result:
    content = picture(SIZE)
    record = legacy_record(content)
    times: dict[str, Milliseconds] = {name: {row: [] for row in ROWS} for name in NAMES}
    with started() as (store, ports), ExitStack() as stack:
        clients = {
            name: [stack.enter_context(Client(port, len(content))) for _ in range(AT_ONCE)]
            for name, port in ports.items()
        }
        for round in range(WARM_UP + plan.times(ROUNDS)):
            advance(f"round {round + 1}")
            store.flushall()
            ids = [f"round{round}-{number}.png" for number in range(1 + CONCEPTS)]
            for id in ids:
                store.set(f"image:{id}", record)
            time.sleep(MOMENT)
            turn = round % len(NAMES)
            for name in NAMES[turn:] + NAMES[:turn]:
                found, hot = view(clients[name], ids, content)
                if name.startswith("lightfast") and not hot:
                    raise RuntimeError("Lightfast does not answer the second request on its hot path")
                if round >= WARM_UP:
                    for row, values in found.items():
                        times[name][row] += values
        for start in range(_starts(plan)):
            advance(f"start {start + 1}")
            ids = [f"start{start}-{number}.png" for number in range(BEFORE)]
            for name, values in before(store, clients, ids, record, content).items():
                times[name]["first_before"] += values
    advance("a browser")
    return {
        "what": "one PNG of 1 MB as a legacy JSON record, milliseconds",
        "bytes": len(content),
        "record_bytes": len(record),
        "rows": {row: {name: spread(times[name][row]) for name in NAMES} for row in ROWS},
        "browser": views(content) if contestants.find("chromium") else None,
        "missing": {} if contestants.find("chromium") else {"browser": "apt-get install chromium"},
    }


def before(
    store: redis.Redis, clients: Mapping[str, list[Client]], ids: list[str], record: bytes, content: bytes
) -> dict[str, list[float]]:
    """The milliseconds that the first request for each of ``ids`` takes, where a new server finds all of them."""
    store.flushall()
    for id in ids:
        store.set(f"image:{id}", record)
    port = store.get_connection_kwargs()["port"]
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    with processes.serve(f"redis://127.0.0.1:{port}/0") as process, Client(process.port, len(content)) as fresh:
        time.sleep(START)
        asked = {name: clients[name][0] for name in NAMES} | {"lightfast": fresh}
        fresh.ask(request("nobody.png"))  # as the other servers, this one has answered before
        for number, id in enumerate(ids):
            turn = number % len(NAMES)
            for name in NAMES[turn:] + NAMES[:turn]:
                answer = checked(asked[name].ask(request(id)), content)
                if name == "lightfast" and "hit" not in answer.headers["cache-status"]:
                    raise RuntimeError("Lightfast has not loaded what was there when it started")
                found[name].append(answer.seconds * 1000)
    return found


def _starts(plan: Plan) -> int:
    return max(1, plan.times(ROUNDS) // BEFORE)


@contextmanager
def started() -> Iterator[tuple[redis.Redis, Mapping[str, int]]]:
    with ExitStack() as stack:
        port = stack.enter_context(processes.valkey())
        url = f"redis://127.0.0.1:{port}/0"
        store = stack.enter_context(redis.Redis.from_url(url))
        cached = stack.enter_context(processes.uvicorn("cached_handler:app", processes.BASELINES, REDIS_URL=url))
        ports = {
            "naive": stack.enter_context(processes.naive_handler(url)),
            "cached": cached.port,
            "lightfast": stack.enter_context(processes.lightfast(url)),
            "lightfast-no-warm": stack.enter_context(processes.serve(url, "--no-warm")).port,
        }
        yield store, ports


def view(clients: list[Client], ids: list[str], content: bytes) -> tuple[Milliseconds, bool]:
    """The milliseconds of each row for one server, and whether it answered what it had before on the hot path."""
    one, plain = clients[0], request(ids[0])
    first = checked(one.ask(plain), content)
    again = request(ids[0], etag=first.headers.get("etag", '"none"'))
    second = [checked(one.ask(plain), content) for _ in range(REPEATS)]
    unchanged = [checked(one.ask(again), content) for _ in range(REPEATS)]
    concepts = [request(id) for id in ids[1:]]
    seconds = {
        "first": [first.seconds],
        "second": [answer.seconds for answer in second],
        "revalidation": [answer.seconds for answer in unchanged],
        "concepts_cold": [together(clients, concepts, content)],
        "concepts_warm": [together(clients, concepts, content) for _ in range(REPEATS)],
        "at_once": [together(clients, [plain] * AT_ONCE, content)],
    }
    found = {row: [value * 1000 for value in values] for row, values in seconds.items()}
    hot = any(answer.is_hot for answer in second) and any(answer.is_hot for answer in unchanged)
    return found, hot


def together(clients: list[Client], requests: list[bytes], content: bytes) -> float:
    """Seconds until every answer is complete."""
    answers = ask_together(clients[: len(requests)], requests)
    return max(checked(answer, content).seconds for answer in answers)


def checked(answer: Answer, content: bytes) -> Answer:
    """``answer`` if it is right. Raises ``RuntimeError``."""
    if answer.status != 304 and (answer.status != 200 or answer.body != content):
        raise RuntimeError(f"an answer is {answer.status} or has other bytes")
    return answer
