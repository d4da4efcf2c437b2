"""A label's shape: lines of text that fit into a picture, as large as they may be and softly edged."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lightfast.imaging.strokes import ASCENT, CAPITAL, DESCENT, PEN, SPACING, Stroke, glyphs

Coverage = npt.NDArray[np.uint8]
"""Rows × columns: how much of a pixel is covered, 0 to 255."""

MAX_LINES = 6
MIN_CAPITAL = 4.0
"""Pixels. A label whose capitals would be lower is left out: nobody could read it."""

_LINE = 34.0
"""From one baseline to the next, in units of the strokes."""
_MARGIN_X, _MARGIN_Y = 0.84, 0.72
"""The shares of width and height that a label may take up."""
_MAX_CAPITAL = 0.13
"""Height of the capitals as a share of the picture's shorter side, at most."""
_MORE_LINES = 0.85
"""A further line has to make the letters larger than by this factor's inverse."""
_MIN_PEN = 0.55
"""Pixels, radius: a thinner line would be grey."""


@dataclass(frozen=True, slots=True)
class Label:
    """What is covered, and the pixel of the picture at which its top left corner is."""

    coverage: Coverage
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class _Layout:
    lines: tuple[str, ...]
    scale: float
    """Pixels per unit of the strokes."""


def label(text: str, width: int, height: int) -> Label | None:
    """``text`` in the middle of a picture of this size; ``None`` where there is nothing to see."""
    layout = _arrange(text.split(), width, height)
    if layout is None or layout.scale * CAPITAL < MIN_CAPITAL:
        return None
    scale = layout.scale
    radius = max(PEN * scale, _MIN_PEN)
    border = math.ceil(radius) + 1
    widths = [_measure(line) for line in layout.lines]
    ascent = math.ceil(ASCENT * scale) + border
    depth = math.ceil(DESCENT * scale) + border
    box = np.zeros(
        (ascent + round((len(widths) - 1) * _LINE * scale) + depth, math.ceil(max(widths) * scale) + 2 * border)
    )
    for row, line in enumerate(layout.lines):
        baseline = ascent + round(row * _LINE * scale)
        start = border + (max(widths) - widths[row]) / 2 * scale
        for x, strokes in _placed(line):
            _draw(box, strokes, scale, (start + x * scale, baseline), radius)
    middle = ascent + ((len(widths) - 1) * _LINE - CAPITAL) / 2 * scale
    return _cut(
        np.rint(np.multiply(box, 255, out=box), out=box).astype(np.uint8),
        round((width - box.shape[1]) / 2),
        round(height / 2 - middle),
        width,
        height,
    )


def _arrange(words: Sequence[str], width: int, height: int) -> _Layout | None:
    """The number of lines that makes the letters largest."""
    best: _Layout | None = None
    for count in range(1, min(MAX_LINES, len(words)) + 1):
        lines = _wrap(words, count)
        longest = max(_measure(line) for line in lines) + 2 * PEN
        scale = min(
            width * _MARGIN_X / longest,
            height * _MARGIN_Y / ((len(lines) - 1) * _LINE + CAPITAL + 2 * PEN),
            min(width, height) * _MAX_CAPITAL / CAPITAL,
        )
        if best is None or scale * _MORE_LINES > best.scale:
            best = _Layout(lines, scale)
    return best


def _wrap(words: Sequence[str], count: int) -> tuple[str, ...]:
    """At most ``count`` lines, the longest of them as short as possible."""
    spans = range(len(words) + 1)
    limits = sorted({_measure(" ".join(words[first:last])) for first in spans for last in spans[first + 1 :]})
    fitting = bisect_left(limits, True, key=lambda limit: len(list(_fill(words, limit))) <= count)
    return tuple(_fill(words, limits[min(fitting, len(limits) - 1)]))


def _fill(words: Sequence[str], limit: float) -> Iterator[str]:
    line = words[0]
    for word in words[1:]:
        longer = f"{line} {word}"
        if _measure(longer) > limit:
            yield line
            line = word
        else:
            line = longer
    yield line


def _measure(line: str) -> float:
    widths = [width for width, _ in glyphs(line)]
    return sum(widths) + SPACING * max(0, len(widths) - 1)


def _placed(line: str) -> Iterator[tuple[float, tuple[Stroke, ...]]]:
    x = 0.0
    for width, strokes in glyphs(line):
        yield x, strokes
        x += width + SPACING


def _draw(
    box: npt.NDArray[np.float64],
    strokes: Sequence[Stroke],
    scale: float,
    origin: tuple[float, float],
    radius: float,
) -> None:
    for stroke in strokes:
        points = [(origin[0] + x * scale, origin[1] - y * scale) for x, y in stroke]
        for (x0, y0), (x1, y1) in pairwise(points):
            _draw_segment(box, (x0, y0), (x1, y1), radius)


def _draw_segment(
    box: npt.NDArray[np.float64], start: tuple[float, float], end: tuple[float, float], radius: float
) -> None:
    """Cover every pixel by how far its centre lies within ``radius`` of the segment."""
    (x0, y0), (x1, y1) = start, end
    reach = radius + 1
    left, right = max(0, math.floor(min(x0, x1) - reach)), math.ceil(max(x0, x1) + reach)
    top, bottom = max(0, math.floor(min(y0, y1) - reach)), math.ceil(max(y0, y1) + reach)
    part = box[top:bottom, left:right]
    x = np.arange(left, left + part.shape[1]) + (0.5 - x0)
    y = np.arange(top, top + part.shape[0])[:, None] + (0.5 - y0)
    dx, dy = x1 - x0, y1 - y0
    length = dx * dx + dy * dy
    along = np.clip((x * dx + y * dy) / length, 0, 1) if length else 0.0
    distance = np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2)
    np.maximum(part, np.clip(radius + 0.5 - distance, 0, 1), out=part)


def _cut(coverage: Coverage, left: int, top: int, width: int, height: int) -> Label:
    """What of ``coverage`` lies within the picture; its empty border may reach out of it."""
    rows = coverage[max(0, -top) : height - top, max(0, -left) : width - left]
    return Label(rows, max(0, left), max(0, top))
