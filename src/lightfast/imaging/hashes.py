"""BlurHash and ThumbHash: a picture's blur in some thirty characters or bytes.

Both keep the lowest frequencies of a cosine transform: BlurHash (github.com/woltapp/blurhash, Algorithm.md) of linear
light, in base 83; ThumbHash (evanw.github.io/thumbhash) of luminance, two colour differences and alpha, with four bits
each. Here the transform of a channel is two matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float64]

MAX_SIDE = 100
"""Pixels. ThumbHash takes no larger picture, and neither hash would gain from one."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_NOTHING = 1e-9
"""What is smaller is rounding: a plain picture has no frequencies, not the noise of its sums."""


def blurhash(pixels: Pixels, columns: int = 4, rows: int = 3) -> str:
    """The BlurHash of ``pixels`` (rows × columns × 3, sRGB) with 1 to 9 components each way."""
    height, width = pixels.shape[:2]
    across = np.cos(np.pi / width * np.outer(np.arange(columns), np.arange(width)))
    down = np.cos(np.pi / height * np.outer(np.arange(rows), np.arange(height)))
    light = _LINEAR[pixels]
    factors = np.stack([down @ light[:, :, band] @ across.T for band in range(3)], axis=2) / (width * height)
    average, *varying = factors.reshape(-1, 3)
    waves = np.array(varying).reshape(-1, 3) * 2
    largest = float(np.abs(waves).max(initial=0.0))
    step = max(0, min(82, math.floor(largest * 166 - 0.5))) if varying else 0
    scale = (step + 1) / 166 if varying else 1.0
    levels = np.clip(np.floor(np.sign(waves) * np.sqrt(np.abs(waves) / scale) * 9 + 9.5), 0, 18).astype(int)
    red, green, blue = (_companded(float(value)) for value in average)
    words = [((columns - 1) + (rows - 1) * 9, 1), (step, 1), ((red << 16) + (green << 8) + blue, 4)]
    words += [(int(r) * 361 + int(g) * 19 + int(b), 2) for r, g, b in levels]
    return "".join(_base83(value, length) for value, length in words)


def thumbhash(pixels: Pixels) -> bytes:
    """The ThumbHash of ``pixels`` (rows × columns × 4, sRGB, not premultiplied, at most ``MAX_SIDE`` each way)."""
    height, width = pixels.shape[:2]
    alpha = pixels[:, :, 3] / 255
    total = float(alpha.sum())
    transparent = bool((pixels[:, :, 3] < 255).any())
    colour = pixels[:, :, :3] / 255
    average = (colour * alpha[:, :, None]).sum(axis=(0, 1)) / (total or 1.0)
    red, green, blue = np.moveaxis(average * (1 - alpha[:, :, None]) + colour * alpha[:, :, None], 2, 0)
    most = 5 if transparent else 7
    across = max(1, _round(most * width / max(width, height)))
    down = max(1, _round(most * height / max(width, height)))
    light = _Channel.of((red + green + blue) / 3, max(3, across), max(3, down))
    yellow = _Channel.of((red + green) / 2 - blue, 3, 3)
    red_green = _Channel.of(red - green, 3, 3)
    header = (
        _round(63 * light.mean)
        | _round(31.5 + 31.5 * yellow.mean) << 6
        | _round(31.5 + 31.5 * red_green.mean) << 12
        | _round(31 * light.scale) << 18
        | transparent << 23
        | (down if width > height else across) << 24
        | _round(63 * yellow.scale) << 27
        | _round(63 * red_green.scale) << 33
        | (width > height) << 39
    )
    parts, levels = [header.to_bytes(5, "little")], [*light.levels, *yellow.levels, *red_green.levels]
    if transparent:
        opacity = _Channel.of(alpha, 5, 5)
        parts.append(bytes([_round(15 * opacity.mean) | _round(15 * opacity.scale) << 4]))
        levels += opacity.levels
    return b"".join([*parts, _nibbles(levels)])


@dataclass(frozen=True, slots=True)
class _Channel:
    """One channel's mean, the size of its largest wave, and all waves as 0 to 15."""

    mean: float
    scale: float
    levels: tuple[int, ...]

    @classmethod
    def of(cls, plane: Plane, columns: int, rows: int) -> _Channel:
        height, width = plane.shape
        across = np.cos(np.pi / width * np.outer(np.arange(columns), np.arange(width) + 0.5))
        down = np.cos(np.pi / height * np.outer(np.arange(rows), np.arange(height) + 0.5))
        factors = down @ plane @ across.T / (width * height)
        mean, *waves = (float(factors[y, x]) for y, x in _triangle(columns, rows))
        scale = max(abs(wave) for wave in waves)
        if scale < _NOTHING:
            return cls(mean, 0.0, (0,) * len(waves))
        return cls(mean, scale, tuple(_round(15 * (0.5 + 0.5 / scale * wave)) for wave in waves))


def _triangle(columns: int, rows: int) -> Iterator[tuple[int, int]]:
    """The frequencies that are kept: the corner of the low ones, row by row."""
    return ((y, x) for y in range(rows) for x in range(columns) if x * rows < columns * (rows - y))


def _nibbles(levels: Sequence[int]) -> bytes:
    padded = [*levels, 0]
    return bytes(padded[at] | padded[at + 1] << 4 for at in range(0, len(levels), 2))


def _round(value: float) -> int:
    """As JavaScript rounds, in which ThumbHash is defined: halves go up."""
    return math.floor(value + 0.5)


def _base83(value: int, length: int) -> str:
    return "".join(_DIGITS[value // 83**place % 83] for place in reversed(range(length)))


def _companded(value: float) -> int:
    """Linear light 0 to 1 as sRGB 0 to 255."""
    value = min(1.0, max(0.0, value))
    return int((value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055) * 255 + 0.5)


def _linear() -> Plane:
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


_LINEAR = _linear()
