"""Bytes in, bytes out: opens a source within its limits, has it transformed and encodes what comes out.

libvips is set up here, for the whole process: one thread for each picture, because many are made at once; no operation
is remembered, because answers are cached as bytes; no loader that is not meant for untrusted input.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from functools import cache

os.environ.setdefault("VIPS_CONCURRENCY", "1")
# What is decoded as a whole is decoded in memory, within a limit, and not into a file among the temporary ones.
os.environ.setdefault("VIPS_DISC_THRESHOLD", "4g")

import pyvips

from lightfast.errors import InvalidImage, InvalidRequest, TooLarge
from lightfast.imaging.encoders import ENCODERS, KEEP_METADATA, KEEP_NOTHING, Encoding
from lightfast.imaging.failures import FAILURES, forget_message
from lightfast.imaging.geometry import Limits, check_output, make_plan
from lightfast.imaging.source import Source
from lightfast.imaging.stop import Stop
from lightfast.imaging.transform import Job, transform
from lightfast.model import Content, Picture
from lightfast.variant import MEDIA_TYPES, Format, Variant

pyvips.concurrency_set(int(os.environ["VIPS_CONCURRENCY"]))
pyvips.cache_set_max(0)
pyvips.block_untrusted_set(True)
# libvips warns of every oddity of a source, and whoever sends them decides how many there are.
logging.getLogger("pyvips").setLevel(logging.ERROR)

_REVISION = 3
"""Of what is made here from the same source and variant by the same libraries."""

_SAME: Mapping[str, Format] = {media_type: it for it, media_type in MEDIA_TYPES.items() if it is not Format.PJPG}

ANIMATED = frozenset({Format.WEBP, Format.GIF})
"""The formats in which an animation stays one."""


def target_format(source: str, variant: Variant) -> Format:
    """What ``variant`` of a source of this media type is encoded as. Raises ``InvalidRequest`` for other sources."""
    if variant.format is not None:
        return variant.format
    if source not in _SAME:
        raise InvalidRequest(f"There are no variants of {source}.")
    return _SAME[source]


def output_format(source: str, variant: Variant) -> str:
    """The media type of ``variant``, known before it is made. ``source``: the media type of the source.

    It does not depend on whether the source is animated: where the format has no animations here, the first frame is
    made.
    """
    return MEDIA_TYPES[target_format(source, variant)]


def render(content: Content, variant: Variant, limits: Limits, stop: Stop, *, keep_metadata: bool = False) -> Picture:
    """Make ``variant`` of ``content``. Blocks; for a thread of the ``RenderPool``.

    The answer is sRGB with 8 bits a channel and upright, and without metadata unless they are to be kept. The same
    arguments give the same bytes.

    Raises ``UnsupportedMediaType``, ``TooLarge`` and ``InvalidImage`` where the source can't be decoded within its
    limits, ``InvalidRequest`` where the answer would be too large, ``RenderTimeout`` once stopped.
    """
    stop.check()
    if len(content) > limits.bytes_in:
        raise TooLarge(limits.bytes_in)
    try:
        return _render(content, variant, limits, stop, KEEP_METADATA if keep_metadata else KEEP_NOTHING)
    except FAILURES as error:
        forget_message()
        stop.check()
        raise InvalidImage("The image can't be decoded: its data is damaged.") from error
    finally:
        stop.forget()


def _render(content: Content, variant: Variant, limits: Limits, stop: Stop, keep: int) -> Picture:
    source = Source(content, limits, stop)
    target = target_format(source.media_type, variant)
    trimmed = source.trimmed() if variant.trim else None
    plan = make_plan(source.size, variant, source.orientation, trimmed)
    check_output(plan.output, target, limits, lossless=variant.lossless)
    count = source.frames if target in ANIMATED else 1
    if not source.movable(count) or count * plan.output.pixels > limits.pixels_out:
        count = 1
    frames, plan = source.load(count, plan)
    image = _transformed(frames, Job(plan, variant, target), stop).copy()
    _describe(image, plan.output.height)
    stop.watch(image)
    content = ENCODERS[target](image, Encoding(variant, count * plan.output.pixels, keep))
    stop.check()
    return Picture(content, MEDIA_TYPES[target], plan.output.width, plan.output.height)


def _transformed(frames: list[pyvips.Image], job: Job, stop: Stop) -> pyvips.Image:
    """One frame, or several below each other. Of several each is made before the next is begun: what libvips keeps in
    memory for one that is under way is many times what comes out of it.
    """
    if len(frames) == 1:
        return transform(frames[0], job, stop.watch)[0]
    made: list[pyvips.Image] = []
    for frame in frames:
        image, job = transform(frame, job, stop.watch)
        made.append(image.copy_memory())
        stop.forget(but=frames)
    return pyvips.Image.arrayjoin(made, across=1)


def _describe(image: pyvips.Image, page_height: int) -> None:
    """What the encoders read from the metadata, as it is now: frames lie below each other, all is upright and sRGB."""
    image.set_type(pyvips.GValue.gint_type, "page-height", page_height)
    if image.get_typeof("orientation"):
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    for name in ("icc-profile-data", "jpeg-thumbnail-data"):
        if image.get_typeof(name):
            image.remove(name)


def _fingerprint() -> str:
    """What the encoders that are linked here make of a small picture: their versions can't be asked for."""
    ramp = pyvips.Image.xyz(32, 32)
    small = ramp.bandjoin(ramp[0] + ramp[1]).linear(4, 0).cast("uchar").copy(interpretation="srgb")
    made = hashlib.md5(usedforsecurity=False)
    for target, encode in ENCODERS.items():
        made.update(encode(small, Encoding(Variant(format=target), 1024, KEEP_NOTHING)))
    return made.hexdigest()[:8]


@cache
def encoder_version() -> str:
    """Part of every variant's ETag: other libraries or another revision of this room may make other bytes.

    Found out when it is first asked for, and not by an import: what is made for it is made in threads of libvips, and
    a server first wants to say where threads allocate.
    """
    library = ".".join(str(pyvips.version(part)) for part in range(3))
    return f"{library}-{_fingerprint()}-{_REVISION}"
