"""The parameters, with the names and meanings of imgix: from text to values, each for itself.

Unknown parameters are ignored, and so are those without a value. Of repeated ones the last counts, but the values of
``auto`` add up. ``v download s expires ixlib`` and all base64 spellings (``w64``) are unknown here.

A number is ASCII digits, at most 9 of them before the point. Where a whole number is meant, a decimal is rounded half
up. Shares are kept to four decimals: finer than half a pixel of the longest side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any
from urllib.parse import parse_qsl

from lightfast.errors import InvalidRequest
from lightfast.spec.colours import read_colour
from lightfast.variant import Fit, Format, Length

MAX_SIDE = 8192
"""Pixels: the longest side that can be asked for, as with imgix."""
MAX_SOURCE_SIDE = 65_535
"""Pixels: as far as ``rect`` reaches."""
MAX_FIELDS = 100
"""Parameters in one query."""

_SHOWN = 64
_NUMBER = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{1,20})?|-?\.[0-9]{1,20}")
_RATIO = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,20})?):([0-9]{1,5}(?:\.[0-9]{1,20})?)")
_SHARE_STEP = Decimal("0.0001")
_ORIENTATIONS = {str(number): number for number in range(1, 9)} | {"0": 1, "90": 6, "180": 3, "270": 8}
_DIRECTIONS = ("bottom", "left", "right", "top")
_SPECIAL_CROPS = {"entropy": "entropy", "edges": "entropy", "focalpoint": "focalpoint"}
_AUTO = frozenset({"format", "compress", "enhance", "redeye", "true"})

Rectangle = tuple[tuple[Length, Length, Length, Length], tuple[str, str]]
"""``Variant.rect`` and ``Variant.rect_anchor``."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a URL."""

    field: str
    """The field of ``Variant`` that it sets; empty where it takes more than that."""
    read: Callable[[str], Any]  # Any: the type of that field
    """Raises ``ValueError``."""
    allowed: str
    """What ``read`` takes, for people: ends the sentence "It must be …"."""


def parse_query(raw: str) -> list[tuple[str, str]]:
    """The parameters of a raw query in their order, decoded. Raises ``InvalidRequest`` for more than ``MAX_FIELDS``."""
    try:
        return parse_qsl(raw, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise InvalidRequest(f"The query has too many parameters; at most {MAX_FIELDS} are read.") from error


def known_texts(parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What counts of the parameters, by their first names; ``preset`` among them."""
    texts: dict[str, str] = {}
    for given, text in parameters:
        name = _ALIASES.get(given, given)
        if text and (name in PARAMETERS or name == "preset"):
            texts[name] = f"{texts[name]},{text}" if name == "auto" and name in texts else text
    return texts


# Any: each parameter has a type of its own.
def read_values(texts: Mapping[str, str]) -> dict[str, Any]:
    """Raises ``InvalidRequest`` naming parameter, value and what is allowed."""
    values = {}
    for name, text in texts.items():
        try:
            values[name] = PARAMETERS[name].read(text)
        except ValueError:
            raise bad_value(name, text, PARAMETERS[name].allowed) from None
    return values


def bad_value(name: str, text: str, allowed: str) -> InvalidRequest:
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return InvalidRequest(f"{name} is {shown!r}; it must be {allowed}.")


def rounded(number: Fraction | Decimal) -> int:
    """Half up, so that it is the same number in every client."""
    return (
        int((number + Fraction(1, 2)) // 1) if isinstance(number, Fraction) else int(number.quantize(1, ROUND_HALF_UP))
    )


def _number(text: str, low: int | Decimal, high: int) -> Decimal:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError
    number = Decimal(text)
    if not low <= number <= high:
        raise ValueError
    return number


def _whole(low: int, high: int) -> Callable[[str], int]:
    return lambda text: rounded(_number(text, low, high))


def _share(text: str) -> float:
    return float(_number(text, 0, 1).quantize(_SHARE_STEP, ROUND_HALF_UP))


def _length(text: str, high: int = MAX_SIDE) -> Length:
    """``1`` is one pixel, ``1.0`` the whole side; ``0`` is nothing."""
    number = _number(text, 0, high)
    if "." not in text or number > 1:
        length: Length = rounded(number)
    else:
        length = float(number.quantize(_SHARE_STEP, ROUND_HALF_UP))
    if length == 0:
        raise ValueError
    return length


def _offset(text: str) -> Length:
    number = _number(text, 0, MAX_SOURCE_SIDE)
    if number.quantize(_SHARE_STEP, ROUND_HALF_UP) == 0:
        return 0
    length = _length(text, MAX_SOURCE_SIDE)
    if length == 1 and isinstance(length, float):  # nothing lies beyond the whole side
        raise ValueError
    return length


def _along(start: str, length: str, first: str, middle: str, last: str) -> tuple[Length, Length, str]:
    size = 1.0 if length == "full" else _length(length, MAX_SOURCE_SIDE)
    if start == first:
        return 0, size, ""
    if start not in (middle, last):
        return _offset(start), size, ""
    if isinstance(size, int):
        return 0, size, start
    # The same place in numbers, so that both spellings are one wish; only a size in pixels needs the source for it.
    rest = Decimal(1) - Decimal(str(size))
    place = float(rest if start == last else (rest / 2).quantize(_SHARE_STEP, ROUND_HALF_UP))
    return place or 0, size, ""


def _rectangle(text: str) -> Rectangle:
    x, y, w, h = (part.strip().lower() for part in text.split(","))
    left, across, horizontal = _along(x, w, "left", "center", "right")
    top, down, vertical = _along(y, h, "top", "middle", "bottom")
    return (left, top, across, down), (horizontal, vertical)


def _aspect(text: str) -> Fraction:
    found = _RATIO.fullmatch(text)
    if found is None or not float(found[2]):
        raise ValueError
    aspect = Fraction(found[1]) / Fraction(found[2])
    if not Fraction(1, 1000) <= aspect <= 1000:
        raise ValueError
    return aspect


def words(text: str) -> list[str]:
    """Of a value that is a list, in lower case."""
    return [word for part in text.lower().split(",") if (word := part.strip())]


def _crop(text: str) -> tuple[str, ...]:
    # imgix goes on to the next word where there are no faces; here none are ever found.
    named = set(words(text)) - {"faces", "center"}
    special = {_SPECIAL_CROPS[word] for word in named & _SPECIAL_CROPS.keys()}
    directions = named - _SPECIAL_CROPS.keys()
    if not directions <= set(_DIRECTIONS) or len(special) + bool(directions) > 1:
        raise ValueError
    if {"left", "right"} <= directions or {"top", "bottom"} <= directions:
        raise ValueError
    return tuple(sorted(special or directions))


def _auto(text: str) -> frozenset[str]:
    named = frozenset(words(text))
    if not named <= _AUTO:
        raise ValueError
    return named


def _one_of(choices: Mapping[str, Any]) -> Callable[[str], Any]:  # Any: whatever they stand for
    def read(text: str) -> Any:
        try:
            return choices[text.lower()]
        except KeyError:
            raise ValueError from None

    return read


_LENGTH = f"pixels from 1 to {MAX_SIDE}, or above 0 and up to 1.0 with a point as a share of the source"
_LIMIT = f"pixels from 1 to {MAX_SIDE}"
_COLOUR = "3 (RGB), 4 (ARGB), 6 (RRGGBB) or 8 (AARRGGBB) hex digits or the name of a colour in CSS"
_ADJUSTMENT = "a number from -100 to 100"
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_FLIPS = {"h": "h", "v": "v", "hv": "hv", "vh": "hv"}

PARAMETERS: Mapping[str, Parameter] = {
    "w": Parameter("width", _length, _LENGTH),
    "h": Parameter("height", _length, _LENGTH),
    "dpr": Parameter("", lambda text: _number(text, Decimal("0.1"), 5), "a number from 0.1 to 5"),
    "max-w": Parameter("max_width", _whole(1, MAX_SIDE), _LIMIT),
    "max-h": Parameter("max_height", _whole(1, MAX_SIDE), _LIMIT),
    "min-w": Parameter("min_width", _whole(1, MAX_SIDE), _LIMIT),
    "min-h": Parameter("min_height", _whole(1, MAX_SIDE), _LIMIT),
    "ar": Parameter("", _aspect, "width:height, such as 16:9, from 1:1000 to 1000:1"),
    "fit": Parameter("fit", _one_of({fit: fit for fit in Fit}), "one of " + ", ".join(Fit)),
    "crop": Parameter(
        "crop",
        _crop,
        "one of center, entropy and focalpoint, or one or two of top, bottom, left and right, such as top,left",
    ),
    "fp-x": Parameter("focal_x", _share, "a number from 0 to 1"),
    "fp-y": Parameter("focal_y", _share, "a number from 0 to 1"),
    "rect": Parameter(
        "",
        _rectangle,
        f"x,y,width,height, each in pixels up to {MAX_SOURCE_SIDE} or as a share of the source with a point; "
        "x also left, center or right, y also top, middle or bottom, width and height also full",
    ),
    "or": Parameter("orientation", _one_of(_ORIENTATIONS), "one of 0 to 8, 90, 180 and 270"),
    "rot": Parameter("rotate", _whole(0, 359), "degrees from 0 to 359"),
    "flip": Parameter("flip", _one_of(_FLIPS), "one of h, v and hv"),
    "trim": Parameter("trim", _one_of({"auto": True, "color": True}), "auto or color"),
    "pad": Parameter("pad", _whole(0, MAX_SIDE // 2), f"pixels from 0 to {MAX_SIDE // 2}"),
    "bg": Parameter("background", read_colour, _COLOUR),
    "bri": Parameter("brightness", _whole(-100, 100), _ADJUSTMENT),
    "con": Parameter("contrast", _whole(-100, 100), _ADJUSTMENT),
    "sat": Parameter("saturation", _whole(-100, 100), _ADJUSTMENT),
    "monochrome": Parameter("monochrome", read_colour, _COLOUR),
    "blur": Parameter("blur", _whole(0, 2000), "a number from 0 to 2000"),
    "sharp": Parameter("sharpen", _whole(0, 100), "a number from 0 to 100"),
    "fm": Parameter("format", _one_of({format: format for format in Format}), "one of " + ", ".join(Format)),
    "q": Parameter("quality", _whole(1, 100), "a number from 1 to 100"),
    "lossless": Parameter("lossless", _one_of(_BOOLEANS), "one of true, 1, false and 0"),
    "auto": Parameter("", _auto, "some of format and compress, with a comma between them"),
}
OF_STORED = frozenset({"v", "download", "expires", "s"})
"""What may be said of an image without a wish for a variant of it."""

_ALIASES = {
    "width": "w",
    "height": "h",
    "f": "fit",
    "orient": "or",
    "mono": "monochrome",
    "max-width": "max-w",
    "max-height": "max-h",
    "min-width": "min-w",
    "min-height": "min-h",
}
