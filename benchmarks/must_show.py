"""What the project promises of its speed, held against one run: ratios of medians."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.plan import Result

OURS = "lightfast"


@dataclass(frozen=True, slots=True)
class Promise:
    against: str
    contestant: str
    case: str
    at_least: float


THROUGHPUT = (
    Promise("nginx", "nginx", "7 KB", 1.1),
    *(Promise("nginx", "nginx", case, 1.0) for case in ("46 KB", "445 KB", "1.7 MB")),
    Promise("nginx", "nginx", "304", 1.1),
    *(Promise("Varnish", "varnish", case, 1.4) for case in ("7 KB", "46 KB")),
    *(Promise("Varnish", "varnish", case, 1.1) for case in ("445 KB", "1.7 MB")),
    *(Promise("the C floor", "floor", case, 0.85) for case in ("7 KB", "46 KB", "445 KB", "1.7 MB")),
    Promise("the cached handler", "cached-handler", "1.7 MB", 25),
    Promise("the cached handler", "cached-handler", "46 KB", 15),
    Promise("Starlette StaticFiles", "static-files", "46 KB", 6),
)
RENDERS = (("IPX", "ipx", 1.0), ("Thumbor", "thumbor", 1.5))
HOT_VARIANT = 0.95
RENDER_MEMORY, RENDER_GROWTH = 400, 0.05
"""MiB at most, and the share by which it may grow over the last half."""
PLACEHOLDER_SAVES = 0.30
MEMORY_RATIO = 1.25
FIRST_REQUESTS = {
    "first": "first request of a record of another app, 50 ms after it was stored",
    "first_before": "first request of a record that was there before the server",
}
FIRST_REQUEST_RATIO = 4
SECOND_REQUEST_MS = 1.0
SECOND_REQUEST_RATIO = 25


@dataclass(frozen=True, slots=True)
class Verdict:
    what: str
    figure: str
    target: str
    met: bool
    by_cpu: str = ""
    """The figure as a ratio of processor time per request, which no load generator limits."""


def verdicts(results: Mapping[str, Result]) -> Iterator[Verdict]:
    """For everything that was measured."""
    if "throughput" in results:
        yield from _of_throughput(results["throughput"])
    if "memory" in results:
        for case in results["memory"]["cases"]:
            bound = f"{case['bound_bytes'] >> 20} MiB"
            what = f"memory held over accounted bytes, {bound}, {case['store']}, idle process taken off"
            yield Verdict(what, f"{case['ratio']:.2f} ×", f"≤ {MEMORY_RATIO} ×", case["ratio"] <= MEMORY_RATIO)
    if "mission" in results:
        rows = results["mission"]["rows"]
        for row, what in FIRST_REQUESTS.items():
            ratio = rows[row]["naive"]["median"] / rows[row][OURS]["median"]
            met = ratio >= FIRST_REQUEST_RATIO
            yield Verdict(f"{what}, naive handler", f"1/{ratio:.1f}", f"≤ 1/{FIRST_REQUEST_RATIO}", met)
        second = rows["second"]
        ours, naive = second[OURS]["median"], second["naive"]["median"]
        target = f"≤ {SECOND_REQUEST_MS:g} ms"
        yield Verdict("second request, 1 MB, one connection", f"{ours:.2f} ms", target, ours <= SECOND_REQUEST_MS)
        ratio = naive / ours
        met = ratio >= SECOND_REQUEST_RATIO
        yield Verdict("the same against the naive handler", f"1/{ratio:.1f}", f"≤ 1/{SECOND_REQUEST_RATIO}", met)
    if "variants" in results:
        yield from _of_thumbnails(results["variants"]["comparison"])
        yield from _of_variants(results["variants"])


def _of_throughput(result: Result) -> Iterator[Verdict]:
    for promise in THROUGHPUT:
        found = result["cases"][promise.case]["contestants"]
        if promise.contestant in found:
            ours, theirs = found[OURS], found[promise.contestant]
            ratio = ours["rate"]["median"] / theirs["rate"]["median"]
            by_cpu = theirs["cpu"]["median"] / ours["cpu"]["median"]
            what = f"{promise.against}, {'' if promise.case == '304' else '200 at '}{promise.case}"
            target = f"≥ {promise.at_least:g} ×"
            yield Verdict(what, f"{ratio:.2f} ×", target, ratio >= promise.at_least, f"{by_cpu:.2f} ×")


def _of_thumbnails(result: Result) -> Iterator[Verdict]:
    for case, found in result["cases"].items():
        for title, name, at_least in RENDERS:
            if name in found["contestants"]:
                ours, theirs = (found["contestants"][one]["rate"]["median"] for one in (OURS, name))
                what = f"{title}, {result['width']} px WebP of a {case}, SSIM alike"
                yield Verdict(what, f"{ours / theirs:.2f} ×", f"≥ {at_least:g} ×", ours / theirs >= at_least)


def _of_variants(result: Result) -> Iterator[Verdict]:
    most = max(result["shared"]["renders"])
    what = f"pictures made for {result['shared']['clients']} clients who want the same at once"
    yield Verdict(what, f"{most:.0f}", "1", most == 1)
    ratio = result["hot"]["variant"]["rate"]["median"] / result["hot"]["original"]["rate"]["median"]
    what = "an original of 46 KB, a variant of that size from memory"
    yield Verdict(what, f"{ratio:.2f} ×", f"≥ {HOT_VARIANT:g} ×", ratio >= HOT_VARIANT)
    held, growth = result["memory"]["peak"] / 2**20, result["memory"]["growth"]
    what = f"memory held over {result['memory']['renders']:,} renders"
    yield Verdict(what, f"{held:.0f} MiB", f"≤ {RENDER_MEMORY} MiB", held <= RENDER_MEMORY)
    target = f"≤ {100 * RENDER_GROWTH:.0f} %"
    yield Verdict("its growth over the last half", f"{100 * growth:.1f} %", target, growth <= RENDER_GROWTH)
    saved = result["placeholders"]["least_saved"]
    target = f"≥ {100 * PLACEHOLDER_SAVES:.0f} %"
    yield Verdict("placeholders, saved over PNG", f"{100 * saved:.0f} %", target, saved >= PLACEHOLDER_SAVES)
