"""Opens a source for libvips: by the one loader that its bytes call for, within limits, as small as may be."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping

import pyvips

from lightfast.errors import InvalidImage
from lightfast.imaging.geometry import Box, Limits, Plan, Size
from lightfast.imaging.stop import Stop
from lightfast.model import Content
from lightfast.sniff import sniff

_Loader = Callable[..., pyvips.Image]

_LOADERS: Mapping[str, _Loader] = {
    "image/png": pyvips.Image.pngload_source,
    "image/jpeg": pyvips.Image.jpegload_source,
    "image/webp": pyvips.Image.webpload_source,
    "image/gif": pyvips.Image.gifload_source,
    "image/avif": pyvips.Image.heifload_source,
}
_GIF = b"GIF8"
_PAGED = frozenset({"image/webp", "image/gif"})

_WHOLE: Mapping[str, int] = {"image/jpeg": 2, "image/avif": 5, "image/gif": 2}
"""What is (a JPEG or PNG: may be) decoded as a whole, and bytes of memory for each byte of pixels, as measured."""
_WHOLE_WEBP = 8
"""Bytes of memory for each pixel of a WebP that libwebp doesn't make smaller while it decodes, as measured."""
_TEXTS = (b"zTXt", b"iTXt")
_PACKED_TEXT = 65536
"""Bytes of packed text in a PNG that are unpacked, into a thousand times as much at worst."""

_TRIM_THRESHOLD = 10
"""How much a pixel may differ from the border's colour, in 8-bit steps, and still belong to it."""
_TRIM_PIXELS = 2_000_000
"""Pixels in which a border is looked for."""


class Source:
    """The picture in ``content``. Raises ``InvalidImage`` and ``UnsupportedMediaType``."""

    def __init__(self, content: Content, limits: Limits, stop: Stop) -> None:
        content = content if isinstance(content, bytes) else bytes(content)
        most = min(limits.pixels_in, limits.pixels_gif) if content.startswith(_GIF) else limits.pixels_in
        self.media_type = sniff(content, most).media_type
        self._content = _without_long_texts(content) if self.media_type == "image/png" else content
        self._stop, self._limits = stop, limits
        self._header = self._load()
        self.size = Size(self._header.width, self._header.height)
        if self.size.pixels > most:
            raise InvalidImage(f"The {self.media_type} holds {self.size.pixels} pixels, more than its header says.")
        if max(self.size) > limits.side_in:
            raise InvalidImage(
                f"The {self.media_type} has a side of {max(self.size)} pixels; at most {limits.side_in}."
            )
        self._check_memory()

    @property
    def frames(self) -> int:
        """How many the file has; 1 for a still picture."""
        return int(self._header.get_n_pages()) if self.media_type in _PAGED else 1

    def movable(self, frames: int) -> bool:
        """Whether as many frames may be decoded. Those of a WebP all lie in memory, as libvips reads them."""
        limits, pixels = self._limits, frames * self.size.pixels
        memory = 4 * pixels if self.media_type == "image/webp" else 0
        return frames <= limits.frames and pixels <= limits.pixels_animated and memory <= limits.memory

    @property
    def orientation(self) -> int:
        """The one of the EXIF block; in an AVIF it says nothing, ``irot`` does and has been applied."""
        if self.media_type == "image/avif" or not self._header.get_typeof("orientation"):
            return 1
        return int(self._header.get("orientation"))

    def load(self, frames: int, plan: Plan) -> tuple[list[pyvips.Image], Plan]:
        """The first ``frames`` frames, to be read once and in order, maybe made smaller, and the plan for that."""
        options: dict[str, int | float] = {}
        if self.media_type == "image/jpeg":
            options = {"shrink": max(it for it in (1, 2, 4, 8) if it == 1 or it <= plan.reduction)}
        elif self.media_type == "image/webp" and plan.reduction > 2:
            # libwebp averages boxes; the rest is left to a better filter.
            options = {"scale": 2 / plan.reduction}
        elif self.media_type == "image/webp":
            self._check_need(self.size.pixels * _WHOLE_WEBP)
        same = frames == 1 and options.get("shrink", 1) == 1 and "scale" not in options
        image = self._header if same else self._load(frames, **options)
        height = image.height // frames
        plan = plan.reduced(self.size, Size(image.width, height))
        if frames == 1:
            return [image], plan
        return [image.crop(0, at * height, image.width, height) for at in range(frames)], plan

    def trimmed(self) -> Box:
        """The first frame without a border of the colour of its top left corner; all of it, if it is all border.

        A large picture is looked at in cells of a few pixels, and cut between them.
        """
        if self.media_type == "image/webp":
            self._check_need(self.size.pixels * _WHOLE_WEBP)
        cell = math.ceil(math.sqrt(self.size.pixels / _TRIM_PIXELS))
        image = self._load().shrink(cell, cell).colourspace("srgb").copy_memory()
        corner = image(0, 0)
        if image.hasalpha():
            clear = corner[-1] < 255
            image, corner = (image[image.bands - 1], corner[-1:]) if clear else (image.flatten(), corner[:-1])
        self._stop.watch(image)
        # line_art: no median first, which takes ten times as long and rounds off corners.
        found = image.find_trim(threshold=_TRIM_THRESHOLD, background=corner, line_art=True)
        # What was decoded for this, maybe as a whole, is not kept beside what is decoded next.
        self._stop.forget(but=(self._header,))
        left, top, width, height = (cell * it for it in found)
        if not width or not height:
            return Box(0, 0, *self.size)
        return Box(left, top, min(width, self.size.width - left), min(height, self.size.height - top))

    def _load(self, frames: int = 1, **options: str | float) -> pyvips.Image:
        if self.media_type in _PAGED:
            options["n"] = frames
        source = pyvips.Source.new_from_memory(self._content)
        image = _LOADERS[self.media_type](source, **{"access": "sequential", "fail_on": "error", **options})
        self._stop.watch(image)
        return image

    def _check_memory(self) -> None:
        """Most pictures are decoded row by row; this is for those that can't be."""
        image = self._header
        by_row = self.media_type in ("image/png", "image/jpeg") and not image.get_typeof("interlaced")
        if by_row or self.media_type == "image/webp":
            return
        sample = 2 if image.format == "ushort" else 1
        self._check_need(self.size.pixels * image.bands * sample * _WHOLE.get(self.media_type, 1))

    def _check_need(self, need: int) -> None:
        most = self._limits.memory
        if need > most:
            raise InvalidImage(
                f"The {self.media_type} needs about {need} bytes of memory to be decoded; the limit is {most}."
            )


def _without_long_texts(png: bytes) -> bytes:
    """``png`` without its packed texts, if these are long: they are unpacked before any pixel is."""
    chunks = list(_chunks(png))
    texts = [end - start for kind, start, end in chunks if kind in _TEXTS]
    if sum(texts) <= _PACKED_TEXT:
        return png
    return png[:8] + b"".join(png[start:end] for kind, start, end in chunks if kind not in _TEXTS)


def _chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of each chunk of a PNG whose structure has been checked."""
    kind, end = b"", 8
    while kind != b"IEND":
        start = end
        length, kind = struct.unpack_from(">I4s", png, start)
        end = start + 12 + length
        yield kind, start, end
