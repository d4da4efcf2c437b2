"""Sources that are computed, as arrays, and as files of every kind."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt
import pyvips

from lightfast.imaging.codec import Picture, render
from lightfast.imaging.geometry import Limits
from lightfast.imaging.stop import Stop
from lightfast.variant import Variant

Pixels = npt.NDArray[np.uint8]


def scene(width: int = 240, height: int = 160) -> Pixels:
    """Nothing in it is symmetric: slopes of colour, a disc at the upper left and a bar at the lower right."""
    x = np.linspace(0, 1, width)[None, :]
    y = np.linspace(0, 1, height)[:, None]
    picture = np.stack([60 + 150 * x + 0 * y, 40 + 160 * y + 0 * x, 120 + 60 * np.sin(6 * x + 4 * y)], axis=-1)
    picture[np.hypot((x - 0.25) * width, (y - 0.3) * height) < 0.16 * height] = (240, 60, 40)
    picture[(abs(x - 0.75) < 0.15) & (abs(y - 0.8) < 0.06)] = (250, 240, 90)
    return picture.round().astype(np.uint8)


def image(pixels: npt.NDArray[np.generic], interpretation: str = "srgb") -> pyvips.Image:
    return pyvips.Image.new_from_array(np.ascontiguousarray(pixels), interpretation=interpretation)


def strip(*frames: Pixels, delay: int = 80) -> pyvips.Image:
    """Frames below each other, as libvips has animations."""
    joined = pyvips.Image.arrayjoin([image(frame) for frame in frames], across=1).copy()
    joined.set_type(pyvips.GValue.gint_type, "page-height", frames[0].shape[0])
    joined.set_type(pyvips.GValue.array_int_type, "delay", [delay] * len(frames))
    joined.set_type(pyvips.GValue.gint_type, "loop", 3)
    return joined


def made(content: bytes, variant: Variant, limits: Limits | None = None) -> Picture:
    return render(content, variant, limits or Limits(), Stop(60))


def pixels_of(content: bytes) -> Pixels:
    """As they are, without what a decoder may do on its own."""
    return np.asarray(pyvips.Image.new_from_buffer(content, "").numpy())


def halved(pixels: Pixels, by: int = 2) -> Pixels:
    """Each pixel the mean of ``by`` × ``by``: what scaling is held against."""
    height, width = pixels.shape[0] // by, pixels.shape[1] // by
    cells = pixels[: height * by, : width * by].reshape(height, by, width, by, -1)
    return np.rint(cells.mean(axis=(1, 3))).astype(np.uint8)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(width: int, height: int, *chunks: bytes, data: bytes = b"") -> bytes:
    """A PNG that claims a size, whatever its data holds."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", data or zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body + png_chunk(b"IEND", b"")
