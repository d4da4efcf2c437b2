"""Render every fit, crop, turn, adjustment and format of one picture into one PNG: ``contact_sheet.py FILE.png``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from lightfast.imaging.codec import render
from lightfast.imaging.geometry import Limits
from lightfast.imaging.stop import Stop
from lightfast.variant import Fit, Format, Variant

CELL = 150
COLUMNS = 8
PAPER, INK = (238, 238, 238), (40, 40, 40)
SAND = (214, 178, 120, 255)


def source() -> pyvips.Image:
    """A landscape with an F in it, which no turn leaves alone: a sky, a sun at the upper right, a meadow."""
    width, height = 360, 240
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    picture = np.stack([90 + 130 * y, 140 + 60 * y, 220 - 60 * y], axis=-1)
    meadow = y > 0.72 + 0.05 * np.sin(9 * x)
    picture[meadow] = np.stack([70 + 60 * x, 130 + 40 * x, 60 + 0 * x], axis=-1)[meadow]
    picture[np.hypot((x - 0.8) * 1.5, y - 0.25) < 0.11] = (255, 226, 130)
    for left, top, across, down in ((0.15, 0.2, 0.05, 0.55), (0.15, 0.2, 0.25, 0.08), (0.15, 0.43, 0.18, 0.07)):
        picture[(x >= left) & (x < left + across) & (y >= top) & (y < top + down)] = (190, 40, 50)
    return pyvips.Image.new_from_array(picture.astype(np.uint8)).copy(interpretation="srgb")


def oriented(image: pyvips.Image, orientation: int) -> bytes:
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return bytes(image.jpegsave_buffer(Q=92))


def cells(image: pyvips.Image) -> Iterator[tuple[str, bytes, Variant]]:
    """The label, the source and the variant of each cell."""
    png = bytes(image.pngsave_buffer())
    box: Mapping[str, Any] = {"width": 120, "height": 120, "format": Format.PNG}
    fitted = Variant(**box)
    yield "no parameter", png, Variant(format=Format.PNG)
    for fit in Fit:
        yield f"fit={fit}", png, replace(fitted, fit=fit, background=SAND)
    little = bytes(image.thumbnail_image(72).pngsave_buffer())
    for fit in Fit:
        yield f"72 × 48, fit={fit}", little, replace(fitted, fit=fit, background=SAND)
    yield "72 × 48, rotate=45", little, replace(fitted, rotate=45)
    for crop in ("center", "left", "right", "top", "bottom", "entropy", "focalpoint"):
        tall = replace(fitted, fit=Fit.CROP, crop=(crop,), focal_x=0.8, focal_y=0.25, width=140, height=60)
        yield f"crop={crop}", png, tall if crop in ("top", "bottom", "entropy") else replace(tall, width=60, height=140)
    yield "fit=fill, no bg", png, replace(fitted, fit=Fit.FILL)
    for orientation in range(1, 9):
        yield f"EXIF {orientation}", oriented(image, orientation), Variant(width=100, height=100, format=Format.PNG)
    small = replace(fitted, width=130, height=130)
    for wish in (
        {"rotate": 90}, {"rotate": 30}, {"rotate": 30, "background": SAND}, {"flip": "h"}, {"flip": "v"},
        {"flip": "hv"}, {"rect": (0.6, 0.05, 0.4, 0.4)}, {"pad": 12, "background": SAND},
        {"brightness": 30}, {"contrast": 50}, {"saturation": -100}, {"saturation": 60},
        {"monochrome": (180, 120, 60, 255)}, {"blur": 30}, {"blur": 200}, {"sharpen": 100},
    ):  # fmt: skip
        yield (
            ", ".join(f"{name.removeprefix('back')}={_short(value)}" for name, value in wish.items()),
            png,
            replace(small, **wish),
        )
    for target in Format:
        yield f"fm={target}", png, Variant(width=130, format=target)
    yield "fm=jpg, q=5", png, Variant(width=130, format=Format.JPG, quality=5)
    yield "fm=avif, fast", png, Variant(width=130, format=Format.AVIF, fast=True)
    disc = (pyvips.Image.mask_ideal(360, 240, 0.8, uchar=True, reject=True, optical=True) > 0).cast("uchar")
    clear = bytes(image.bandjoin(disc).pngsave_buffer())
    for target in Format:
        yield f"alpha, fm={target}", clear, Variant(width=130, format=target)
    yield "alpha, bg, fm=jpg", clear, Variant(width=130, format=Format.JPG, background=SAND)
    framed = bytes(image.embed(70, 30, 500, 300, extend="background", background=[255, 255, 255]).pngsave_buffer())
    yield "framed", framed, Variant(width=130, format=Format.PNG)
    yield "framed, trim", framed, Variant(width=130, format=Format.PNG, trim=True)


def _short(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return "".join(f"{part:02x}" for part in value[:3]) if value[0] > 1 else ",".join(map(str, value))


def board() -> pyvips.Image:
    """Squares of two greys: where a picture is clear, they show."""
    x = pyvips.Image.xyz(CELL, CELL)
    odd = ((x[0] / 8).floor() + (x[1] / 8).floor()) % 2
    return (odd * 24 + 215).cast("uchar").bandjoin([(odd * 24 + 215).cast("uchar")] * 2).copy(interpretation="srgb")


def cell(label: str, content: bytes, variant: Variant) -> pyvips.Image:
    picture = render(content, variant, Limits(), Stop(60))
    shown = pyvips.Image.new_from_buffer(picture.content, "").colourspace("srgb")
    size = f"{picture.width} × {picture.height}"
    if max(picture.width, picture.height) > CELL:
        shown = shown.thumbnail_image(CELL)
    shown = shown if shown.hasalpha() else shown.addalpha()
    left, top = (CELL - shown.width) // 2, (CELL - shown.height) // 2
    laid = board().addalpha().composite2(shown, "over", x=left, y=top).flatten().cast("uchar")
    sheet = laid.embed(6, 6, CELL + 12, CELL + 46, extend="background", background=list(PAPER))
    for row, text in enumerate((label, f"{size}, {len(picture.content):,} bytes")):
        mask = pyvips.Image.text(text, font="sans 8", dpi=84)
        sheet = sheet.composite2(
            mask.new_from_image(list(INK)).bandjoin(mask).copy(interpretation="srgb"),
            "over",
            x=6,
            y=CELL + 10 + 17 * row,
        )
    return sheet.flatten().cast("uchar") if sheet.hasalpha() else sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    path = parser.parse_args().file
    sheets = [cell(*it) for it in cells(source())]
    sheet = pyvips.Image.arrayjoin(sheets, across=COLUMNS, background=list(PAPER))
    path.write_bytes(sheet.pngsave_buffer())
    print(f"{path}: {len(sheets)} variants")


if __name__ == "__main__":
    main()
