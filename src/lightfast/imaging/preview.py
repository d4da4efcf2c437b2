"""What can be shown of a picture before it has come: two hashes, its colour, and a tiny WebP."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyvips

from lightfast.imaging.codec import render
from lightfast.imaging.geometry import Limits
from lightfast.imaging.hashes import MAX_SIDE, Pixels, blurhash, thumbhash
from lightfast.imaging.source import Source
from lightfast.imaging.stop import Stop
from lightfast.model import Content, Preview
from lightfast.variant import Fit, Format, Variant

MAX_DATA_URL = 1023
"""Characters; so the WebP within is smaller still."""

_DATA_URL = "data:image/webp;base64,"
_SIDES = (64, 48, 32, 16, 8)
_QUALITIES = (75, 50, 35, 20)
# Windows of 32 levels that start every 16: a colour near the edge of one lies in the middle of the next.
_CELL, _CELLS = 16, 16
_WHITE = (255, 255, 255)


_SMALL = Variant(width=MAX_SIDE, height=MAX_SIDE, fit=Fit.MAX, format=Format.PNG)
_TURNED = range(5, 9)
"""EXIF orientations that swap width and height."""


def preview(content: Content, limits: Limits | None = None, stop: Stop | None = None) -> Preview:
    """The preview of an image, of its first frame if it moves. Blocks; raises what ``render`` raises."""
    limits, stop = limits or Limits(), stop or Stop(math.inf)
    # From the same pixels as every variant: the same limits, the same colours, upright.
    small = pyvips.Image.new_from_buffer(render(content, _SMALL, limits, stop).content, "").copy_memory()
    pixels = _pixels(small)
    source = Source(content, limits, stop)
    width, height = source.size
    stop.forget()
    if source.orientation in _TURNED:
        width, height = height, width
    return Preview(
        thumbhash=base64.b64encode(thumbhash(pixels)).decode(),
        blurhash=blurhash(_on_white(pixels)),
        colour="#{:02x}{:02x}{:02x}".format(*dominant(pixels)),
        data_url=_data_url(small),
        width=width,
        height=height,
    )


def dominant(pixels: Pixels) -> tuple[int, int, int]:
    """The mean of the cube of colours, 32 levels wide, that holds most of ``pixels`` (RGBA), opaque ones counting most.

    White where everything is transparent: most pages are.
    """
    colours, weights = pixels[:, :, :3].reshape(-1, 3), pixels[:, :, 3].reshape(-1).astype(np.float64)
    if not weights.any():
        return _WHITE
    cells = colours // _CELL
    counts = np.bincount(cells @ np.array([_CELLS * _CELLS, _CELLS, 1]), weights, _CELLS**3)
    cubes = counts.reshape(_CELLS, _CELLS, _CELLS)
    for axis in range(3):
        cubes = cubes.take(range(_CELLS - 1), axis) + cubes.take(range(1, _CELLS), axis)
    start = np.array(np.unravel_index(np.argmax(cubes), cubes.shape))
    inside = ((cells - start.astype(np.int64)) // 2 == 0).all(axis=1)
    red, green, blue = np.average(colours[inside], axis=0, weights=weights[inside])
    return round(red), round(green), round(blue)


def _pixels(image: pyvips.Image) -> Pixels:
    """RGBA."""
    full = image if image.hasalpha() else image.bandjoin(255)
    return np.frombuffer(full.write_to_memory(), np.uint8).reshape(image.height, image.width, 4)


def _on_white(pixels: Pixels) -> npt.NDArray[np.uint8]:
    alpha = pixels[:, :, 3:].astype(np.int64)
    return ((pixels[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _data_url(image: pyvips.Image) -> str:
    """The best WebP that fits; coarser first, then smaller."""
    for content in _webps(image):
        url = _DATA_URL + base64.b64encode(content).decode()
        if len(url) <= MAX_DATA_URL:
            return url
    raise AssertionError("a WebP of 8 × 8 pixels has less than 700 bytes")


def _webps(image: pyvips.Image) -> Iterator[bytes]:
    for side in _SIDES:
        tiny = image.thumbnail_image(side, height=side, size="down").copy_memory()
        for quality in _QUALITIES:
            yield bytes(tiny.webpsave_buffer(Q=quality, alpha_q=quality, effort=4, keep="none"))
