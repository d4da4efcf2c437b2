"""The letters of labels, as strokes of a round pen: the same on every machine, whatever fonts it has.

A path is drawn in units with y upwards: the baseline is 0, capitals reach 20, small letters 14. ``m x,y`` lifts the
pen and goes there, ``x,y`` is a line, ``h x,y`` and ``v x,y`` are quarters of an ellipse that leave horizontally and
vertically, ``q cx,cy,x,y`` is a quadratic Bézier curve. Each glyph stands with the width of its path.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

Point = tuple[float, float]
Stroke = tuple[Point, ...]
"""A line through these points; one point twice is a dot."""

CAPITAL = 20.0
SMALL = 14.0
ASCENT = 27.0
"""No path reaches higher, capitals with accents included."""
DESCENT = 7.0
PEN = 1.3
"""Radius of the pen."""
SPACING = 5.5
"""Between the paths of two glyphs."""

_CURVE_STEPS = 10

GLYPHS: Mapping[str, tuple[float, str]] = MappingProxyType(
    {
        " ": (3, ""),
        "!": (0, "m0,20 0,6.5 m0,0 0,0"),
        '"': (4.5, "m0,20 0,15 m4.5,20 4.5,15"),
        "#": (14, "m4.5,20 2.5,0 m11.5,20 9.5,0 m1,13.5 14,13.5 m0,6.5 13,6.5"),
        "$": (13.2, "m12.5,16 v6.7,20 h0.8,15 v6.7,10.4 h13.2,5.2 v6.5,0 h0,4.5 m6.6,23 6.6,-3"),
        "%": (18, "m0,16 v3.8,20 h7.6,16 v3.8,12 h0,16 m10.4,4 v14.2,8 h18,4 v14.2,0 h10.4,4 m15.5,20 2.5,0"),
        "&": (
            15,
            "m15,0 3.6,13 q2.2,14.8,2.2,16.2 v5.9,20 h9.6,16.4 q9.6,13.8,5.5,11.4 q0,8.6,0,5 v5.4,0 q11,0,13.6,9",
        ),
        "'": (0, "m0,20 0,15"),
        "(": (4.5, "m4.5,22 q0,17,0,9.5 q0,2,4.5,-3"),
        ")": (4.5, "m0,22 q4.5,17,4.5,9.5 q4.5,2,0,-3"),
        "*": (9, "m4.5,20 4.5,11 m0.6,17.8 8.4,13.2 m8.4,17.8 0.6,13.2"),
        "+": (12, "m6,16 6,4 m0,10 12,10"),
        ",": (1.2, "m1.2,0 0,-3.5"),
        "-": (7, "m0,8.5 7,8.5"),
        ".": (0, "m0,0 0,0"),
        "/": (8, "m0,-2 8,22"),
        "0": (12, "m0,10 v6,20 h12,10 v6,0 h0,10"),
        "1": (5, "m0,16.2 5,20 5,0"),
        "2": (12, "m0.6,15 v6,20 h11.6,14.6 q11.6,11.8,8.6,8.8 0,0 12,0"),
        "3": (11.8, "m0.5,16.5 v5.7,20 h11,15.2 v5.5,10.6 4,10.6 m5.5,10.6 h11.8,5.2 v5.7,0 h0,4"),
        "4": (13, "m9.5,0 9.5,20 0,5.5 13,5.5"),
        "5": (12, "m11,20 2,20 1,11 q3,12.8,5.8,12.8 h12,6.4 v5.8,0 h0,4"),
        "6": (12, "m0,6.4 v6,12.8 h12,6.4 v6,0 h0,6.4 q0,10.5,3,14.2 7.5,20"),
        "7": (12, "m0,20 12,20 4,0"),
        "8": (12, "m6,10.8 h0.9,15.4 v6,20 h11.1,15.4 v6,10.8 h0,5.4 v6,0 h12,5.4 v6,10.8"),
        "9": (12, "m12,13.6 v6,7.2 h0,13.6 v6,20 h12,13.6 q12,9.5,9,5.8 4.5,0"),
        ":": (0, "m0,12 0,12 m0,0 0,0"),
        ";": (1.2, "m1.2,12 1.2,12 m1.2,0 0,-3.5"),
        "<": (11, "m11,16 0,10 11,4"),
        "=": (12, "m0,13 12,13 m0,7 12,7"),
        ">": (11, "m0,16 11,10 0,4"),
        "?": (10, "m0,15.8 v5,20 h10,15 q10,12.5,7.2,10.8 q5,9.3,5,6.5 m5,0 5,0"),
        "@": (
            20,
            "m14,9 v10,13.3 h6,9 v10,4.7 h14,9 m14,13.3 14,7 q14,4.7,16.5,4.7 q20,4.7,20,10 v10,20 h0,9.5 v10,-2 "
            "q13,-2,15.5,-0.6",
        ),
        "A": (16, "m0,0 8,20 16,0 m2.8,7 13.2,7"),
        "B": (12.5, "m0,0 0,20 6.5,20 h11.5,15.2 v6.5,10.5 0,10.5 m6.5,10.5 h12.5,5.2 v6.5,0 0,0"),
        "C": (15, "m15,16 v8.5,20 h0,10 v8.5,0 h15,4"),
        "D": (14, "m0,0 0,20 5,20 h14,10 v5,0 0,0"),
        "E": (11.5, "m11.5,20 0,20 0,0 11.5,0 m0,10.5 10,10.5"),
        "F": (11, "m11,20 0,20 0,0 m0,10.5 9.5,10.5"),
        "G": (16, "m15,16 v8.5,20 h0,10 v8.5,0 h16,7 16,9.5 10,9.5"),
        "H": (14, "m0,0 0,20 m14,0 14,20 m0,10.5 14,10.5"),
        "I": (0, "m0,0 0,20"),
        "J": (9, "m9,20 9,5.5 v4.5,0 h0,4.5"),
        "K": (13.5, "m0,0 0,20 m13,20 0,7.5 m4.6,11.9 13.5,0"),
        "L": (10.5, "m0,20 0,0 10.5,0"),
        "M": (17, "m0,0 0,20 8.5,6 17,20 17,0"),
        "N": (14, "m0,0 0,20 14,0 14,20"),
        "O": (18, "m0,10 v9,20 h18,10 v9,0 h0,10"),
        "P": (12, "m0,0 0,20 6.5,20 h12,14.7 v6.5,9.4 0,9.4"),
        "Q": (18, "m0,10 v9,20 h18,10 v9,0 h0,10 m11.5,5 18,-1.5"),
        "R": (12.5, "m0,0 0,20 6.5,20 h12,14.7 v6.5,9.4 0,9.4 m6.5,9.4 12.5,0"),
        "S": (13.2, "m12.5,16 v6.7,20 h0.8,15 v6.7,10.4 h13.2,5.2 v6.5,0 h0,4.5"),
        "T": (14, "m0,20 14,20 m7,20 7,0"),
        "U": (14, "m0,20 0,7 v7,0 h14,7 14,20"),
        "V": (16, "m0,20 8,0 16,20"),
        "W": (22, "m0,20 5.5,0 11,18 16.5,0 22,20"),
        "X": (14, "m0,20 14,0 m14,20 0,0"),
        "Y": (15, "m0,20 7.5,9.5 15,20 m7.5,9.5 7.5,0"),
        "Z": (13, "m0,20 13,20 0,0 13,0"),
        "[": (4.5, "m4.5,22 0,22 0,-3 4.5,-3"),
        "\\": (8, "m0,22 8,-2"),
        "]": (4.5, "m0,22 4.5,22 4.5,-3 0,-3"),
        "^": (10, "m0,13 5,20 10,13"),
        "_": (12, "m0,-3 12,-3"),
        "`": (3, "m0,20 3,16.5"),
        "a": (11, "m11,14 11,0 m11,7 v5.5,14 h0,7 v5.5,0 h11,7"),
        "b": (11, "m0,21 0,0 m0,7 v5.5,14 h11,7 v5.5,0 h0,7"),
        "c": (10.5, "m10.5,11 v5.8,14 h0,7 v5.8,0 h10.5,3"),
        "d": (11, "m11,21 11,0 m11,7 v5.5,14 h0,7 v5.5,0 h11,7"),
        "e": (11.5, "m0,7.3 11.5,7.3 v5.8,14 h0,7 v6,0 h10.8,3"),
        "f": (7, "m7.5,21 6.5,21 h2.5,17 2.5,0 m0,14 6.5,14"),
        "g": (11, "m11,14 11,-1 v5.5,-6.5 h0.8,-3.3 m11,7 v5.5,14 h0,7 v5.5,0 h11,7"),
        "h": (10.5, "m0,21 0,0 m0,8 v5.5,14 h10.5,8.5 10.5,0"),
        "i": (0, "m0,14 0,0 m0,19.5 0,19.5"),
        "j": (3, "m3,14 3,-2.5 v-0.5,-6.5 m3,19.5 3,19.5"),
        "k": (10, "m0,21 0,0 m9.5,14 0,5.5 m3.5,8.5 10,0"),
        "l": (0, "m0,21 0,0"),
        "m": (18, "m0,14 0,0 m0,8.5 v4.8,14 h9,9 9,0 m9,8.5 v13.8,14 h18,9 18,0"),
        "n": (10.5, "m0,14 0,0 m0,8 v5.5,14 h10.5,8.5 10.5,0"),
        "o": (12, "m0,7 v6,14 h12,7 v6,0 h0,7"),
        "p": (11, "m0,14 0,-6.5 m0,7 v5.5,14 h11,7 v5.5,0 h0,7"),
        "q": (11, "m11,14 11,-6.5 m11,7 v5.5,14 h0,7 v5.5,0 h11,7"),
        "r": (6.5, "m0,14 0,0 m0,7.5 v6.5,14"),
        "s": (9.3, "m8.8,11.2 v4.8,14 h0.6,10.5 v4.8,7.2 h9.3,3.6 v4.6,0 h0,3.2"),
        "t": (7.5, "m3,19 3,4 v7,0 7.5,0 m0,14 7,14"),
        "u": (10.5, "m0,14 0,5.5 v5,0 h10.5,6 m10.5,14 10.5,0"),
        "v": (11, "m0,14 5.5,0 11,14"),
        "w": (17, "m0,14 4.25,0 8.5,13 12.75,0 17,14"),
        "x": (10, "m0,14 10,0 m10,14 0,0"),
        "y": (11, "m0,14 5.5,0 m11,14 3,-6.4"),
        "z": (9.5, "m0,14 9.5,14 0,0 9.5,0"),
        "{": (5.5, "m5.5,22 q2.5,22,2.5,18.5 2.5,13 q2.5,9.5,0,9.5 q2.5,9.5,2.5,6 2.5,0.5 q2.5,-3,5.5,-3"),
        "|": (0, "m0,22 0,-3"),
        "}": (5.5, "m0,22 q3,22,3,18.5 3,13 q3,9.5,5.5,9.5 q3,9.5,3,6 3,0.5 q3,-3,0,-3"),
        "~": (12, "m0,8.5 q0,12,3.2,12 q5,12,6,10.2 q7,8.5,8.8,8.5 q12,8.5,12,12"),
        "£": (12, "m11.5,16.5 v7.5,20 h3.5,15.5 3.5,4 q3.5,1.5,0,0 12,0 m0,10 9,10"),
        "°": (6, "m0,17 v3,20 h6,17 v3,14 h0,17"),
        "·": (0, "m0,9 0,9"),
        "ß": (11, "m0,0 0,16 v5,21 h10,16.5 q10,13.8,6,12 q11,10.5,11,5.8 v6,0 4,0"),
        "Æ": (20, "m0,0 10,20 20,20 m10,20 10,0 20,0 m10,10.5 18.5,10.5 m3.5,7 10,7"),
        "×": (10, "m0,15 10,5 m10,15 0,5"),
        "Ø": (18, "m0,10 v9,20 h18,10 v9,0 h0,10 m2,-1.5 16,21.5"),
        "æ": (21, "m11,14 11,0 m11,7 v5.5,14 h0,7 v5.5,0 h11,7 m11,7.3 21,7.3 v16,14 h11,7 v16.2,0 h20.5,3"),
        "ø": (12, "m0,7 v6,14 h12,7 v6,0 h0,7 m1,-1.5 11,15.5"),
        "ı": (0, "m0,14 0,0"),
        "Ł": (11.5, "m1,20 1,0 11.5,0 m-1.5,7.5 6.5,12.5"),
        "ł": (4, "m2,21 2,0 m-0.5,8.5 4.5,12.5"),
        "–": (12, "m0,8.5 12,8.5"),
        "—": (20, "m0,8.5 20,8.5"),
        "…": (12, "m0,0 0,0 m6,0 6,0 m12,0 12,0"),
        "€": (14.5, "m14.5,16.5 v9.5,20 h2,10 v9.5,0 h14.5,3.5 m0,12 11,12 m0,8 10,8"),
    }
)
"""Width of the path, and the path."""

_UNKNOWN = (10.0, "m0,0 0,20 10,20 10,0 0,0")
_ALIKE = str.maketrans("‘’‚“”„\u00a0\u2010\u2011", '\'\',""" --')

_MARKS: Mapping[str, tuple[bool, str]] = MappingProxyType(
    {
        "\u0300": (True, "m-2,3.5 1.5,0"),
        "\u0301": (True, "m2,3.5 -1.5,0"),
        "\u0302": (True, "m-3.5,0 0,3.5 3.5,0"),
        "\u0303": (True, "m-4,0.5 q-4,2.8,-2,2.8 q-0.8,2.8,0,1.7 q0.8,0.6,2,0.6 q4,0.6,4,2.9"),
        "\u0304": (True, "m-3.5,1.7 3.5,1.7"),
        "\u0308": (True, "m-3,1.7 -3,1.7 m3,1.7 3,1.7"),
        "\u030a": (True, "m-2.2,1.6 v0,3.8 h2.2,1.6 v0,-0.6 h-2.2,1.6"),
        "\u030c": (True, "m-3.5,3.5 0,0 3.5,3.5"),
        "\u0327": (False, "m0,0 0,-2.5 q2.2,-2.5,2.2,-4.3 q2.2,-6,-1,-6"),
        "\u0328": (False, "m0,0 q-2,-2.5,-2,-4 q-2,-6,1.5,-6"),
    }
)
"""Combining marks: whether it stands above the letter, and its path around the letter's middle."""


def glyphs(text: str) -> Iterator[tuple[float, tuple[Stroke, ...]]]:
    """The width and strokes of each letter of ``text``; a box for one that is not among ``GLYPHS``.

    Accents are put together (Unicode normalisation form D); other combining marks and control characters are left out.
    """
    letter, marks = "", ""
    for character in unicodedata.normalize("NFD", text.translate(_ALIKE)):
        if unicodedata.combining(character):
            marks += character
        elif unicodedata.category(character) not in ("Cc", "Cf"):
            if letter:
                yield _glyph(letter, marks)
            letter, marks = character, ""
    if letter:
        yield _glyph(letter, marks)


@lru_cache(maxsize=512)
def _glyph(letter: str, marks: str) -> tuple[float, tuple[Stroke, ...]]:
    known = [_MARKS[mark] for mark in marks if mark in _MARKS]
    if letter == "i" and any(above for above, _ in known):
        letter = "ı"
    width, path = GLYPHS.get(letter, _UNKNOWN)
    strokes = list(_strokes(path))
    top = max((y for stroke in strokes for _, y in stroke), default=SMALL)
    for above, mark in known[:2]:
        raised = top + 3 if above else 0.0
        strokes += (tuple((x + width / 2, y + raised) for x, y in stroke) for stroke in _strokes(mark))
    return width, tuple(strokes)


def _strokes(path: str) -> Iterator[Stroke]:
    points: list[Point] = []
    for token in path.split():
        kind = token[0] if token[0] in "mhvq" else ""
        numbers = [float(number) for number in token.removeprefix(kind).split(",")]
        if kind == "m" and points:
            yield tuple(points)
            points = []
        points += _reach(kind, points[-1] if points else (0, 0), numbers)
    if points:
        yield tuple(points)


def _reach(kind: str, start: Point, numbers: list[float]) -> Iterator[Point]:
    """The points after ``start`` up to the end of one step of a path."""
    *control, x, y = numbers
    if kind in ("", "m"):
        yield x, y
        return
    for step in range(1, _CURVE_STEPS + 1):
        along = step / _CURVE_STEPS
        if kind == "q":
            back = 1 - along
            yield (
                back * back * start[0] + 2 * back * along * control[0] + along * along * x,
                back * back * start[1] + 2 * back * along * control[1] + along * along * y,
            )
            continue
        fast, slow = math.sin(along * math.pi / 2), 1 - math.cos(along * math.pi / 2)
        share_x, share_y = (fast, slow) if kind == "h" else (slow, fast)
        yield start[0] + (x - start[0]) * share_x, start[1] + (y - start[1]) * share_y
