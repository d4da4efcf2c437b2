"""The part of the page that is about variants, and what was promised of them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.plan import Result
from benchmarks.wording import TITLES, median, number, table

OURS = "lightfast"
SHOWN_SAMPLES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the renders after which the page says what is held."""


def sections(result: Result) -> Iterator[str]:
    yield "## Variants\n"
    yield from _comparison(result["comparison"])
    yield from _reads(result)
    yield from _memory(result["memory"])
    yield from _stalls(result["stalls"])
    yield from _placeholders(result["placeholders"])


def _comparison(result: Result) -> Iterator[str]:
    versions = "; ".join(dict.fromkeys(result["versions"].values()))
    yield (
        f"WebP thumbnails of {result['width']} pixels, {result['at_once']} requests at once, each on a new connection "
        f"and for a file that nobody has asked for; {result['rounds']} rounds. Each server is started as it "
        "comes (Lightfast and IPX: one process with threads; Thumbor: one process, and beside that one for each core), "
        "may use every core and keeps no result. The load generator runs beside them. "
        "SSIM is that to libvips's Lanczos over every pixel of the source; each peer's quality is the one whose SSIM "
        f"is nearest to Lightfast's at quality 80. {versions}.\n"
    )
    head = ["", "renders/s", "p50 ms", "CPU ms/render", "Lightfast is", "quality", "SSIM", "bytes"]
    for case, found in result["cases"].items():
        yield f"### Of a {case} ({found['bytes']:,} bytes)\n"
        ours = found["contestants"][OURS]
        rows = []
        for name, one in found["contestants"].items():
            speed = [median(one["rate"]), *(number(one[kind]["median"]) for kind in ("p50", "cpu"))]
            ratio = f"{ours['rate']['median'] / one['rate']['median']:.2f} ×"
            rows.append([TITLES[name], *speed, ratio, str(one["quality"]), f"{one['ssim']:.4f}", f"{one['bytes']:,}"])
        yield table(head, rows)
        yield f"Of the processor's time libvips needs {number(found['decoding'])} ms to decode and scale it.\n"
    for name, line in result["missing"].items():
        yield f"Not measured: {TITLES[name]}. To have it: `{line}`.\n"


def _reads(result: Result) -> Iterator[str]:
    shared, hot = result["shared"], result["hot"]
    renders = ", ".join(f"{count:.0f}" for count in shared["renders"])
    yield "### One render for many, and again from memory\n"
    yield (
        f"{shared['clients']} clients ask for one thumbnail of the 12 MP JPEG at once, {len(shared['renders'])} times; "
        f"pictures made: {renders}. The last byte comes after {median(shared['last_byte_seconds'])} s.\n"
    )
    yield "From memory, measured as above for pictures that are in memory, on one core:\n"
    rows = []
    for name, one in hot.items():
        figures = (number(one[kind]["median"]) for kind in ("p50", "p99", "cpu"))
        rows.append([f"{name} ({one['bytes']:,} bytes)", median(one["rate"]), *figures])
    yield table(["", "requests/s", "p50 ms", "p99 ms", "CPU µs/request"], rows)


def _memory(result: Result) -> Iterator[str]:
    samples = result["samples"]
    shown = [samples[max(0, round(share * len(samples)) - 1)] for share in SHOWN_SAMPLES]
    yield "### Memory while pictures are made\n"
    yield (
        f"{result['renders']:,} different variants from 64 to 1,920 pixels wide (log-uniform), WebP, JPEG, PNG and a "
        "few AVIF, of four sources up to 12 MP; MiB held, with the memory cache of 50 MiB. Over the last half it grows "
        f"by {100 * result['growth']:.1f} %.\n"
    )
    cells = [number(size / 2**20) for size in (result["idle"], *(size for _, size in shown), result["peak"])]
    yield table(["", "idle", *(f"after {count:,}" for count, _ in shown), "peak"], [["MiB", *cells]])


def _stalls(result: Result) -> Iterator[str]:
    yield "### How long others wait meanwhile\n"
    yield (
        f"A small request every millisecond, while {result['renders']} large pictures of the 12 MP JPEG are being made "
        f"({result['times']} times). Beside busy processes, one for each core, the server does nothing else: so much "
        "is the operating system's.\n"
    )
    rows = [
        [name, *(number(one[kind]) for kind in ("p50", "p99", "max")), f"{one['count']:,}"]
        for name, one in result["milliseconds"].items()
    ]
    yield table(["ms", "p50", "p99", "longest", "probes"], rows)


def _placeholders(result: Result) -> Iterator[str]:
    saved = result["saved"]
    yield "### Placeholders\n"
    yield (
        f"{saved['count']} of {result['width']} × {result['height']} pixels, every other with a label: "
        f"{median(result['webp'])} bytes as WebP (quality 85, method 6), {median(result['png'])} as the smallest PNG "
        f"of six filters; WebP saves {100 * saved['median']:.0f} %, and {100 * result['least_saved']:.0f} % at least.\n"
    )
