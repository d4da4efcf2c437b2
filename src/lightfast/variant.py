"""A variant: how a picture is to be made from its source. One value for all spellings of the same wish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

Colour = tuple[int, int, int, int]
"""Red, green, blue, alpha, each 0 to 255."""

Length = int | float
"""Pixels as ``int``; a ``float`` between 0 and 1 is that share of the source's side."""


class Fit(StrEnum):
    """How the source is brought to the size asked for (imgix ``fit``)."""

    CLIP = "clip"
    CROP = "crop"
    MAX = "max"
    MIN = "min"
    FILL = "fill"
    FILLMAX = "fillmax"
    SCALE = "scale"


class Format(StrEnum):
    """What it is encoded as (imgix ``fm``). ``PJPG`` is progressive JPEG."""

    AVIF = "avif"
    WEBP = "webp"
    JPG = "jpg"
    PJPG = "pjpg"
    PNG = "png"
    GIF = "gif"


MEDIA_TYPES: Mapping[Format, str] = MappingProxyType(
    {
        Format.AVIF: "image/avif",
        Format.WEBP: "image/webp",
        Format.JPG: "image/jpeg",
        Format.PJPG: "image/jpeg",
        Format.PNG: "image/png",
        Format.GIF: "image/gif",
    }
)


@dataclass(frozen=True, slots=True)
class Variant:
    """What to make of a source, in the order in which ``imaging`` does it. Lengths are output pixels, dpr included."""

    orientation: int | None = None
    """EXIF orientation (1 to 8) to use instead of the source's own."""
    rotate: int = 0
    """Degrees counter-clockwise, 0 to 359, as imgix has it."""
    flip: str = ""
    """``h``, ``v`` or ``hv``."""
    trim: bool = False
    """Whether a border of one colour is cut off first."""
    rect: tuple[Length, Length, Length, Length] | None = None
    """The part of the source to take: x, y, width, height. ``region`` gives it in pixels."""
    rect_anchor: tuple[str, str] = ("", "")
    """Where ``rect`` lies instead of its x and y: ``center`` or ``right``, ``middle`` or ``bottom``."""
    width: Length | None = None
    height: Length | None = None
    max_width: int | None = None
    max_height: int | None = None
    min_width: int | None = None
    min_height: int | None = None
    aspect: float | None = None
    """Width over height of what is made by ``Fit.CROP`` and ``Fit.FILL``, where width and height don't both say it."""
    fit: Fit = Fit.CLIP
    crop: tuple[str, ...] = ()
    """Where to crop: some of ``top bottom left right``, or one of ``center entropy focalpoint``. Empty: the centre."""
    focal_x: float = 0.5
    focal_y: float = 0.5
    pad: int = 0
    """Pixels on every side, within the size asked for."""
    background: Colour | None = None
    brightness: int = 0
    contrast: int = 0
    saturation: int = 0
    """Each -100 to 100."""
    monochrome: Colour | None = None
    blur: int = 0
    """0 to 2000."""
    sharpen: int = 0
    """0 to 100."""
    format: Format | None = None
    """``None``: the source's own."""
    quality: int | None = None
    """1 to 100; ``None``: the format's default."""
    lossless: bool = False
    fast: bool = False
    """Whether the fastest way to encode is wanted, because somebody waits and better bytes will follow."""

    def region(self, width: int, height: int) -> tuple[int, int, int, int] | None:
        """``rect`` in a source of this size: left, top, width and height in pixels, cut to the source.

        ``None``: the whole source is taken, or ``rect`` lies outside of it.
        """
        if self.rect is None:
            return None
        x, y, w, h = self.rect
        left, across = _extent(x, w, width, self.rect_anchor[0])
        top, down = _extent(y, h, height, self.rect_anchor[1])
        if across <= 0 or down <= 0 or (across, down) == (width, height):
            return None
        return left, top, across, down


def _extent(start: Length, length: Length, side: int, anchor: str) -> tuple[int, int]:
    size = max(1, min(side, _pixels(length, side)))
    if anchor in ("center", "middle"):
        return (side - size) // 2, size
    if anchor in ("right", "bottom"):
        return side - size, size
    first = _pixels(start, side)
    return first, min(size, side - first)


def _pixels(length: Length, side: int) -> int:
    return length if isinstance(length, int) else int(length * side + 0.5)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A picture to show where there is none yet. Sides in pixels; colours are chosen by ``seed`` unless given."""

    width: int
    height: int
    format: str = Format.WEBP
    text: str = ""
    background: Colour | None = None
    foreground: Colour | None = None
    seed: str = ""

    @property
    def id(self) -> str:
        """What it is called in file names."""
        return f"placeholder-{self.width}x{self.height}"
