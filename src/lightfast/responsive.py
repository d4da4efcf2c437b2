"""An ``<img>`` that lets each browser take the size that it needs, and shows the preview until it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightfast.addresses import Addresses
from lightfast.html import img_tag
from lightfast.imaging.geometry import Size
from lightfast.model import Meta, Preview

SMALLEST, MIDDLE = 128, 1080
"""Widths in pixels: the least that is offered, and the most that browsers without ``srcset`` get."""


def offered(sizes: Sequence[int], shown: Preview) -> Sequence[int]:
    """Those of ``sizes`` (pixels) that a page may need of an image."""
    return [size for size in sizes if SMALLEST <= size <= shown.width]


def responsive_img(
    addresses: Addresses,
    meta: Meta,
    shown: Preview,
    widths: Sequence[int],
    parameters: Mapping[str, object],
    *,
    sizes: str,
    alt: str,
    loading: str,
    decoding: str,
) -> str:
    """The image in each of ``widths`` (pixels); ``parameters`` of a variant hold for all.

    Raises as ``Addresses.of_variant``.
    """
    asked, natural = {"fm": "webp"} | dict(parameters), Size(shown.width, shown.height)
    candidates = addresses.of_widths(meta, asked, widths, natural)
    if candidates:
        src = [url for url, made in candidates if made.width <= MIDDLE or url == candidates[0][0]][-1]
        made = candidates[-1][1]
    elif parameters:
        src, made = addresses.of_whole(meta, asked, natural)
    else:
        src, made = addresses.of(meta), natural
    room = _room(natural, made)
    return img_tag(
        src,
        alt=alt,
        width=room.width,
        height=room.height,
        srcset=[(url, f"{made.width}w") for url, made in candidates],
        sizes=sizes if candidates else "",
        background="" if shown.transparent else shown.data_url,
        colour="" if shown.transparent else shown.colour,
        loading=loading,
        decoding=decoding,
    )


def _room(shown: Size, made: Size) -> Size:
    """What is kept free for pictures of the shape of ``made``: as wide as the image is shown."""
    height = shown.width * made.height / made.width
    # Its sides were rounded to whole pixels.
    return shown if abs(height - shown.height) * made.width <= shown.width else Size(shown.width, max(1, round(height)))
