"""Resident memory while thousands of variants of all sizes and formats are made, each of them new."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from random import Random

from benchmarks.bursts import burst
from benchmarks.headers import request
from benchmarks.memory import held
from benchmarks.metrics import total
from benchmarks.plan import Advance, Plan, Result
from benchmarks.processes import ALL_CORES
from benchmarks.sources import DRAWING, PHOTO, PNG, SMALL_PHOTO, source
from benchmarks.variant_reads import RENDERS, serving

COUNT, SAMPLES = 5000, 50
BODY = 16 << 20
"""Bytes of the largest answer, a PNG of the largest size."""
SMALLEST, LARGEST = 64, 1920
"""Widths in pixels, evenly spread on a logarithmic scale."""
SOURCES = {PNG: 4, DRAWING: 4, SMALL_PHOTO: 4, PHOTO: 1}
FORMATS = {"webp": 50, "jpg": 35, "png": 14, "avif": 1}
"""How often each, relative to the others."""


def count(plan: Plan) -> int:
    return COUNT // 20 if plan.quick else COUNT


def steps(plan: Plan) -> int:
    return SAMPLES


def held_over(plan: Plan, advance: Advance) -> Result:
    """What the server holds after each portion of the renders."""
    ids = {name: f"source-{at}" for at, name in enumerate(SOURCES)}
    with serving({ids[name]: source(name) for name in SOURCES}, ALL_CORES) as server:
        idle = held(server.pid).honest
        coming = wishes([ids[name] for name in SOURCES])
        samples: list[tuple[int, int]] = []
        for portion in range(SAMPLES):
            advance(f"renders of mixed sizes, MiB held: {(samples[-1][1] if samples else idle) >> 20}")
            burst(server, [request(next(coming)) for _ in range(count(plan) // SAMPLES)], largest=BODY)
            samples.append(((portion + 1) * (count(plan) // SAMPLES), held(server.pid).honest))
        rendered = total(server.port, RENDERS)
    if rendered < samples[-1][0]:
        raise RuntimeError(f"{rendered:.0f} of {samples[-1][0]} requests made something")
    half = [size for _, size in samples[len(samples) // 2 :]]
    return {
        "renders": int(rendered),
        "idle": idle,
        "samples": samples,
        "peak": max(size for _, size in samples),
        "growth": round(growth(half), 4),
    }


def wishes(ids: Sequence[str]) -> Iterator[str]:
    """Requests for variants, none of them twice."""
    chance, asked = Random(1), set()
    while True:
        width = round(SMALLEST * (LARGEST / SMALLEST) ** chance.random())
        (id,) = chance.choices(ids, [*SOURCES.values()])
        (format,) = chance.choices([*FORMATS], [*FORMATS.values()])
        # The height is cropped by a few pixels, because a wider one than the source would be no new picture.
        wish = f"{id}?w={width}&h={max(1, width * 3 // 4 - chance.randrange(8))}&fit=crop&fm={format}"
        wish += "" if format == "png" else f"&q={chance.randrange(60, 90)}"
        if wish not in asked:
            asked.add(wish)
            yield wish


def growth(values: Sequence[float]) -> float:
    """By what share of their mean ``values`` grow from the first to the last, by the line that fits them best."""
    slope = statistics.linear_regression(range(len(values)), values).slope
    return slope * (len(values) - 1) / statistics.fmean(values)
