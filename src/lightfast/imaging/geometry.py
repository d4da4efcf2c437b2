"""The arithmetic of sizes: what is cut from where, and how large it becomes. Nothing is decoded here.

Where both sides are given (``W × H``), the picture (``w × h`` after turning, trimming and ``rect``) becomes:

=========  ================================  ========  ==========================================================
fit        size of the answer                enlarges  what is left
=========  ================================  ========  ==========================================================
clip, max  within W × H, aspect kept         no        everything
crop       W × H                             yes       what covers W × H, the rest is cut off (``crop``)
min        aspect of W × H, within w × h     no        like crop
fill       W × H                             yes       everything, on a canvas
fillmax    W × H                             no        everything, on a canvas
scale      W × H                             yes       everything, distorted
=========  ================================  ========  ==========================================================

This is what imgix documents, but for ``clip``: there it enlarges, here the default never does; who wants more pixels
than there are asks for ``scale`` (or ``crop``, ``fill``). A missing side follows from the picture's aspect, for
``crop`` and ``fill`` from ``aspect`` if given, and with ``crop`` it is kept within ``max`` and ``min`` sizes, which
other fits ignore. Without any side, the picture keeps its size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from lightfast.errors import InvalidRequest
from lightfast.variant import Fit, Format, Length, Variant


class Size(NamedTuple):
    """Pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a render may cost. ``InvalidImage`` and ``TooLarge`` beyond the first five, ``InvalidRequest`` beyond
    ``pixels_out``; an animation with more than the last two say is treated as its first frame."""

    pixels_in: int = 50_000_000
    """In one frame of the source."""
    side_in: int = 65_535
    """Of a frame of the source: rows are kept as floating-point numbers, some hundred at a time."""
    pixels_gif: int = 12_000_000
    """In the canvas of a GIF: all of it is decoded at once, with four bytes a pixel, and 35 bytes are a whole GIF."""
    bytes_in: int = 100 * 1024 * 1024
    """In the file."""
    memory: int = 320 * 1024 * 1024
    """Bytes of a picture that has to be decoded as a whole, before it is made smaller."""
    pixels_out: int = 32_000_000
    """In what is made; of an animation in all frames."""
    frames: int = 500
    pixels_animated: int = 100_000_000
    """In all frames of the source."""


# Most pixels on a side that the container can say (RFC 6386 §9.1; ITU-T T.81 §B.2.2; GIF89a §18) or libvips writes.
_LONGEST = {Format.WEBP: 16383, Format.AVIF: 16384, Format.GIF: 65535, Format.JPG: 65500, Format.PJPG: 65500}
_LONGEST_PNG = 1_000_000
_MOST_UNSTOPPABLE = 8_000_000
"""Pixels in a frame of a GIF or of a lossless AVIF: noise takes these encoders some seconds, and they can't be
interrupted."""


_MOST_SCALED = 32_000_000
"""Pixels of a scaled picture a window of which is kept. To cover 100 × 80, one of 1 × 65535 would be 6553500 high."""


class Turn(NamedTuple):
    """One of the eight ways to lay down a picture: mirrored left to right or not, then quarters clockwise."""

    mirrored: bool
    quarters: int

    @property
    def swaps(self) -> bool:
        """Whether width and height change places."""
        return self.quarters % 2 == 1

    def then(self, quarters: int) -> Turn:
        return Turn(self.mirrored, (self.quarters + quarters) % 4)

    def flipped(self, how: str) -> Turn:
        """``how``: ``h`` left to right, ``v`` upside down, ``hv`` both."""
        turn = self
        if "h" in how:
            turn = Turn(not turn.mirrored, -turn.quarters % 4)
        if "v" in how:
            turn = Turn(not turn.mirrored, (2 - turn.quarters) % 4)
        return turn

    def apply(self, size: Size) -> Size:
        return Size(size.height, size.width) if self.swaps else size

    def undo(self, box: Box, size: Size) -> Box:
        """Where ``box`` of the turned picture lies in the picture before, which measures ``size``."""
        turned = self.apply(size)
        for _ in range(self.quarters):
            # A quarter anticlockwise: the right edge becomes the top.
            box = Box(box.top, turned.width - box.left - box.width, box.height, box.width)
            turned = Size(turned.height, turned.width)
        return box._replace(left=size.width - box.left - box.width) if self.mirrored else box


AS_IT_IS = Turn(False, 0)

# TIFF 6.0, tag 274: how the stored rows and columns are to be shown.
_ORIENTATIONS = {
    1: AS_IT_IS,
    2: Turn(True, 0),
    3: Turn(False, 2),
    4: Turn(True, 2),
    5: Turn(True, 3),
    6: Turn(False, 1),
    7: Turn(True, 1),
    8: Turn(False, 3),
}


@dataclass(frozen=True, slots=True)
class Tilt:
    """A rotation by no multiple of a right angle, and what is done before the picture goes on."""

    angle: int
    """Degrees anticlockwise, -89 to 89."""
    canvas: Size
    """What the tilted picture is laid on, centred."""
    cut: Box
    size: Size


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the pixels of a source, in this order."""

    cut: Box
    """Of the source, before it is turned."""
    size: Size
    """What that becomes, before it is turned."""
    turn: Turn
    tilt: Tilt | None
    window: Box
    """What is kept of it. The place does not count where ``entropy`` says so."""
    entropy: bool
    """Whether the most interesting place is to be looked for."""
    canvas: Box
    """Where the window lies in the answer (left, top), and the size of the answer."""

    @property
    def output(self) -> Size:
        return self.canvas.size

    @property
    def reduction(self) -> float:
        """How many times smaller a decoder may deliver the source, at most."""
        return min(self.cut.width / self.size.width, self.cut.height / self.size.height)

    def reduced(self, source: Size, delivered: Size) -> Plan:
        """The plan for a source that a decoder has made smaller."""
        return self if source == delivered else replace(self, cut=_scaled_box(self.cut, source, delivered))


def output_size(source: Size, variant: Variant, orientation: int = 1) -> Size | None:
    """How large ``variant`` of a source will be; ``None`` where only its pixels can tell, because of ``trim``.

    ``source`` as its header says, ``orientation`` that of its EXIF block. Raises ``InvalidRequest``.
    """
    exact = variant.fit in (Fit.CROP, Fit.FILL, Fit.FILLMAX, Fit.SCALE)
    pixels = isinstance(variant.width, int) and isinstance(variant.height, int)
    if variant.trim and not (exact and pixels):
        return None
    return make_plan(source, variant, orientation).output


def check_output(size: Size, target: Format, limits: Limits, *, lossless: bool = False) -> None:
    """Raises ``InvalidRequest`` where the answer would be larger than is allowed, or than its format can be."""
    longest = _LONGEST.get(target, _LONGEST_PNG)
    if max(size) > longest:
        raise InvalidRequest(
            f"The variant would be {size.width} × {size.height}; {target} has at most {longest} a side."
        )
    unstoppable = target is Format.GIF or (target is Format.AVIF and lossless)
    most = min(limits.pixels_out, _MOST_UNSTOPPABLE) if unstoppable else limits.pixels_out
    if size.pixels > most:
        raise InvalidRequest(f"The variant would be {size.width} × {size.height} pixels; the limit is {most} in all.")


def make_plan(source: Size, variant: Variant, orientation: int = 1, trimmed: Box | None = None) -> Plan:
    """Decide every size. ``trimmed``: the part of ``source`` that is no border. Raises ``InvalidRequest``."""
    kept = trimmed or Box(0, 0, *source)
    turn, angle = _turning(variant, orientation)
    upright = turn.apply(kept.size)
    whole = _bounds(upright, angle) if angle else upright
    region = Box(*(variant.region(*whole) or (0, 0, *whole)))
    scaled, window, canvas = _fit(region.size, variant)
    if scaled.pixels > _MOST_SCALED:
        region, scaled, window = _narrowed(region, scaled, window)
    entropy = "entropy" in variant.crop
    if not angle:
        cut = turn.undo(region, kept.size)
        cut = cut._replace(left=cut.left + kept.left, top=cut.top + kept.top)
        return Plan(cut, turn.apply(scaled), turn, None, window, entropy, canvas)
    # A tilted picture is made smaller first, as far as its answer allows: tilting costs per pixel.
    share = min(1.0, max(scaled.width / region.width, scaled.height / region.height))
    size = _times(kept.size, share)
    laid = _bounds(turn.apply(size), angle)
    part = _scaled_box(region, whole, laid)
    return Plan(kept, size, turn, Tilt(angle, laid, part, scaled), window, entropy, canvas)


def _turning(variant: Variant, orientation: int) -> tuple[Turn, int]:
    turn = _ORIENTATIONS.get(variant.orientation or orientation, AS_IT_IS)
    quarters, angle = divmod(variant.rotate % 360, 90)
    turn = turn.then(-quarters).flipped(variant.flip)
    # A tilt that is mirrored afterwards is the opposite tilt of the mirrored picture.
    return turn, -angle if len(variant.flip) == 1 else angle


def _bounds(size: Size, angle: int) -> Size:
    """What a tilted picture needs."""
    sine, cosine = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    return Size(
        _whole(size.width * cosine + size.height * sine),
        _whole(size.width * sine + size.height * cosine),
    )


def _fit(size: Size, variant: Variant) -> tuple[Size, Box, Box]:
    """What ``size`` is scaled to, the window that is kept of that, and where it lies in the answer."""
    asked = _asked(size, variant)
    box = asked or size
    match variant.fit:
        case Fit.CLIP | Fit.MAX | Fit.FILLMAX:
            scaled = _times(size, min(Fraction(1), _share(size, box, variant)))
        case Fit.FILL:
            scaled = _times(size, _share(size, box, variant))
        case Fit.SCALE:
            scaled = box
        case Fit.MIN:
            box = _times(box, min(Fraction(1), _share(box, size, variant)))
            scaled = _cover(size, box)
        case Fit.CROP:
            scaled = _cover(size, box)
    window = Box(0, 0, *scaled)
    if variant.fit in (Fit.MIN, Fit.CROP):
        window = _window(scaled, box, variant)
    frame = box if variant.fit in (Fit.FILL, Fit.FILLMAX) else window.size
    left, top = (frame.width - window.width) // 2, (frame.height - window.height) // 2
    pad = variant.pad
    return scaled, window, Box(left + pad, top + pad, frame.width + 2 * pad, frame.height + 2 * pad)


def _share(size: Size, box: Size, variant: Variant) -> Fraction:
    """By what ``size`` is multiplied for ``box``. A side that only follows from the other one, and so was rounded, does
    not count: the width of a wide picture would no longer be the one that was asked for."""
    shaped = variant.fit is Fit.FILL and variant.aspect is not None
    if variant.height is None and variant.width is not None and not shaped:
        return Fraction(box.width, size.width)
    if variant.width is None and variant.height is not None and not shaped:
        return Fraction(box.height, size.height)
    return _inside(size, box)


def _asked(size: Size, variant: Variant) -> Size | None:
    """The box that the picture itself has to fit, without padding; ``None``: no side is asked for."""
    width = None if variant.width is None else _without_pad(_length(variant.width, size.width), variant.pad)
    height = None if variant.height is None else _without_pad(_length(variant.height, size.height), variant.pad)
    cropped, shaped = variant.fit is Fit.CROP, variant.fit in (Fit.CROP, Fit.FILL)
    # Multiplied first: the quotient of two floats may lose an exact half.
    across, down = (variant.aspect, 1) if shaped and variant.aspect else size
    if width is not None and height is not None:
        return Size(width, height)
    if width is not None:
        height = _whole(width * down / across)
        return Size(width, _between(height, variant.min_height, variant.max_height) if cropped else height)
    if height is not None:
        width = _whole(height * across / down)
        return Size(_between(width, variant.min_width, variant.max_width) if cropped else width, height)
    if variant.fit is Fit.FILL:
        widest = max(size.width, size.height * across / down)
        return Size(_whole(widest), _whole(widest * down / across))
    if not cropped:
        return None
    widest = min(size.width, size.height * across / down)
    return Size(
        _between(_whole(widest), variant.min_width, variant.max_width),
        _between(_whole(widest * down / across), variant.min_height, variant.max_height),
    )


def _window(scaled: Size, box: Size, variant: Variant) -> Box:
    spare_width, spare_height = scaled.width - box.width, scaled.height - box.height
    if "focalpoint" in variant.crop:
        left = round(variant.focal_x * scaled.width - box.width / 2)
        top = round(variant.focal_y * scaled.height - box.height / 2)
        return Box(min(max(left, 0), spare_width), min(max(top, 0), spare_height), *box)
    left = 0 if "left" in variant.crop else spare_width if "right" in variant.crop else spare_width // 2
    top = 0 if "top" in variant.crop else spare_height if "bottom" in variant.crop else spare_height // 2
    return Box(left, top, *box)


def _narrowed(region: Box, scaled: Size, window: Box) -> tuple[Box, Size, Box]:
    """The same window of less: what would be cut off after scaling is not even taken from the source."""
    inner = _scaled_box(window, scaled, region.size)
    scaled = _cover(inner.size, window.size)
    left, top = (scaled.width - window.width) // 2, (scaled.height - window.height) // 2
    kept = Box(region.left + inner.left, region.top + inner.top, *inner.size)
    return kept, scaled, Box(left, top, *window.size)


def _without_pad(length: int, pad: int) -> int:
    if length <= 2 * pad:
        raise InvalidRequest(f"pad={pad} leaves nothing of {length} pixels; at most {(length - 1) // 2} would.")
    return length - 2 * pad


def _whole(length: float | Fraction) -> int:
    return max(1, math.floor(length + 0.5))


def _length(length: Length, side: int) -> int:
    return max(1, length) if isinstance(length, int) else _whole(length * side)


def _between(length: int, least: int | None, most: int | None) -> int:
    if most is not None:
        length = min(length, most)
    return length if least is None else max(length, least)


def _inside(size: Size, box: Size) -> Fraction:
    """By what ``size`` is multiplied to lie within ``box`` and touch it."""
    return min(Fraction(box.width, size.width), Fraction(box.height, size.height))


def _cover(size: Size, box: Size) -> Size:
    share = max(Fraction(box.width, size.width), Fraction(box.height, size.height))
    scaled = _times(size, share)
    return Size(max(scaled.width, box.width), max(scaled.height, box.height))


def _times(size: Size, share: float | Fraction) -> Size:
    return Size(_whole(size.width * share), _whole(size.height * share))


def _scaled_box(box: Box, whole: Size, laid: Size) -> Box:
    across, down = laid.width / whole.width, laid.height / whole.height
    left, top = min(round(box.left * across), laid.width - 1), min(round(box.top * down), laid.height - 1)
    width, height = _whole(box.width * across), _whole(box.height * down)
    return Box(left, top, min(width, laid.width - left), min(height, laid.height - top))
