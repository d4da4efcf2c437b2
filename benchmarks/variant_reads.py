"""Reading variants: many clients and one render, and again from memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

from benchmarks import contestants, processes, resizers
from benchmarks.bursts import fetch, settle
from benchmarks.client import Client, ask_together
from benchmarks.headers import request
from benchmarks.load import Figures, press
from benchmarks.metrics import total
from benchmarks.pictures import picture
from benchmarks.plan import Advance, Plan, Result, spread
from benchmarks.processes import ALL_CORES, SERVER_CORE, Process
from benchmarks.sources import PHOTO, source
from benchmarks.throughput import settled

CLIENTS = 50
TIMES = 5
SIZE = 46_000
"""Bytes of the original and of the variant that are read from memory."""
RENDERS = "lightfast_renders_total"


def steps(plan: Plan) -> int:
    return 2 + plan.rounds


@contextmanager
def serving(pictures: Mapping[str, bytes], core: int | str) -> Iterator[Process]:
    """Lightfast at rest, with ``pictures``."""
    with processes.directory() as place, resizers.open_to_all(f"sqlite:///{place}/images.db", core) as server:
        contestants.upload(server.port, pictures)
        settle(server)
        yield server


def shared(plan: Plan, advance: Advance) -> Result:
    """Many clients ask for one thumbnail that nobody has asked for before; how often it is made."""
    advance(f"{CLIENTS} clients for one thumbnail")
    renders, seconds = [], []
    with serving({"photo.jpg": source(PHOTO)}, ALL_CORES) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(CLIENTS)]
        for time in range(1 if plan.quick else TIMES):
            before = total(server.port, RENDERS)
            answers = ask_together(clients, [request(f"photo.jpg?w={512 + time}&fm=webp")] * CLIENTS)
            if any(answer.status != 200 or answer.body != answers[0].body for answer in answers):
                raise RuntimeError(f"the answers differ, or are {[answer.status for answer in answers]}")
            renders.append(total(server.port, RENDERS) - before)
            seconds.append(max(answer.seconds for answer in answers))
    return {"clients": CLIENTS, "renders": renders, "last_byte_seconds": spread(seconds)}


def hot(plan: Plan, advance: Advance) -> Result:
    """A variant that was made before beside an original of its size. One core for the server, as for originals."""
    advance("a variant as large as an original")
    original = picture(SIZE, ".webp")
    pictures = {"original.webp": original, "source.png": picture(1_700_000)}
    with serving(pictures, SERVER_CORE) as server, Client(server.port) as client:
        ids = {"original": "original.webp", "variant": as_large(server.port, "source.png", len(original))}
        sizes = {name: len(settled(contestants.ALL[0], client, request(id)).body) for name, id in ids.items()}
        figures: dict[str, list[Figures]] = {name: [] for name in ids}
        for round in range(plan.rounds):
            advance(f"a variant from memory, round {round + 1}")
            for name in ("original", "variant") if round % 2 else ("variant", "original"):
                settled(contestants.ALL[0], client, request(ids[name]))
                figures[name].append(press(server, [request(ids[name])], plan.seconds))
    return {
        name: {"bytes": sizes[name]}
        | {kind: spread([asdict(one)[kind] for one in found]) for kind in ("rate", "p50", "p99", "cpu")}
        for name, found in figures.items()
    }


def as_large(port: int, id: str, size: int) -> str:
    """What asks for the WebP of the source that takes about ``size`` bytes: the width decides."""
    low, high = 32, 1024
    nearest = (size, "")
    while low <= high:
        middle = (low + high) // 2
        asked = f"{id}?w={middle}&fm=webp"
        count = len(fetch(port, request(asked)))
        nearest = min(nearest, (abs(count - size), asked))
        low, high = (middle + 1, high) if count < size else (low, middle - 1)
    return nearest[1]
