"""The first request of a picture, read from each store, against the naive handler.

Lightfast runs with ``--no-warm``: as it comes it loads what others store before anybody asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import redis

from benchmarks import processes
from benchmarks.client import Client
from benchmarks.contestants import legacy_record
from benchmarks.headers import request
from benchmarks.pictures import picture
from benchmarks.plan import Advance, Plan, Result, spread
from lightfast import Lightfast

SIZES = {"46 KB": 46_000, "445 KB": 445_000, "1.7 MB": 1_700_000}
ROUNDS = 100
WARM_UP = 5
BATCH = 10
"""Rounds whose pictures are in the stores at the same time, so that they need little room."""

NAMES = {
    "naive": "naive handler, JSON in Valkey",
    "legacy": "Lightfast, JSON in Valkey",
    "binary": "Lightfast, binary in Valkey",
    "sqlite": "Lightfast, SQLite",
}


@dataclass(frozen=True, slots=True)
class Stores:
    valkey: redis.Redis
    valkey_url: str
    sqlite_url: str

    async def fill(self, ids: list[str], content: bytes) -> None:
        """Store ``content`` in every form under each of ``ids``, from this process."""
        for id in ids:
            self.valkey.set(f"image:legacy-{id}", legacy_record(content), ex=600)
            self.valkey.set(f"image:naive-{id}", legacy_record(content), ex=600)
        for kind, url in (("binary", self.valkey_url), ("sqlite", self.sqlite_url)):
            async with Lightfast(url, warm=False) as images:
                for id in ids:
                    await images.put(content, id=f"{kind}-{id}", ttl=600)


def steps(plan: Plan) -> int:
    return len(SIZES) * (WARM_UP + plan.times(ROUNDS))


def run(plan: Plan, advance: Advance) -> Result:
    sizes: dict[str, Result] = {}
    with started() as (stores, ports), ExitStack() as stack:
        clients = {name: stack.enter_context(Client(port)) for name, port in ports.items()}
        for size, wanted in SIZES.items():
            content = picture(wanted)
            times: dict[str, list[float]] = {name: [] for name in NAMES}
            rounds = WARM_UP + plan.times(ROUNDS)
            for round in range(rounds):
                advance(f"{size}, round {round + 1}")
                if round % BATCH == 0:
                    stores.valkey.flushall()
                    coming = [f"{wanted}-{number}" for number in range(round, min(rounds, round + BATCH))]
                    asyncio.run(stores.fill(coming, content))
                turn = round % len(NAMES)
                for name in [*NAMES][turn:] + [*NAMES][:turn]:
                    milliseconds = first(clients[name], f"{name}-{wanted}-{round}", content)
                    if round >= WARM_UP:
                        times[name].append(milliseconds)
            sizes[size] = {
                "bytes": len(content),
                "contestants": {name: spread(values) for name, values in times.items()},
            }
    return {"what": "first request of a picture, one connection, milliseconds", "sizes": sizes}


def first(client: Client, id: str, content: bytes) -> float:
    """Milliseconds of a request that nobody has made before. Raises ``RuntimeError`` if it was in memory."""
    answer = client.ask(request(id))
    if answer.status != 200 or answer.body != content:
        raise RuntimeError(f"{id} is answered {answer.status} or with other bytes")
    if "hit" in answer.headers.get("cache-status", ""):
        raise RuntimeError(f"{id} was in memory before the first request")
    return answer.seconds * 1000


@contextmanager
def started() -> Iterator[tuple[Stores, Mapping[str, int]]]:
    with ExitStack() as stack:
        place = stack.enter_context(processes.directory())
        url = f"redis://127.0.0.1:{stack.enter_context(processes.valkey())}/0"
        stores = Stores(stack.enter_context(redis.Redis.from_url(url)), url, f"sqlite:///{place}/images.db")
        over_valkey = stack.enter_context(processes.serve(url, "--no-warm"))
        over_sqlite = stack.enter_context(processes.serve(stores.sqlite_url, "--no-warm"))
        naive = stack.enter_context(processes.naive_handler(url))
        ports = {"naive": naive, "legacy": over_valkey.port, "binary": over_valkey.port, "sqlite": over_sqlite.port}
        yield stores, ports
