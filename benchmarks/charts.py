"""What is plotted of the results."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.plan import Result
from benchmarks.plots import Bar, Chart
from benchmarks.wording import TITLES, number

PLOTTED = ("lightfast", "lightfast-in-app", "floor", "nginx", "varnish", "static-files", "cached-handler")
PLOTTED_CASES = ("7 KB", "46 KB", "445 KB", "1.7 MB", "304")


def charts(results: Mapping[str, Result]) -> dict[str, Chart]:
    found: dict[str, Chart] = {}
    cases = results.get("throughput", {}).get("cases", {})
    if all("nginx" in cases.get(case, {}).get("contestants", {}) for case in PLOTTED_CASES):
        groups = {case: _relative(cases[case]["contestants"]) for case in PLOTTED_CASES}
        found["throughput"] = Chart("Requests per second, nginx = 1 (one core, browser headers)", groups, line=1.0)
    if "hit_ratio" in results:
        groups = {
            f"{shape.partition(',')[2].strip() or shape} {bound}": {
                policy: Bar(one["requests"], one["requests"], one["requests"], f"{100 * one['requests']:.1f} %")
                for policy, one in ratios.items()
            }
            for shape, bounds in results["hit_ratio"]["traces"].items()
            for bound, ratios in bounds.items()
        }
        found["hit_ratio"] = Chart("Share of requests answered from memory", groups)
    return found


def _relative(contestants: Mapping[str, Result]) -> dict[str, Bar]:
    unit = contestants["nginx"]["rate"]["median"]
    bars = {}
    for name in PLOTTED:
        if name in contestants:
            rate = contestants[name]["rate"]
            label = f"{number(rate['median'])}/s"
            bars[TITLES[name]] = Bar(rate["median"] / unit, rate["q1"] / unit, rate["q3"] / unit, label)
    return bars
