"""A picture to show where there is none yet: a soft gradient, with a label if one is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import pyvips

from lightfast.errors import InvalidRequest
from lightfast.imaging.gradient import Pixels, gradient
from lightfast.imaging.label import Coverage, Label, label
from lightfast.imaging.stop import Stop
from lightfast.model import Picture
from lightfast.variant import Colour, Format

MAX_SIDE = 4096
MAX_PIXELS = 16_000_000
MAX_TEXT = 100
MAX_SEED = 64

QUALITY = 85
"""Of WebP and JPEG."""

_CAREFUL = 1_000_000
"""Up to how many pixels a few bytes more are worth the time."""

_ROWS = 64
"""Of a label, drawn at a time."""


def placeholder(
    width: int,
    height: int,
    *,
    text: str = "",
    background: Colour | None = None,
    foreground: Colour | None = None,
    seed: str = "",
    format: Format | str = Format.WEBP,
    stop: Stop | None = None,
) -> Picture:
    """Draw a placeholder; the same arguments give the same bytes.

    The colours follow from ``seed``, or from ``background`` with shades that follow from ``seed``. ``text`` is drawn
    as it is (no markup) over as many lines as make it largest, in ``foreground`` or else in a tint that can be read.
    JPEG has no transparency: there the picture lies on white.

    Raises ``InvalidRequest`` for a value out of its bounds, ``RenderTimeout`` once stopped. Blocks: for WebP some
    100 ms for each megapixel.
    """
    stop = stop or Stop(math.inf)
    stop.check()
    _check(width, height, text, seed)
    save, media_type = _encoder(format)
    shades = gradient(seed, background)
    pixels = shades.paint(width, height)
    shape = label(text, width, height)
    if shape is not None:
        _lay(pixels, shape, foreground or shades.ink(), stop)
    bands = pixels.shape[2]
    image = pyvips.Image.new_from_memory(pixels.data, width, height, bands, "uchar").copy(interpretation="srgb")
    return Picture(_finish(save, image, stop), media_type, width, height)


def _finish(save: Callable[[pyvips.Image], bytes], image: pyvips.Image, stop: Stop) -> bytes:
    stop.watch(image)
    try:
        return save(image)
    except pyvips.Error:
        stop.check()
        raise
    finally:
        stop.forget()


def _check(width: int, height: int, text: str, seed: str) -> None:
    for name, side in (("width", width), ("height", height)):
        if not 1 <= side <= MAX_SIDE:
            raise InvalidRequest(f"The {name} of a placeholder is 1 to {MAX_SIDE} pixels, not {side}.")
    if width * height > MAX_PIXELS:
        raise InvalidRequest(
            f"The width and height of a placeholder make at most {MAX_PIXELS} pixels; {width} × {height} are more."
        )
    for name, value, limit in (("text", text, MAX_TEXT), ("seed", seed, MAX_SEED)):
        if len(value) > limit:
            raise InvalidRequest(
                f"The {name} of a placeholder is at most {limit} characters; {value[:16] + '…'!r} has {len(value)}."
            )


def _lay(pixels: Pixels, shape: Label, ink: Colour, stop: Stop) -> None:
    """Draw ``ink`` over ``pixels``, in place, where the label is. A few rows at a time: the arithmetic takes a hundred
    bytes for each pixel."""
    rows, columns = shape.coverage.shape
    for start in range(0, rows, _ROWS):
        stop.check()
        coverage = shape.coverage[start : start + _ROWS]
        top = shape.top + start
        _blend(pixels[top : top + len(coverage), shape.left : shape.left + columns], coverage, ink)


def _blend(under: Pixels, coverage: Coverage, ink: Colour) -> None:
    """``ink`` over ``under``, in place (W3C Compositing, source over)."""
    source = coverage[:, :, None].astype(np.int64) * ink[3]  # in 1/255²
    backdrop = under[0, 0, 3] if under.shape[2] == 4 else 255
    full = 255 * 255
    # The backdrop is equally opaque everywhere; the weights of the two colours add up to the opacity of the whole.
    rest = (full - source) * int(backdrop) // 255
    total = np.maximum(source + rest, 1)
    colour = np.array(ink[:3], np.int64)
    under[:, :, :3] = (colour * source + under[:, :, :3] * rest + total // 2) // total
    if under.shape[2] == 4:
        under[:, :, 3:] = (source + rest + 127) // 255


def _save_webp(image: pyvips.Image) -> bytes:
    # libwebp can't be interrupted in an alpha channel, and tries seven times as long in one for the last few bytes.
    # Anybody may ask for large ones, so these cost no more than they have to.
    effort = 2 if image.width * image.height > _CAREFUL else 4 if image.hasalpha() else 6
    return bytes(image.webpsave_buffer(Q=QUALITY, effort=effort, keep="none"))


def _save_png(image: pyvips.Image) -> bytes:
    return bytes(image.pngsave_buffer(compression=9, filter="paeth", keep="none"))


def _save_jpeg(image: pyvips.Image) -> bytes:
    flat = image.flatten(background=255) if image.hasalpha() else image
    return bytes(flat.jpegsave_buffer(Q=QUALITY, optimize_coding=True, keep="none"))


def _save_avif(image: pyvips.Image) -> bytes:
    return bytes(image.heifsave_buffer(compression="av1", Q=65, effort=2, keep="none"))


_ENCODERS: Mapping[str, tuple[Callable[[pyvips.Image], bytes], str]] = MappingProxyType(
    {
        "webp": (_save_webp, "image/webp"),
        "png": (_save_png, "image/png"),
        "jpg": (_save_jpeg, "image/jpeg"),
        "jpeg": (_save_jpeg, "image/jpeg"),
        "avif": (_save_avif, "image/avif"),
    }
)


def _encoder(format: str) -> tuple[Callable[[pyvips.Image], bytes], str]:
    if format not in _ENCODERS:
        raise InvalidRequest(f"The format of a placeholder is one of {', '.join(_ENCODERS)}, not {str(format)[:16]!r}.")
    return _ENCODERS[format]
