"""How contestants, rows and figures are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TITLES = {
    "lightfast": "Lightfast",
    "lightfast-no-warm": "Lightfast `--no-warm`",
    "lightfast-in-app": "Lightfast in an app",
    "app-without-hot-path": "the same, no hot path",
    "cached-handler": "cached handler",
    "naive-handler": "naive handler",
    "static-files": "StaticFiles",
    "nginx": "nginx",
    "nginx-same-head": "nginx, heads like Lightfast's",
    "varnish": "Varnish",
    "floor": "C floor",
    "naive": "naive handler",
    "cached": "cached handler",
    "legacy": "Lightfast, JSON in Valkey",
    "binary": "Lightfast, binary in Valkey",
    "sqlite": "Lightfast, SQLite",
    "ipx": "IPX",
    "thumbor": "Thumbor",
    "thumbor-processes": "Thumbor, a process for each core",
}
ROWS = {
    "first": "first request",
    "first_before": "first request, stored before the server started",
    "second": "second request",
    "revalidation": "revalidation",
    "concepts_cold": "three concepts at once, first view",
    "concepts_warm": "three concepts at once, again",
    "at_once": "32 requests at once, last byte",
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def number(value: float) -> str:
    """Three digits that count; thousands apart."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def median(spread: Mapping[str, float]) -> str:
    return f"{number(spread['median'])} ({number(spread['q1'])}–{number(spread['q3'])})"
