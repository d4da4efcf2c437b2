"""``README.md`` and the plots, from the JSON of the parts that were measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.charts import charts
from benchmarks.must_show import verdicts
from benchmarks.plan import Result
from benchmarks.plots import draw
from benchmarks.variants_page import sections as _variants
from benchmarks.wording import ROWS, TITLES, median, number, table

INTRODUCTION = """# Benchmarks

`make bench` measures everything below on your machine (about half an hour) and renders this page from
`results/*.json`; `make bench ARGS="throughput --rounds 9"` measures a part. Each server runs on one core, the load
generator on another, unless it says otherwise; they take turns round by round. Figures are medians with quartiles in
parentheses; a ratio is one of medians of the same run. Before anything is timed the answers are checked: the right
bytes, and Lightfast's from its hot path.
"""


def home(directory: Path) -> Path:
    """Where the page for the results in ``directory`` is."""
    return directory.parent if directory.name == "results" else directory


def write(directory: Path) -> None:
    results = {path.stem: json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))}
    sections = [INTRODUCTION, *_machine(results), *_promises(results)]
    for part, render in PARTS.items():
        if part in results:
            sections += render(results[part])
    page = home(directory)
    (page / "README.md").write_text("\n".join(sections).rstrip() + "\n")
    plots = page / "plots"
    plots.mkdir(exist_ok=True)
    for name, chart in charts(results).items():
        (plots / f"{name}.svg").write_text(draw(chart))


def _machine(results: Mapping[str, Result]) -> Iterator[str]:
    machines = {part: result["machine"] for part, result in results.items() if isinstance(result.get("machine"), dict)}
    machine = next(iter(machines.values()), None)
    if machine is not None:
        kind = "virtual machine" if machine["virtual"] else "machine"
        libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
        yield (
            f"The {kind}: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB, "
            f"{machine['kernel']} (TCP with {machine['congestion_control']}, net.core.wmem_max "
            f"{machine['send_buffer_bytes']:,}), Python {machine['python']}; {libraries}.\n"
        )
        for part, other in machines.items():
            if other["processor"] != machine["processor"]:
                yield f"`{part}` was measured on another: {other['processor']}, {other['cores']} cores.\n"


def _promises(results: Mapping[str, Result]) -> Iterator[str]:
    found = list(verdicts(results))
    if found:
        yield "## What was promised\n"
        yield (
            "What is promised of requests is promised of their number. Beside it stands how the processor's time per "
            "request compares, which the load generator does not limit: for handlers without that of their Valkey, for "
            "Lightfast with what it spends on looking for requests instead of sleeping.\n"
        )
        rows = [[one.what, one.figure, one.target, "yes" if one.met else "**no**", one.by_cpu] for one in found]
        yield table(["Lightfast against", "figure", "target", "met", "by CPU per request"], rows)


def _missing(result: Result) -> Iterator[str]:
    for name, line in result.get("missing", {}).items():
        yield f"Not measured: {TITLES.get(name, name)}. To have it: `{line}`.\n"


def _mission(result: Result) -> Iterator[str]:
    yield "## One PNG of 1 MB\n"
    yield (
        "Legacy JSON records in Valkey, one keep-alive connection, milliseconds from sending the request to the last "
        "byte. The first request comes 50 ms after the record was stored; Lightfast has loaded it by then, "
        "with `--no-warm` it has not.\n"
    )
    names = list(result["rows"]["first"])
    rows = [
        [title, *(median(found[name]) for name in names), _share(found["lightfast"], found["naive"])]
        for row, title in ROWS.items()
        if (found := result["rows"].get(row))
    ]
    yield table(["ms", *(TITLES[name] for name in names), "Lightfast takes of naive"], rows)
    browser = result["browser"]
    if browser:
        counts = ", ".join(map(str, browser["requests_by_view"]))
        yield (
            f"Chromium {browser['chromium'].partition('.')[0]}, a page with {browser['pictures']} of them, opened "
            f"three times: {counts} requests for pictures.\n"
        )
    yield from _missing(result)


def _share(ours: Mapping[str, float], theirs: Mapping[str, float]) -> str:
    """How much of the time of another Lightfast takes."""
    return f"{ours['median'] / theirs['median']:.2f} ×"


def _throughput(result: Result) -> Iterator[str]:
    yield "## Pictures that are in memory\n"
    if "nginx" not in result.get("missing", {}):
        yield "![Requests per second, nginx = 1](plots/throughput.svg)\n"
    yield (
        f"wrk, {result['connections']} connections, Chrome's headers for a picture, {result['rounds']} rounds of "
        f"{result['seconds']} s. A store runs on the core of its server.\n"
    )
    for case, found in result["cases"].items():
        size = f" ({found['bytes']:,} bytes)" if found["bytes"] else ""
        yield f"### {case}{size}\n"
        ours = found["contestants"]["lightfast"]["rate"]["median"]
        rows = []
        for name, one in found["contestants"].items():
            figures = [median(one[figure]) for figure in ("rate", "p50", "p99", "cpu")]
            rows.append([TITLES[name], *figures, f"{ours / one['rate']['median']:.2f} ×"])
        yield table(["", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "Lightfast is"], rows)
    yield from _missing(result)


def _cold(result: Result) -> Iterator[str]:
    yield "## The first request, read from the store\n"
    yield "Milliseconds, one connection, Lightfast with `--no-warm`.\n"
    names = list(next(iter(result["sizes"].values()))["contestants"])
    rows = [
        [size, *(median(found[name]) for name in names), _share(found["legacy"], found["naive"])]
        for size, found in ((size, one["contestants"]) for size, one in result["sizes"].items())
    ]
    yield table(["ms", *(TITLES[name] for name in names), "the same JSON takes of naive"], rows)


def _stampede(result: Result) -> Iterator[str]:
    yield "## Stampede\n"
    yield (
        f"{result['clients']:,} clients ask for one cold PNG of 1 MB at once. The handlers were given as many Redis "
        "connections, and no time-out; with what their client has by default most of the requests fail.\n"
    )
    ours = result["contestants"]["lightfast"]["last_byte_seconds"]
    rows = [
        [
            TITLES[name],
            median(found["last_byte_seconds"]),
            f"{found['store_reads']['median']:,.0f}",
            _share(ours, found["last_byte_seconds"]),
        ]
        for name, found in result["contestants"].items()
    ]
    yield table(["", "last byte, s", "reads of the store", "Lightfast takes"], rows)


def _hit_ratio(result: Result) -> Iterator[str]:
    yield "## Hit ratio\n"
    yield "![Share of requests answered from memory](plots/hit_ratio.svg)\n"
    sizes = {share: f"{size // 1000:,} KB" for share, size in result["sizes"].items()}
    yield (
        f"{result['requests']:,} requests; sizes are drawn from those of images on the web as the [Web Almanac of 2024]"
        f"(https://almanac.httparchive.org/en/2024/media#byte-sizes) has them, with a median of {sizes['50%']}, a 90th "
        f"percentile of {sizes['90%']} and at most {sizes['100%']}. Share of requests (share of bytes) answered from "
        "memory. Belady knows the future but not the sizes: who refuses large pictures can answer more requests.\n"
    )
    policies = list(next(iter(next(iter(result["traces"].values())).values())))
    rows = [
        [
            f"{shape}, {bound}",
            *(f"{100 * one['requests']:.1f} % ({100 * one['bytes']:.1f} %)" for one in found.values()),
        ]
        for shape, bounds in result["traces"].items()
        for bound, found in bounds.items()
    ]
    yield table(["trace and bound", *policies], rows)


def _memory(result: Result) -> Iterator[str]:
    yield "## Memory\n"
    yield (
        f"After {result['turnovers']} turnovers, pictures from 7 KB to 4 MB (log-uniform), MiB. *Held* is the "
        "anonymous and file-backed resident set and everything in memory files, which that would not show; the ratio "
        "is what is held above the idle process, which has stored, served and deleted one picture, over what the cache "
        "accounts for.\n"
    )
    rows = [
        [
            f"{case['bound_bytes'] >> 20} MiB, {case['store']}",
            *(number(value / 2**20) for value in _held(case)),
            f"{case['ratio']:.2f} ×",
        ]
        for case in result["cases"]
    ]
    heads = ["bound, store", "accounted", "idle", "VmRSS", "memory files", "held", "peak", "ratio"]
    yield table(heads, rows)


def _held(case: Result) -> tuple[float, ...]:
    after = case["after"]
    return (
        case["accounted_bytes"],
        case["idle"]["honest"],
        after["resident"],
        after["memory_files"],
        after["honest"],
        case["peak_honest"],
    )


def _coherence(result: Result) -> Iterator[str]:
    yield "## From a foreign write to the first fresh answer\n"
    yield "From the writer's reply to the last byte; *old answers until* is when the request for it was sent.\n"
    rows = []
    for found in result["stores"].values():
        lag, old = found["lag"], found["old_answers_until"]
        goals = ", ".join(f"{name} < {goal:g}" for name, goal in found["goals"].items())
        cells = [number(lag["p50"]), number(lag["p99"]), number(old["p50"]), number(old["p99"]), goals]
        rows.append([found["writer"], *cells])
    yield table(["ms", "lag p50", "lag p99", "old answers until p50", "p99", "goal for the lag"], rows)


PARTS: dict[str, Callable[[Result], Iterator[str]]] = {
    "mission": _mission,
    "throughput": _throughput,
    "cold": _cold,
    "stampede": _stampede,
    "hit_ratio": _hit_ratio,
    "memory": _memory,
    "coherence": _coherence,
    "variants": _variants,
}
