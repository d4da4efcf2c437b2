"""How often a picture is in memory already: SIEVE as Lightfast has it, policies of libraries, and hindsight."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import cachetools
import moka_py

from benchmarks import traces
from benchmarks.plan import Advance, Plan, Result
from benchmarks.traces import Trace, trace
from lightfast.cache.memory import MemoryCache

REQUESTS = 200_000
WARM_UP = 0.2
"""Share of the requests that are not counted."""
BOUNDS = {"50 MiB": 50 << 20, "512 MiB": 512 << 20}

Lookup = Callable[[int, int], bool]
"""Ask for an id of a size; whether it was there. It is there afterwards, if the policy wants it."""


def sieve(bound: int) -> Lookup:
    cache: MemoryCache[int, int] = MemoryCache(bound)

    def lookup(id: int, size: int) -> bool:
        if cache.get(id) is not None:
            return True
        cache.put(id, size, size)
        return False

    return lookup


def of_cachetools(kind: type[cachetools.Cache[int, int]]) -> Callable[[int], Lookup]:
    def make(bound: int) -> Lookup:
        cache = kind(bound, getsizeof=lambda size: size)

        def lookup(id: int, size: int) -> bool:
            if cache.get(id) is not None:
                return True
            cache[id] = size
            return False

        return lookup

    return make


def w_tiny_lfu(bound: int) -> Lookup:
    cache: moka_py.Moka[int, int] = moka_py.Moka(bound, weigher=lambda _, size: size)

    def lookup(id: int, size: int) -> bool:
        if cache.get(id) is not None:
            return True
        cache.set(id, size)
        # Otherwise it holds more than its bound until it gets round to it, and would be compared with more room.
        cache.run_pending_tasks()
        return False

    return lookup


POLICIES: dict[str, Callable[[int], Lookup]] = {
    "SIEVE (Lightfast)": sieve,
    "LRU (cachetools)": of_cachetools(cachetools.LRUCache),
    "LFU (cachetools)": of_cachetools(cachetools.LFUCache),
    "W-TinyLFU (moka)": w_tiny_lfu,
}
OPTIMUM = "Belady"


def steps(plan: Plan) -> int:
    return len(traces.SHAPES) * len(BOUNDS) * (len(POLICIES) + 1)


def run(plan: Plan, advance: Advance) -> Result:
    count = plan.times(REQUESTS)
    found: dict[str, Result] = {}
    for shape in traces.SHAPES:
        asked = trace(shape, count)
        found[shape] = {}
        for name, bound in BOUNDS.items():
            ratios: dict[str, Any] = {}
            for policy, make in POLICIES.items():
                advance(f"{shape}, {name}: {policy}")
                ratios[policy] = count_hits(asked, make(bound))
            advance(f"{shape}, {name}: {OPTIMUM}")
            ratios[OPTIMUM] = count_hits(asked, hindsight(asked, bound))
            found[shape][name] = ratios
    return {
        "what": "share of requests and of bytes that are answered from memory",
        "requests": count,
        "pictures": traces.PICTURES,
        "sizes": {f"{share:.0%}": size for share, size in traces.SIZES.items()},
        "traces": found,
    }


def count_hits(asked: Trace, lookup: Lookup) -> dict[str, float]:
    begin = int(len(asked.ids) * WARM_UP)
    hits = hit_bytes = total = 0
    for at, id in enumerate(asked.ids):
        size = asked.sizes[id]
        hit = lookup(id, size)
        if at >= begin:
            total += size
            if hit:
                hits += 1
                hit_bytes += size
    return {"requests": round(hits / (len(asked.ids) - begin), 4), "bytes": round(hit_bytes / total, 4)}


def hindsight(asked: Trace, bound: int) -> Lookup:
    """Belady's MIN: what is needed again last leaves first, and does not come in if that is the newcomer itself.

    With different sizes finding the true optimum is NP-hard; this is the usual yardstick, not a strict bound.
    """
    never = len(asked.ids)
    next_use = [never] * never
    coming: dict[int, int] = {}
    for at in range(never - 1, -1, -1):
        next_use[at] = coming.get(asked.ids[at], never)
        coming[asked.ids[at]] = at
    held: dict[int, int] = {}
    farthest: list[tuple[int, int]] = []
    state = {"at": 0, "bytes": 0}

    def lookup(id: int, size: int) -> bool:
        due = next_use[state["at"]]
        state["at"] += 1
        hit = id in held
        if not hit:
            state["bytes"] += size
        held[id] = due
        heapq.heappush(farthest, (-due, id))
        while state["bytes"] > bound:
            when, victim = heapq.heappop(farthest)
            if held.get(victim) == -when:
                del held[victim]
                state["bytes"] -= asked.sizes[victim]
        return hit

    return lookup
