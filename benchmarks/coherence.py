"""From a write that somebody else makes to the first fresh answer over HTTP: the figures of ``invalidation_lag``."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks import processes
from benchmarks.invalidation_lag import GOALS, Http, Lags, measure, put_with, set_with
from benchmarks.plan import Advance, Plan, Result, tail

WRITERS = {"valkey": "a foreign SET in Valkey", "sqlite": "a put by another process on the same SQLite file"}


def steps(plan: Plan) -> int:
    return len(WRITERS)


def run(plan: Plan, advance: Advance) -> Result:
    with ExitStack() as stack:
        directory = stack.enter_context(processes.directory())
        advance(WRITERS["valkey"])
        store = stack.enter_context(processes.valkey())
        reader = stack.enter_context(processes.lightfast(f"redis://127.0.0.1:{store}/0"))
        found = [measure("valkey", Http(reader), set_with(store))]
        advance(WRITERS["sqlite"])
        url = f"sqlite:///{directory}/images.db"
        reader, writer = (stack.enter_context(processes.lightfast(url)) for _ in range(2))
        found.append(measure("sqlite", Http(reader), put_with(Http(writer))))
    return {
        "what": "from the writer's reply to the end of the first fresh answer over HTTP, milliseconds",
        "stores": {lags.name: _summary(lags) for lags in found},
    }


def _summary(lags: Lags) -> Result:
    goals = {f"p{percent}": seconds * 1000 for percent, seconds in GOALS[lags.name].items()}
    return {
        "writer": WRITERS[lags.name],
        "lag": tail([seconds * 1000 for seconds in lags.lags]),
        "old_answers_until": tail([seconds * 1000 for seconds in lags.waits]),
        "goals": goals,
    }
