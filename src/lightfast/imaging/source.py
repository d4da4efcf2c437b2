"""Opens a source for libvips: by the one loader that its bytes call for, within limits, as small as may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

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
_PAGED = frozenset({"image/webp", "image/gif"})

_TRIM_THRESHOLD = 10
"""How much a pixel may differ from the border's colour, in 8-bit steps, and still belong to it."""
_TRIM_PIXELS = 2_000_000
"""Pixels in which a border is looked for."""


class Source:
    """The picture in ``content``, which is not copied. Raises ``InvalidImage`` and ``UnsupportedMediaType``."""

    def __init__(self, content: Content, limits: Limits, stop: Stop) -> None:
        found = sniff(content if isinstance(content, bytes) else bytes(content), limits.pixels_in)
        self.media_type = found.media_type
        self._content = content
        self._stop = stop
        self._header = self._load()
        self.size = Size(self._header.width, self._header.height)
        if self.size.pixels > limits.pixels_in:
            raise InvalidImage(f"The {self.media_type} holds {self.size.pixels} pixels, more than its header says.")
        self._check_memory(limits)

    @property
    def frames(self) -> int:
        """How many the file has; 1 for a still picture."""
        return int(self._header.get_n_pages()) if self.media_type in _PAGED else 1

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
        cell = math.ceil(math.sqrt(self.size.pixels / _TRIM_PIXELS))
        image = self._load().shrink(cell, cell).colourspace("srgb").copy_memory()
        corner = image(0, 0)
        if image.hasalpha():
            clear = corner[-1] < 255
            image, corner = (image[image.bands - 1], corner[-1:]) if clear else (image.flatten(), corner[:-1])
        self._stop.watch(image)
        left, top, width, height = (cell * it for it in image.find_trim(threshold=_TRIM_THRESHOLD, background=corner))
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

    def _check_memory(self, limits: Limits) -> None:
        image = self._header
        need = self.size.pixels * image.bands * (2 if image.format == "ushort" else 1)
        whole = image.get_typeof("interlaced") or self.media_type in ("image/avif", *_PAGED)
        # Coefficients of a progressive JPEG have two bytes; an AVIF is decoded to YUV first.
        if self.media_type in ("image/jpeg", "image/avif"):
            need *= 2
        if whole and need > limits.memory:
            raise InvalidImage(
                f"The {self.media_type} needs {need} bytes of memory to be decoded; the limit is {limits.memory}."
            )
