"""What variants are made of: a picture as a generator gives it and one as a phone takes it, in any number of copies."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import pyvips
from examples.paint_samples import canvas, dawn, dunes, harbour

from benchmarks.ssim import ssim

Motif = Callable[[], npt.NDArray[np.floating]]

WIDTH = 512
"""Of the thumbnails, in pixels."""
PNG, PHOTO, DRAWING, SMALL_PHOTO = "1024 px PNG", "12 MP JPEG", "another PNG", "2 MP JPEG"


@cache
def source(name: str) -> bytes:
    """The file of one of the names above."""
    return _SOURCES[name]()


def _png(motif: Motif) -> bytes:
    return bytes(canvas(motif).pngsave_buffer(keep="none"))


def _photo(motif: Motif, width: int, height: int) -> bytes:
    """With the resolution of a camera, and the grain of its sensor, without which the file would be far too small."""
    scene = canvas(motif).crop(0, 128, 1024, 768)
    scene = scene.resize(width / scene.width, vscale=height / scene.height, kernel="lanczos3")
    grain = pyvips.Image.gaussnoise(width, height, mean=0, sigma=3, seed=1)
    picture = (scene + grain).cast("uchar").copy(interpretation="srgb")
    return bytes(picture.jpegsave_buffer(Q=90, subsample_mode="on", keep="none"))  # 4:2:0, as cameras do


_SOURCES: Mapping[str, Callable[[], bytes]] = {
    PNG: lambda: _png(dawn),
    PHOTO: lambda: _photo(harbour, 4000, 3000),
    DRAWING: lambda: _png(dunes),
    SMALL_PHOTO: lambda: _photo(dunes, 1632, 1224),
}


def copies(name: str, count: int, edition: int) -> Mapping[str, bytes]:
    """``count`` files of the same picture by id; no two have the same bytes, nor have those of another edition."""
    content = source(name)
    ending = "png" if content.startswith(b"\x89PNG") else "jpg"
    return {f"copy-{number}.{ending}": noted(content, f"{edition:03}-{number:05}") for number in range(count)}


def noted(content: bytes, note: str) -> bytes:
    """The PNG or JPEG with a comment: other bytes, the same pixels."""
    text = note.encode("latin-1")
    if content.startswith(b"\x89PNG"):
        body = b"tEXtComment\0" + text
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        header = 8 + 25  # signature and IHDR
        return content[:header] + chunk + content[header:]
    return content[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + content[2:]


@cache
def reference(name: str) -> pyvips.Image:
    """The thumbnail as it should be: Lanczos over every pixel of the source, not encoded."""
    image = pyvips.Image.new_from_buffer(source(name), "")
    return image.resize(WIDTH / image.width, kernel="lanczos3").copy_memory()


def likeness(name: str, thumbnail: bytes) -> float:
    """SSIM of a WebP to the ``reference``. Raises ``RuntimeError`` for another format, ``ValueError`` for a size."""
    if thumbnail[8:12] != b"WEBP":
        raise RuntimeError("the thumbnail is no WebP")
    return ssim(pyvips.Image.new_from_buffer(thumbnail, ""), reference(name))


def decoding(name: str, times: int = 10) -> float:
    """Milliseconds of processor time in which libvips decodes a source and scales it down, without encoding it."""
    content = source(name)
    pyvips.Image.thumbnail_buffer(content, WIDTH).copy_memory()
    before = time.process_time()
    for _ in range(times):
        pyvips.Image.thumbnail_buffer(content, WIDTH).copy_memory()
    return round(1000 * (time.process_time() - before) / times, 2)
