"""A soft gradient from a seed: a few neighbouring colours that melt into each other.

The colours are chosen in OKLab, where equal steps look equal (Ottosson, 2020), and spread as a biquadratic Bézier
patch over 3 × 3 control colours. The patch is evaluated in integers, so that every machine draws the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lightfast.variant import Colour

Lab = tuple[float, float, float]
"""OKLab: lightness 0 to 1, green–red, blue–yellow."""

Pixels = npt.NDArray[np.uint8]
"""Rows × columns × bands."""

MIN_CONTRAST = 4.5
"""Between a label and what is behind it (WCAG 2.2, 1.4.3)."""

_WEIGHT_BITS = 12
_COLOUR_BITS = 7
_STRIP_PIXELS = 1 << 16  # at a time, so that what is being computed stays in the processor's cache


@dataclass(frozen=True, slots=True)
class Gradient:
    """``controls``: 3 rows of 3 colours. ``alpha``: 0 to 255, the same everywhere."""

    controls: tuple[tuple[Lab, Lab, Lab], ...]
    alpha: int

    def paint(self, width: int, height: int) -> Pixels:
        """RGB pixels, or RGBA where the gradient is not opaque."""
        across = _bernstein(width)
        # Rows × control columns × colours, in fixed point.
        down = (_bernstein(height).T @ _fixed(self.controls).reshape(3, 9)) >> _WEIGHT_BITS
        bands = 3 if self.alpha == 255 else 4
        pixels = np.full((height, width, bands), self.alpha, np.uint8)
        step = max(1, _STRIP_PIXELS // width)
        half = 1 << (_WEIGHT_BITS + _COLOUR_BITS - 1)
        for top in range(0, height, step):
            strip = down[top : top + step, :, None]
            for band in range(3):
                mixed = strip[:, band] * across[0] + half
                mixed += strip[:, 3 + band] * across[1]
                mixed += strip[:, 6 + band] * across[2]
                pixels[top : top + step, :, band] = mixed >> (_WEIGHT_BITS + _COLOUR_BITS)
        return pixels

    def ink(self) -> Colour:
        """A colour for a label: dark or light, tinted like the gradient, with ``MIN_CONTRAST`` where that can be."""
        colours = [_over_white(to_rgb(lab), self.alpha) for row in self.controls for lab in row]
        _, a, b = self.controls[1][1]
        length = math.hypot(a, b) or 1.0
        tint = min(1.0, length / 0.03)
        tinted = [(light, a / length * chroma * tint, b / length * chroma * tint) for light, chroma in _INKS]
        candidates = [*map(to_rgb, tinted), (0, 0, 0), (255, 255, 255)]
        worst = [min(contrast(ink, colour) for colour in colours) for ink in candidates]
        # Black or white always has enough against one colour, but not always against a whole gradient.
        best = next((at for at, value in enumerate(worst) if value >= MIN_CONTRAST), worst.index(max(worst)))
        return (*candidates[best], 255)


_INKS = ((0.38, 0.07), (0.98, 0.015))
"""Lightness and chroma of the inks to try before black and white."""


def gradient(seed: str, background: Colour | None) -> Gradient:
    """The gradient of ``seed``, around ``background`` where one is given."""
    chance = _chances(seed)
    stops = _shades(background, next(chance)) if background else _neighbours(chance)
    turn = math.tau * next(chance)
    x, y = math.cos(turn), math.sin(turn)
    reach = abs(x) + abs(y)

    def control(row: int, column: int) -> Lab:
        along = ((column - 1) * x + (row - 1) * y) / reach * 0.5 + 0.5
        light, a, b = _mix(stops, along)
        # A little unevenness, or it would be a plain linear gradient.
        return light + (next(chance) - 0.5) * 0.03, a, b

    rows = tuple((control(row, 0), control(row, 1), control(row, 2)) for row in range(3))
    return Gradient(rows, background[3] if background else 255)


def contrast(one: Sequence[int], other: Sequence[int]) -> float:
    """1 to 21 between two sRGB colours (WCAG 2.2, contrast ratio)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def to_rgb(lab: Lab) -> tuple[int, int, int]:
    """The nearest sRGB colour, each 0 to 255."""
    red, green, blue = (round(value) for value in _srgb(lab))
    return red, green, blue


def _chances(seed: str) -> Iterator[float]:
    """Numbers from 0 to 1 that depend on ``seed`` alone."""
    digest = blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=64).digest()
    return (int.from_bytes(digest[at : at + 2], "big") / 65535 for at in range(0, 64, 2))


def _neighbours(chance: Iterator[float]) -> tuple[Lab, Lab, Lab]:
    """Three light colours whose hues follow each other."""
    hue = math.tau * next(chance)
    step = (0.45 + 0.5 * next(chance)) * (1 if next(chance) < 0.5 else -1)
    return _polar(0.91, 0.055, hue - step), _polar(0.86, 0.08, hue), _polar(0.79, 0.095, hue + step)


def _shades(background: Colour, chance: float) -> tuple[Lab, Lab, Lab]:
    """The colour asked for, between a lighter and a darker one."""
    light, a, b = _lab(background[:3])
    hue, chroma = math.atan2(b, a), math.hypot(a, b)
    # Of a strong colour, a small turn is far enough.
    step = min(0.12 + 0.12 * chance, 0.03 / max(chroma, 0.01))
    return (
        _polar(min(1.0, light + 0.045), chroma, hue - step),
        (light, a, b),
        _polar(max(0.0, light - 0.055), chroma, hue + step),
    )


def _mix(stops: Sequence[Lab], along: float) -> Lab:
    first, second = list(pairwise(stops))[along >= 0.5]
    share = along * 2 - (along >= 0.5)
    light, a, b = (one + (other - one) * share for one, other in zip(first, second, strict=True))
    return light, a, b


def _bernstein(count: int) -> npt.NDArray[np.int32]:
    """The three quadratic Bernstein polynomials at the centres of ``count`` pixels, in fixed point; the sum is 1."""
    at = (np.arange(count, dtype=np.int64) * 2 + 1) * 1024 // (2 * count)
    shift = 20 - _WEIGHT_BITS
    first, last = (1024 - at) ** 2 >> shift, at**2 >> shift
    return np.stack([first, (1 << _WEIGHT_BITS) - first - last, last]).astype(np.int32)


def _fixed(controls: Sequence[Sequence[Lab]]) -> npt.NDArray[np.int32]:
    colours = np.array([[_srgb(lab) for lab in row] for row in controls])
    fixed: npt.NDArray[np.int32] = np.rint(colours * (1 << _COLOUR_BITS)).astype(np.int32)
    return fixed


def _polar(light: float, chroma: float, hue: float) -> Lab:
    return light, chroma * math.cos(hue), chroma * math.sin(hue)


def _over_white(rgb: Sequence[int], alpha: int) -> list[int]:
    return [255 + (value - 255) * alpha // 255 for value in rgb]


def _luminance(rgb: Sequence[int]) -> float:
    red, green, blue = (_linear(value) for value in rgb[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: float) -> float:
    value /= 255
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _companded(value: float) -> float:
    value = min(1.0, max(0.0, value))
    return 255 * (value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055)


# The matrices of OKLab: https://bottosson.github.io/posts/oklab/


def _srgb(lab: Lab) -> tuple[float, float, float]:
    """0 to 255, cut off where sRGB has no such colour."""
    light, a, b = lab
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        _companded(4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short),
        _companded(-1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short),
        _companded(-0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short),
    )


def _lab(rgb: Sequence[int]) -> Lab:
    red, green, blue = (_linear(value) for value in rgb)
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    medium = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )
