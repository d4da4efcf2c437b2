"""The encoders, and how hard each tries. Speed counts: whoever asks for a variant waits for it.

Effort depends on the variant and on the size of what is made, never on the time that is left, so that the same wish
gives the same bytes. Measured on 512 × 512 pixels of a painted picture, one core:

========  ==========================  =====================================================================
WebP      effort 2 of 6               6 ms; effort 4 takes 16 ms and needs 6 to 28 % fewer bytes for one SSIM
AVIF      effort 4 of 9, if small     200 to 280 ms; 3: 55 ms, 5 to 13 % more bytes; 0 (``fast``): 11 ms, 40 to 80 %
PNG       level 6, filter Sub         25 ms; without a filter 12 ms and a quarter to a half more bytes
GIF       effort 7 of 10, if small    120 ms; effort 1: 60 ms, and visibly worse
========  ==========================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyvips

from lightfast.variant import Format, Variant

WEBP_QUALITY = 80
JPEG_QUALITY = 80
AVIF_QUALITY = 50

_AVIF_EFFORTS = ((400_000, 4), (3_000_000, 3), (16_000_000, 1))
_AVIF_LOSSLESS_EFFORTS = ((4_000_000, 1),)
"""Up to how many pixels which effort, else 0: libaom can't be interrupted, and noise takes it some seconds."""
_GIF_CAREFUL = 400_000
"""Up to how many pixels in all frames the palette is chosen with care."""

KEEP_NOTHING = 0
KEEP_METADATA = int(
    pyvips.enums.ForeignKeep.EXIF
    | pyvips.enums.ForeignKeep.XMP
    | pyvips.enums.ForeignKeep.IPTC
    | pyvips.enums.ForeignKeep.OTHER
)
"""Everything but the profile: it has been applied."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a picture is to be written. ``pixels`` of all frames."""

    variant: Variant
    pixels: int
    keep: int


def _webp(image: pyvips.Image, how: Encoding) -> bytes:
    quality = how.variant.quality or WEBP_QUALITY
    if how.variant.lossless:
        # The quality says how hard a lossless encoder tries, too.
        return bytes(image.webpsave_buffer(lossless=True, Q=75, effort=1, keep=how.keep))
    return bytes(image.webpsave_buffer(Q=quality, effort=2, keep=how.keep))


def _avif(image: pyvips.Image, how: Encoding) -> bytes:
    efforts = _AVIF_LOSSLESS_EFFORTS if how.variant.lossless else _AVIF_EFFORTS
    effort = 0 if how.variant.fast else next((effort for most, effort in efforts if how.pixels <= most), 0)
    return bytes(
        image.heifsave_buffer(
            compression="av1",
            Q=how.variant.quality or AVIF_QUALITY,
            lossless=how.variant.lossless,
            bitdepth=8,
            effort=effort,
            keep=how.keep,
        )
    )


def _jpeg(image: pyvips.Image, how: Encoding) -> bytes:
    return bytes(
        image.jpegsave_buffer(
            Q=how.variant.quality or JPEG_QUALITY,
            optimize_coding=True,
            interlace=how.variant.format is Format.PJPG,
            keep=how.keep,
        )
    )


def _png(image: pyvips.Image, how: Encoding) -> bytes:
    return bytes(image.pngsave_buffer(compression=3 if how.variant.fast else 6, filter="sub", keep=how.keep))


def _gif(image: pyvips.Image, how: Encoding) -> bytes:
    careful = how.pixels <= _GIF_CAREFUL and not how.variant.fast
    return bytes(image.gifsave_buffer(effort=7 if careful else 1, keep=how.keep))


ENCODERS: Mapping[Format, Callable[[pyvips.Image, Encoding], bytes]] = {
    Format.AVIF: _avif,
    Format.WEBP: _webp,
    Format.JPG: _jpeg,
    Format.PJPG: _jpeg,
    Format.PNG: _png,
    Format.GIF: _gif,
}
