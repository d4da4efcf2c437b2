"""Real pictures of wanted sizes. The same version of libvips gives the same bytes each time."""

from __future__ import annotations

from functools import cache
from math import sqrt

import pyvips

TOLERANCE = 0.02
"""By how much a picture may be larger or smaller than wanted."""

WIDEST_TRY = 60


@cache
def picture(size: int, suffix: str = ".png", seed: int = 1) -> bytes:
    """A picture of grain that takes about ``size`` bytes as ``.png`` or ``.webp``."""
    content = _paint(64, 64, suffix, seed)
    pixels = 64 * 64 * size / len(content)
    for _ in range(WIDEST_TRY):
        width = max(8, round(sqrt(pixels * 4 / 3)))
        content = _paint(width, max(8, round(pixels / width)), suffix, seed)
        if abs(len(content) - size) <= TOLERANCE * size:
            return content
        pixels *= size / len(content)
    raise RuntimeError(f"no picture of about {size} bytes found")


def _paint(width: int, height: int, suffix: str, seed: int) -> bytes:
    bands = [pyvips.Image.gaussnoise(width, height, mean=128, sigma=40, seed=seed * 3 + band) for band in range(3)]
    image = bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb")
    options = {"Q": 85} if suffix == ".webp" else {"compression": 1}
    return bytes(image.write_to_buffer(suffix, **options))


def media_type(content: bytes) -> str:
    return "image/webp" if content[8:12] == b"WEBP" else "image/png"
