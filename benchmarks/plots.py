"""Grouped bars as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#c2410c", "#f59e0b", "#475569", "#0e7490", "#7c3aed", "#65a30d", "#94a3b8", "#be185d")
LEFT, RIGHT, TOP, BAR, GAP, WIDTH = 230, 70, 64, 15, 18, 860
LEGEND_ROW, LEGEND_COLUMN = 18, 205
FONT = 'font-family="system-ui, sans-serif" font-size="12"'


@dataclass(frozen=True, slots=True)
class Bar:
    value: float
    low: float
    high: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    groups: Mapping[str, Mapping[str, Bar]]
    """Bars by series, by group."""
    line: float | None = None
    """Where a line stands for comparison."""
    limit: float | None = None
    """Bars are cut there; ``None``: at the largest."""


def draw(chart: Chart) -> str:
    series = list(dict.fromkeys(name for bars in chart.groups.values() for name in bars))
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(series)}
    largest = max(bar.high for bars in chart.groups.values() for bar in bars.values())
    scale = (WIDTH - LEFT - RIGHT) / (chart.limit or largest)
    legend, below = _legend(colours)
    y = top = TOP + below
    parts: list[str] = []
    for group, bars in chart.groups.items():
        middle = y + len(bars) * BAR / 2 + 4
        parts.append(
            f'<text x="{LEFT - 10}" y="{middle:.0f}" text-anchor="end" font-weight="600">{escape(group)}</text>'
        )
        for name, bar in bars.items():
            parts += _bar(bar, y, scale, colours[name], chart.limit)
            y += BAR
        y += GAP
    if chart.line is not None:
        x = LEFT + chart.line * scale
        parts.append(f'<path d="M{x:.1f} {top - 6}V{y - GAP + 6}" stroke="#0f172a" stroke-dasharray="3 3"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" {FONT} fill="#0f172a">'
    background = f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>'
    title = f'<text x="20" y="30" font-size="16" font-weight="600">{escape(chart.title)}</text>'
    return "\n".join([head, background, title, *legend, *parts, "</svg>", ""])


def _bar(bar: Bar, y: int, scale: float, colour: str, limit: float | None) -> Sequence[str]:
    shown = min(bar.value, limit) if limit else bar.value
    width, middle = shown * scale, y + (BAR - 3) / 2
    whisker = f'<path d="M{LEFT + bar.low * scale:.1f} {middle}H{LEFT + bar.high * scale:.1f}" stroke="#0f172a"/>'
    visible = limit is None or bar.high <= limit
    end = LEFT + max(width, bar.high * scale if visible else width) + 5
    return [
        f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 3}" fill="{colour}"/>',
        *([whisker] if visible else []),
        f'<text x="{end:.1f}" y="{middle + 4}" font-size="10">{escape(bar.label)}</text>',
    ]


def _legend(colours: Mapping[str, str]) -> tuple[list[str], int]:
    parts: list[str] = []
    columns = (WIDTH - 20) // LEGEND_COLUMN
    for at, (name, colour) in enumerate(colours.items()):
        x, y = 20 + at % columns * LEGEND_COLUMN, 44 + at // columns * LEGEND_ROW
        parts.append(f'<rect x="{x}" y="{y}" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{x + 17}" y="{y + 10}">{escape(name)}</text>')
    return parts, -(-len(colours) // columns) * LEGEND_ROW
