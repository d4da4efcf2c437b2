"""Variants: thumbnails beside their peers, and what making them costs those who wait for something else.

Servers may use every core here, as they would; the load generator needs little of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import comparison, mixed_renders, placeholders, stalls, variant_reads
from benchmarks.plan import Advance, Plan, Result
from benchmarks.processes import CORES, LOAD_CORE


def steps(plan: Plan) -> int:
    return sum(part.steps(plan) for part in (comparison, variant_reads, mixed_renders, stalls, placeholders))


def run(plan: Plan, advance: Advance) -> Result:
    with everywhere():
        return {
            "what": "512 px WebP thumbnails beside peers; one render for many clients; from memory; memory; stalls",
            "comparison": comparison.compare(plan, advance),
            "shared": variant_reads.shared(plan, advance),
            "hot": variant_reads.hot(plan, advance),
            "memory": mixed_renders.held_over(plan, advance),
            "stalls": stalls.longest(plan, advance),
            "placeholders": placeholders.saved(plan, advance),
        }


@contextmanager
def everywhere() -> Iterator[None]:
    """Let this process run on any core: on one alone it would stand in the way of what is measured there."""
    os.sched_setaffinity(0, CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, {LOAD_CORE})
