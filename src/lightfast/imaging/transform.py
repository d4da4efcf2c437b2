"""What is done to the pixels, as a list of steps. Each takes a libvips image and gives one back; nothing is computed
until the encoder asks for rows, unless a step needs the whole picture in memory.

The order is that of ``Variant``, but that colours, blur and sharpness come before the canvas: padding and background
are exactly of the colour asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyvips

from lightfast.imaging.failures import FAILURES, forget_message
from lightfast.imaging.geometry import AS_IT_IS, Box, Plan, Size, Turn
from lightfast.variant import Colour, Format, Variant

WHITE: Colour = (255, 255, 255, 255)
CLEAR: Colour = (0, 0, 0, 0)

# ITU-R BT.709: what each of red, green and blue adds to luminance.
_LUMA = (0.2126, 0.7152, 0.0722)

_PIXELS_PER_BLUR = 0.1
"""Standard deviation in pixels of the answer for one unit of ``blur``."""
_SMALL_BLUR = 4.0
"""Standard deviation from which on a picture is blurred at a smaller size: the cost no longer grows with it."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the steps go by."""

    plan: Plan
    variant: Variant
    target: Format

    @property
    def keeps_alpha(self) -> bool:
        return self.target not in (Format.JPG, Format.PJPG)

    @property
    def ground(self) -> Colour:
        """What lies where there is no picture."""
        return self.variant.background or (CLEAR if self.keeps_alpha else WHITE)


Step = Callable[[pyvips.Image, Job], pyvips.Image]
Watch = Callable[[pyvips.Image], None]


def cut(image: pyvips.Image, job: Job) -> pyvips.Image:
    return _crop(image, job.plan.cut)


def resize(image: pyvips.Image, job: Job) -> pyvips.Image:
    return _resize(image, job.plan.size)


def to_srgb(image: pyvips.Image, job: Job) -> pyvips.Image:
    """Eight bits a channel, sRGB, with or without alpha. By the embedded profile where there is a usable one."""
    if image.get_typeof("icc-profile-data"):
        try:
            image = image.icc_transform("srgb", embedded=True, intent="relative", black_point_compensation=True)
        except FAILURES:
            forget_message()
            # A profile that is broken, or for another kind of picture: as if there were none.
            image = image.copy()
            image.remove("icc-profile-data")
    return image.colourspace("srgb").cast("uchar")


def turn(image: pyvips.Image, job: Job) -> pyvips.Image:
    laid = job.plan.turn
    return image if laid == AS_IT_IS else _turn(image.copy_memory(), laid)


def tilt(image: pyvips.Image, job: Job) -> pyvips.Image:
    tilt = job.plan.tilt
    if tilt is None:
        return image
    tilted = _with_alpha(image.copy_memory()).similarity(
        angle=-tilt.angle, interpolate=pyvips.Interpolate.new("bicubic"), background=list(CLEAR)
    )
    laid = tilted.gravity("centre", *tilt.canvas, extend="background", background=list(CLEAR))
    return _resize(_crop(laid, tilt.cut), tilt.size).cast("uchar")


def crop(image: pyvips.Image, job: Job) -> pyvips.Image:
    return _crop(image, job.plan.window)


def colours(image: pyvips.Image, job: Job) -> pyvips.Image:
    """Brightness, contrast, saturation and monochrome: each is linear, so all of them are one matrix."""
    matrix, offset = _colour_matrix(job.variant)
    if matrix is None:
        return image
    return _on_colours(image, lambda rgb: (rgb.recomb(matrix) + offset).cast("uchar"))


def blur(image: pyvips.Image, job: Job) -> pyvips.Image:
    sigma = job.variant.blur * _PIXELS_PER_BLUR
    if not sigma:
        return image
    size, shrink = Size(image.width, image.height), max(1.0, sigma / _SMALL_BLUR)
    small = Size(max(1, round(size.width / shrink)), max(1, round(size.height / shrink)))
    blurred = _resize(image, small).gaussblur(sigma * small.width / size.width, min_ampl=0.05, precision="float")
    return _resize(blurred, size, "cubic").cast("uchar")


def sharpen(image: pyvips.Image, job: Job) -> pyvips.Image:
    """An unsharp mask of one pixel: 100 adds two and a half times the difference."""
    amount = job.variant.sharpen
    if not amount:
        return image
    soft = (1, 2, 1, 2, 4, 2, 1, 2, 1)
    mask = [-amount * weight for weight in soft]
    mask[4] += (40 + amount) * 16
    kernel = pyvips.Image.new_from_array([mask[at : at + 3] for at in (0, 3, 6)], scale=640)
    return _on_colours(image, lambda rgb: rgb.conv(kernel, precision="integer"))


def canvas(image: pyvips.Image, job: Job) -> pyvips.Image:
    left, top, width, height = job.plan.canvas
    if (width, height) == (image.width, image.height):
        return image
    ground = job.ground
    if image.hasalpha() or ground[3] < 255:
        # Where the picture is clear the background shows, so it lies under it, too.
        image = _with_alpha(image)
        clear = image.embed(left, top, width, height, extend="background", background=list(CLEAR))
        return clear if ground == CLEAR else _over(clear, ground)
    return image.embed(left, top, width, height, extend="background", background=list(ground[:3]))


def flatten(image: pyvips.Image, job: Job) -> pyvips.Image:
    """On ``background``, if one is given; what is still clear then on white, if the format has no alpha."""
    if image.hasalpha() and job.variant.background:
        image = _over(image, job.variant.background)
    if image.hasalpha() and not job.keeps_alpha:
        image = image.flatten(background=list(WHITE[:3]))
    return image


_LAY_OUT: Sequence[Step] = (cut, resize, to_srgb, turn, tilt)
_FINISH: Sequence[Step] = (crop, colours, blur, sharpen, canvas, flatten)
STEPS: Sequence[Step] = (*_LAY_OUT, *_FINISH)


def transform(frame: pyvips.Image, job: Job, watch: Watch) -> tuple[pyvips.Image, Job]:
    """Make of ``frame`` what ``job`` says. With it, the job for the frames after it: all are cropped where this one is.

    ``watch`` is shown what each step gives.
    """
    frame = _run(_LAY_OUT, frame, job, watch)
    if job.plan.entropy:
        frame = frame.copy_memory()
        window = _most_interesting(frame, job.plan.window)
        job = replace(job, plan=replace(job.plan, window=window, entropy=False))
    return _run(_FINISH, frame, job, watch), job


def _run(steps: Sequence[Step], frame: pyvips.Image, job: Job, watch: Watch) -> pyvips.Image:
    for step in steps:
        frame = step(frame, job)
        watch(frame)
    return frame


def _most_interesting(image: pyvips.Image, window: Box) -> Box:
    found = image.smartcrop(window.width, window.height, interesting="entropy")
    return window._replace(left=-found.xoffset, top=-found.yoffset)


def _crop(image: pyvips.Image, box: Box) -> pyvips.Image:
    return image if box == (0, 0, image.width, image.height) else image.crop(*box)


def _resize(image: pyvips.Image, size: Size, kernel: str = "lanczos3") -> pyvips.Image:
    if size == (image.width, image.height):
        return image
    across, down = size.width / image.width, size.height / image.height
    if not image.hasalpha():
        return image.resize(across, vscale=down, kernel=kernel)
    # Clear pixels have a colour, too, and must not bleed into their neighbours.
    scaled = image.premultiply().resize(across, vscale=down, kernel=kernel)
    return scaled.unpremultiply().cast(image.format)


def _turn(image: pyvips.Image, turn: Turn) -> pyvips.Image:
    if turn.mirrored:
        image = image.fliphor()
    return image.rot(f"d{90 * turn.quarters}") if turn.quarters else image


def _with_alpha(image: pyvips.Image) -> pyvips.Image:
    return image if image.hasalpha() else image.bandjoin(255)


def _on_colours(image: pyvips.Image, change: Callable[[pyvips.Image], pyvips.Image]) -> pyvips.Image:
    if not image.hasalpha():
        return change(image)
    return change(image[:3]).bandjoin(image[3])


def _over(image: pyvips.Image, ground: Colour) -> pyvips.Image:
    if ground[3] == 255:
        return image.flatten(background=list(ground[:3]))
    below = image.new_from_image(list(ground)).copy(interpretation="srgb")
    return below.composite2(image, "over").cast("uchar")


def _colour_matrix(variant: Variant) -> tuple[list[list[float]] | None, list[float]]:
    """Rows of red, green and blue, and what is added; ``None`` where nothing is to be changed."""
    if not (variant.brightness or variant.contrast or variant.saturation or variant.monochrome):
        return None, []
    contrast = math.tan((variant.contrast + 100) * math.pi / 400.001)
    offset = [(2.55 * variant.brightness - 127.5) * contrast + 127.5] * 3
    saturation = 1 + variant.saturation / 100
    rows = [
        [contrast * ((1 - saturation) * luma + (saturation if band == row else 0)) for band, luma in enumerate(_LUMA)]
        for row in range(3)
    ]
    if variant.monochrome:
        rows, offset = _tinted(rows, offset, variant.monochrome)
    return rows, offset


def _tinted(rows: list[list[float]], offset: list[float], colour: Colour) -> tuple[list[list[float]], list[float]]:
    """Luminance in shades of ``colour`` instead of the colours, as far as its alpha says."""
    much = colour[3] / 255
    grey = [sum(share * row[band] for share, row in zip(_LUMA, rows, strict=True)) for band in range(3)]
    level = sum(share * added for share, added in zip(_LUMA, offset, strict=True))
    tints = [much * shade / 255 for shade in colour[:3]]
    mixed = [
        [(1 - much) * value + tint * common for value, common in zip(row, grey, strict=True)]
        for row, tint in zip(rows, tints, strict=True)
    ]
    return mixed, [(1 - much) * added + tint * level for added, tint in zip(offset, tints, strict=True)]
