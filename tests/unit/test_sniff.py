"""Type and size from the bytes alone, on real files, on their every prefix, and on hostile ones."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st

from lightfast.errors import InvalidImage, UnsupportedMediaType
from lightfast.sniff import EXTENSIONS, MAX_BLOCKS, MAX_SUB_BLOCKS, Sniffed, media_type_essence, sniff

UPLOAD_LIMIT = 25 * 1024 * 1024


def picture(width: int, height: int, bands: int = 3) -> pyvips.Image:
    ramp = pyvips.Image.xyz(width, height).cast("uchar")
    return ramp.bandjoin([ramp[0]] * (bands - 2)).copy(interpretation="srgb")


SMALL = picture(31, 17)
CLEAR = picture(31, 17, 4)
FILES: dict[str, tuple[str, bytes]] = {
    "png": ("image/png", SMALL.pngsave_buffer()),
    "png interlaced": ("image/png", SMALL.pngsave_buffer(interlace=True)),
    "png alpha": ("image/png", CLEAR.pngsave_buffer()),
    "jpeg": ("image/jpeg", SMALL.jpegsave_buffer()),
    "jpeg progressive": ("image/jpeg", SMALL.jpegsave_buffer(interlace=True)),
    "webp lossy": ("image/webp", SMALL.webpsave_buffer()),
    "webp lossless": ("image/webp", SMALL.webpsave_buffer(lossless=True)),
    "webp extended": ("image/webp", CLEAR.webpsave_buffer()),
    "gif": ("image/gif", SMALL.gifsave_buffer()),
    "avif": ("image/avif", SMALL.heifsave_buffer(compression="av1")),
    "avif alpha": ("image/avif", CLEAR.heifsave_buffer(compression="av1")),
}
PNG, JPEG, WEBP, GIF, AVIF = (FILES[name][1] for name in ("png", "jpeg", "webp extended", "gif", "avif"))


def refusal(content: bytes, max_pixels: int = 50_000_000) -> str:
    with pytest.raises(InvalidImage) as caught:
        sniff(content, max_pixels)
    return str(caught.value)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def png_header(width: int, height: int) -> bytes:
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG[:8] + struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))


@pytest.mark.parametrize("name", FILES)
def test_real_files_tell_their_type_and_size(name: str) -> None:
    media_type, content = FILES[name]
    assert sniff(content) == Sniffed(media_type, 31, 17)


@pytest.mark.parametrize("size", [(1, 1), (1, 257), (300, 2), (1021, 769)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".avif"])
def test_odd_sizes(suffix: str, size: tuple[int, int]) -> None:
    found = sniff(picture(*size).write_to_buffer(suffix))
    assert (found.width, found.height) == size
    assert EXTENSIONS[found.media_type] == suffix


@pytest.mark.parametrize("name", FILES)
def test_no_proper_prefix_is_an_image(name: str) -> None:
    media_type, content = FILES[name]
    for length in range(len(content)):
        with pytest.raises((InvalidImage, UnsupportedMediaType)):
            sniff(content[:length])
    assert sniff(content).media_type == media_type


@pytest.mark.parametrize("content", [PNG, JPEG, WEBP, GIF], ids=["png", "jpeg", "webp", "gif"])
def test_what_follows_the_end_is_tolerated(content: bytes) -> None:
    assert sniff(content + b"<p>garbage") == sniff(content)


def test_boxes_of_an_avif_must_fill_the_file() -> None:
    assert sniff(AVIF + box(b"free", b"padding")) == sniff(AVIF)
    assert "truncated" in refusal(AVIF + b"<p>")


def test_an_avif_whose_last_box_is_open_ended_cannot_tell_where_it_was_cut() -> None:
    at = AVIF.index(b"mdat") - 4
    assert sniff(AVIF[:at] + b"\0\0\0\0" + AVIF[at + 4 : -1]) == sniff(AVIF)


def test_an_animation_has_the_size_of_its_canvas() -> None:
    frames = pyvips.Image.arrayjoin([SMALL, SMALL.invert(), SMALL], across=1).copy()
    frames.set_type(pyvips.GValue.gint_type, "page-height", 17)
    for media_type, content in (
        ("image/webp", frames.webpsave_buffer()),
        ("image/gif", frames.gifsave_buffer()),
    ):
        assert sniff(content) == Sniffed(media_type, 31, 17)


def test_an_exif_orientation_is_not_applied() -> None:
    turned = SMALL.copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 6)
    assert sniff(turned.jpegsave_buffer()) == Sniffed("image/jpeg", 31, 17)


def test_a_thumbnail_within_a_jpeg_is_not_the_picture() -> None:
    thumbnail = picture(7, 5).jpegsave_buffer()
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    assert sniff(JPEG[:2] + b"\xff\xff\xff" + segment + JPEG[2:]) == Sniffed("image/jpeg", 31, 17)
    assert "truncated" in refusal(JPEG[:2] + segment + JPEG[2:-2])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (png_header(0, 5), "0 × 5"),
        (png_header(5, 0) + PNG[33:], "5 × 0"),
        (png_header(60_000, 60_000), "60000 × 60000 pixels; the limit is 50000000"),
        (png_header(60_000, 60_000) + PNG[33:], "60000 × 60000"),
        (png_header(5, 5) + b"\0\0\0\0IEND\xaeB`\x82", "no IDAT"),
        (PNG[:18] + b"\x01" + PNG[19:], "checksum of its IHDR"),
        (PNG[:8] + PNG[33:], "no IHDR"),
        (PNG[:33] + b"\xff\xff\xff\xffIDAT" + PNG[41:], "truncated"),
        (JPEG[:2] + b"\xff\xd9", "before it ends"),
        (JPEG[:2] + b"\xff\xe0\x00\x01" + JPEG[2:], "length"),
        (JPEG[:2] + b"\xff\xe0\x00\x02no" + JPEG[2:], "no marker"),
        (JPEG[:2] + JPEG[JPEG.index(b"\xff\xda") :], "no frame"),
        (GIF[:6] + b"\0\0" + GIF[8:], "0 × 17"),
        (b"GIF89a\x05\0\x05\0\0\0\0;", "no image"),
        (b"GIF89a<script>alert(1)</script>", "neither image nor extension"),
        (WEBP[:4] + b"\xff\xff\xff\xff" + WEBP[8:], "truncated"),
        (WEBP[:8] + b"WEBPJUNK" + WEBP[16:], "first chunk"),
        (b"RIFF" + struct.pack("<I", 22) + WEBP[8:30], "no picture"),
        (WEBP[:34] + b"\xff\xff\xff" + WEBP[37:], "over the end"),
        (AVIF[: AVIF[3]], "no meta box"),
        (AVIF[: AVIF[3]] + box(b"meta", bytes(4)), "no iprp box"),
        (AVIF[: AVIF[3]] + box(b"meta", bytes(4), box(b"iprp", box(b"ipco"))), "0 × 0"),
        (AVIF[: AVIF[3]] + box(b"meta", bytes(4), b"\0\0\0\x10iprp") + AVIF, "truncated"),
        (AVIF[: AVIF.index(b"mdat") - 4], "truncated"),
        (AVIF[: AVIF[3]] + b"\0\0\0\x04meta", "shorter"),
    ],
)
def test_unusable_images_are_refused_with_their_reason(content: bytes, reason: str) -> None:
    assert reason in refusal(content)


def test_the_limit_is_the_callers() -> None:
    assert sniff(PNG, max_pixels=31 * 17).width == 31
    assert "31 × 17 pixels; the limit is 526" in refusal(PNG, 31 * 17 - 1)


def test_a_first_gif_frame_that_reaches_over_the_canvas_enlarges_it() -> None:
    at = GIF.index(b"\x2c\0\0\0\0\x1f\0\x11\0")
    huge = GIF[: at + 5] + struct.pack("<HH", 60_000, 60_000) + GIF[at + 9 :]
    assert "60000 × 60000" in refusal(huge)
    tiny_canvas = GIF[:6] + struct.pack("<HH", 2, 2) + GIF[10:]
    decoded = pyvips.Image.new_from_buffer(tiny_canvas, "")
    assert sniff(tiny_canvas) == Sniffed("image/gif", decoded.width, decoded.height)


def avif(properties: bytes, *associations: bytes, primary: bytes = b"\0\0\0\0\0\x02") -> bytes:
    iprp = box(b"iprp", box(b"ipco", properties), *(box(b"ipma", entry) for entry in associations))
    return box(b"ftyp", b"mif1\0\0\0\0avif") + box(b"meta", bytes(4), box(b"pitm", primary), iprp) + box(b"mdat", b"x")


SIZES = box(b"ispe", struct.pack(">III", 0, 9000, 10)) + box(b"ispe", struct.pack(">III", 0, 40, 30))
TURN = box(b"irot", b"\x01")


@pytest.mark.parametrize(
    ("content", "width", "height"),
    [
        (avif(SIZES, b"\0\0\0\0\0\0\0\x02\0\x01\x01\x81\0\x02\x01\x82"), 40, 30),
        (avif(SIZES + TURN, b"\0\0\0\0\0\0\0\x01\0\x02\x02\x02\x83"), 30, 40),
        (avif(SIZES + box(b"irot", b"\x02"), b"\0\0\0\0\0\0\0\x01\0\x02\x02\x02\x83"), 40, 30),
        (avif(SIZES + TURN, b"\0\0\0\x01\0\0\0\x01\0\x02\x02\x00\x02\x80\x03"), 30, 40),
        (avif(SIZES, b"\x01\0\0\0\0\0\0\x01\0\0\0\x02\x01\x02", primary=b"\x01\0\0\0\0\0\0\x02"), 40, 30),
        (avif(SIZES, b"\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\x01\0\x02\x01\x02"), 40, 30),
        (avif(SIZES, b"\0\0\0\0\0\0\0\x01\0\x07\x01\x02"), 9000, 10),
        (avif(SIZES, b"\0\0\0\0\0\0\0\x01\0\x02\x01\x7f"), 9000, 10),
        (avif(SIZES), 9000, 10),
    ],
    ids=["own", "turned", "half turn", "15-bit", "32-bit item", "second ipma", "foreign", "dangling", "none"],
)
def test_the_size_of_an_avif_is_that_of_its_primary_item(content: bytes, width: int, height: int) -> None:
    assert sniff(content) == Sniffed("image/avif", width, height)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG"),
        (SMALL.tiffsave_buffer(), "a TIFF"),
        (b"BM\x9a\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00", "a BMP"),
        (box(b"ftyp", b"heic\0\0\0\0mif1heic"), "a HEIC"),
        (box(b"ftyp", b"isom\0\0\0\0mp42"), "an ISO media file"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\n<!DOCTYPE html><title>Not found</title>", "HTML"),
        (b'{"base64_data": "iVBORw0KGgo"}', "JSON"),
        (b"data:image/png;base64,iVBORw0KGgo", "base64 text"),
        (base64.b64encode(PNG), "base64 text"),
        (base64.b64encode(AVIF), "base64 text"),
        (base64.b64encode(b"\x01\x02\x03" * 300), "base64 text"),
        (b"secret words", "unknown bytes"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "unknown bytes"),
    ],
)
def test_other_types_are_named_and_never_quoted(content: bytes, name: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        sniff(content)
    message = str(caught.value)
    assert name in message
    assert "image/avif" in message
    assert "secret" not in message


def endless(part: bytes) -> bytes:
    return part * (UPLOAD_LIMIT // len(part))


@pytest.mark.parametrize(
    ("content", "limit"),
    [
        (PNG[:33] + endless(b"\0\0\0\0tEXt\0\0\0\0"), MAX_BLOCKS),
        (JPEG[:2] + endless(b"\xff\xe0\0\2"), MAX_BLOCKS),
        (JPEG[:2] + endless(b"\xff\xd0"), MAX_BLOCKS),
        (GIF[:-2] + endless(b"\1x"), MAX_SUB_BLOCKS),
        (GIF[:-1] + endless(b"\x21\xfe" + b"\1x" * 100 + b"\0"), MAX_SUB_BLOCKS),
        (GIF[:-1] + endless(b"\x21\xfe\0"), MAX_BLOCKS),
        (b"RIFF\0\0\x80\1" + WEBP[8:] + endless(b"EXIF\0\0\0\0"), MAX_BLOCKS),
        (AVIF + endless(b"\0\0\0\x08free"), MAX_BLOCKS),
        (avif(SIZES, b"\0\0\0\0\x7f\0\0\0" + endless(b"\0\7\0")), MAX_BLOCKS),
    ],
    ids=[
        "png",
        "jpeg",
        "jpeg bare",
        "gif sub-blocks",
        "gif comments",
        "gif blocks",
        "webp",
        "avif",
        "avif associations",
    ],
)
def test_files_made_of_endless_parts_are_refused_by_a_bound(content: bytes, limit: int) -> None:
    assert f"more than {limit} parts" in refusal(content)


def test_a_jpeg_has_a_bound_for_its_scans() -> None:
    """The decoder goes over every pixel for each of them, and a scan that changes nothing has some fifty bytes."""
    progressive = FILES["jpeg progressive"][1]
    last = progressive[progressive.rindex(b"\xff\xda") : -2]
    more = 64 - progressive.count(b"\xff\xda")
    assert sniff(progressive[:-2] + last * more + b"\xff\xd9").width == 31
    assert "more than 64 parts" in refusal(progressive[:-2] + last * (more + 1) + b"\xff\xd9")
    assert sniff(progressive + b"\xff\xda" * 100 + b"\xff\xd9").width == 31


def test_endless_fill_bytes_are_passed_in_one_step() -> None:
    assert "truncated" in refusal(b"\xff\xd8" + endless(b"\xff"))
    assert sniff(JPEG[:2] + endless(b"\xff") + JPEG[2:]).width == 31


def test_nested_boxes_are_not_followed() -> None:
    nested = b"".join(struct.pack(">I4sI", UPLOAD_LIMIT - 12 * depth, b"meta", 0) for depth in range(100_000))
    assert "no iprp box" in refusal(AVIF[: AVIF[3]] + nested + bytes(UPLOAD_LIMIT - len(nested)))


def only_says_no(content: bytes) -> None:
    try:
        found = sniff(content)
    except (InvalidImage, UnsupportedMediaType):
        return
    assert found.media_type in EXTENSIONS
    assert 0 < found.width * found.height <= 50_000_000


MAGICS = st.sampled_from([b"", *(content[:length] for _, content in FILES.values() for length in (12, 40))])


@given(magic=MAGICS, tail=st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_else(magic: bytes, tail: bytes) -> None:
    only_says_no(magic + tail)


@settings(max_examples=500)
@given(data=st.data(), name=st.sampled_from(sorted(FILES)))
def test_mutated_files_raise_nothing_else(data: st.DataObject, name: str) -> None:
    content = bytearray(FILES[name][1])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        length = data.draw(st.integers(0, 12))
        content[at : at + length] = data.draw(st.binary(max_size=12))
    only_says_no(bytes(content))


@pytest.mark.parametrize(
    ("value", "essence"),
    [
        ("image/png", "image/png"),
        ("IMAGE/PNG ; charset=utf-8", "image/png"),
        ("image/jpg", "image/jpeg"),
        ("image/pjpeg", "image/jpeg"),
        ("image/X-PNG", "image/png"),
        ("\timage/webp", "image/webp"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_the_essence_of_a_content_type(value: str, essence: str) -> None:
    assert media_type_essence(value) == essence
