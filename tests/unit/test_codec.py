"""What the codec takes and gives: kinds of sources, formats, metadata, limits, and files that mean harm."""

from __future__ import annotations

import contextlib
import pickle
import struct
import subprocess
import sys
import threading
import zlib
from typing import Any

import numpy as np
import pytest
import pyvips
from tests.golden.pictures import image, made, pixels_of, png_chunk, png_file, scene, strip
from tests.golden.ssim import ssim

from lightfast.errors import InvalidImage, InvalidRequest, LightfastError, RenderTimeout, TooLarge, UnsupportedMediaType
from lightfast.imaging.codec import encoder_version, output_format, render
from lightfast.imaging.geometry import Limits
from lightfast.imaging.stop import Stop
from lightfast.sniff import sniff
from lightfast.variant import Fit, Format, Variant

SCENE = scene()
PNG = image(SCENE).pngsave_buffer()
MEDIA_TYPES = {
    Format.AVIF: "image/avif",
    Format.WEBP: "image/webp",
    Format.JPG: "image/jpeg",
    Format.PJPG: "image/jpeg",
    Format.PNG: "image/png",
    Format.GIF: "image/gif",
}


def plain(colour: tuple[int, ...], interpretation: str = "srgb", kind: Any = np.uint8) -> pyvips.Image:
    return image(np.full((40, 40, len(colour)), colour, kind), interpretation)


def colour_of(source: bytes, **wish: Any) -> list[int]:
    pixels = pixels_of(made(source, Variant(**{"format": Format.PNG, **wish})).content)
    return [int(value) for value in pixels[20, 20]] if not wish.get("width") else [int(it) for it in pixels[2, 2]]


@pytest.mark.parametrize("target", [None, *Format])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".gif"])
def test_the_media_type_is_known_before(suffix: str, target: Format | None) -> None:
    source = image(SCENE).write_to_buffer(suffix)
    media_type = sniff(source).media_type
    variant = Variant(width=60, format=target, fast=True)
    picture = made(source, variant)
    found = sniff(picture.content)
    assert picture.media_type == found.media_type == output_format(media_type, variant)
    assert (picture.width, picture.height) == (found.width, found.height) == (60, 40)
    assert found.media_type == (media_type if target is None else MEDIA_TYPES[target])


def test_the_type_of_an_unknown_source_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="image/tiff"):
        output_format("image/tiff", Variant())


def test_pjpg_is_progressive_and_jpg_is_not() -> None:
    for target, progressive in ((Format.JPG, False), (Format.PJPG, True)):
        content = made(PNG, Variant(format=target)).content
        assert (b"\xff\xc2" in content) is progressive


@pytest.mark.parametrize("target", Format)
def test_the_same_arguments_give_the_same_bytes(target: Format) -> None:
    variant = Variant(width=100, format=target, blur=10)
    assert made(PNG, variant) == made(PNG, variant)


def test_the_encoder_version_is_the_same_in_every_process() -> None:
    program = "from lightfast.imaging.codec import encoder_version; print(encoder_version())"
    other = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert other.strip() == encoder_version()
    assert encoder_version().isascii()


def test_sixteen_bits() -> None:
    source = plain((65535, 32768, 257), "rgb16", np.uint16).pngsave_buffer()
    assert colour_of(source) == [255, 128, 1]
    clear = plain((65535, 32768, 257, 32768), "rgb16", np.uint16).pngsave_buffer()
    assert np.abs(np.array(colour_of(clear)) - (255, 128, 1, 128)).max() <= 1
    assert np.abs(np.array(colour_of(clear, width=4)) - (255, 128, 1, 128)).max() <= 1
    ten_bits = plain((65535, 32768, 257), "rgb16", np.uint16).heifsave_buffer(compression="av1", bitdepth=10)
    assert np.abs(np.array(colour_of(ten_bits)) - (255, 128, 1)).max() <= 4


def test_grey() -> None:
    assert colour_of(plain((90,), "b-w").pngsave_buffer()) == [90, 90, 90]
    assert colour_of(plain((90, 130), "b-w").pngsave_buffer()) == [90, 90, 90, 130]
    assert colour_of(plain((25700,), "grey16", np.uint16).pngsave_buffer()) == [100, 100, 100]
    assert np.abs(np.array(colour_of(plain((90,), "b-w").jpegsave_buffer())) - 90).max() <= 1


def test_palettes() -> None:
    source = image(SCENE).pngsave_buffer(palette=True, dither=0)
    assert ssim(pixels_of(made(source, Variant(format=Format.PNG)).content), SCENE) > 0.9
    two = image(np.where(SCENE[..., :1] > 120, 255, 0).astype(np.uint8), "b-w").pngsave_buffer(bitdepth=1)
    assert set(np.unique(pixels_of(made(two, Variant()).content))) == {0, 255}
    red, clear = b"\xff\0\0", b"\x20"
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 40, 8, 3, 0, 0, 0))
    body = png_chunk(b"PLTE", red) + png_chunk(b"tRNS", clear) + png_chunk(b"IDAT", zlib.compress(b"\0" * 41 * 40))
    assert colour_of(PNG[:8] + ihdr + body + png_chunk(b"IEND", b"")) == [255, 0, 0, 0x20]


def test_cmyk_with_and_without_a_profile() -> None:
    cyan = plain((255, 0, 0, 0), "cmyk")
    for source in (cyan.jpegsave_buffer(Q=100), cyan.jpegsave_buffer(Q=100, profile="cmyk")):
        red, green, blue = colour_of(source)
        assert red < 60
        assert green > 120
        assert blue > 180
    white = plain((0, 0, 0, 0), "cmyk").jpegsave_buffer(Q=100)
    assert min(colour_of(white)) > 250


def test_an_embedded_profile_is_applied_and_left_out() -> None:
    source = plain((234, 51, 35)).icc_transform("p3", input_profile="srgb").jpegsave_buffer(Q=100, profile="p3")
    stored = pyvips.Image.new_from_buffer(source, "")
    assert np.abs(np.array(stored(5, 5)) - (234, 51, 35)).max() > 10
    assert np.abs(np.array(colour_of(source)) - (234, 51, 35)).max() <= 4
    for target in Format:
        encoded = made(source, Variant(format=target)).content
        assert not pyvips.Image.new_from_buffer(encoded, "").get_typeof("icc-profile-data")


@pytest.mark.parametrize("profile", [b"", b"\0" * 200, b"no profile at all" * 40])
def test_a_broken_profile_counts_as_none(profile: bytes) -> None:
    chunk = png_chunk(b"iCCP", b"broken\0\0" + zlib.compress(profile))
    source = plain((10, 20, 30)).pngsave_buffer()
    assert colour_of(source[:33] + chunk + source[33:]) == [10, 20, 30]


def test_metadata_are_left_out_unless_they_are_to_be_kept() -> None:
    secret = image(SCENE).copy()
    secret.set_type(pyvips.GValue.gint_type, "orientation", 6)
    secret.set_type(pyvips.GValue.gstr_type, "exif-ifd0-ImageDescription", "a secret prompt")
    secret.set_type(pyvips.GValue.gstr_type, "exif-ifd3-GPSLatitude", "52/1 31/1 0/1")
    secret.set_type(pyvips.GValue.blob_type, "xmp-data", b"<x:xmpmeta>a secret prompt</x:xmpmeta>")
    text = png_chunk(b"tEXt", b"parameters\0a secret prompt")
    png = secret.pngsave_buffer()
    for source in (png[:33] + text + png[33:], secret.jpegsave_buffer(), secret.webpsave_buffer()):
        assert b"secret" in source
        for target in Format:
            assert b"secret" not in made(source, Variant(format=target)).content
    kept = render(secret.jpegsave_buffer(), Variant(), Limits(), Stop(9), keep_metadata=True)
    assert b"secret" in kept.content
    assert (kept.width, kept.height) == (160, 240)
    assert pyvips.Image.new_from_buffer(kept.content, "").get("orientation") == 1


def test_bytes_may_lie_in_a_view() -> None:
    assert render(memoryview(PNG), Variant(width=9), Limits(), Stop(9)) == made(PNG, Variant(width=9))


# Limits


@pytest.mark.parametrize(
    ("limits", "error", "message"),
    [
        (Limits(pixels_in=38_399), InvalidImage, "240 × 160"),
        (Limits(bytes_in=100), TooLarge, "100 bytes"),
        (Limits(pixels_out=38_399), InvalidRequest, "240 × 160"),
    ],
)
def test_limits(limits: Limits, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made(PNG, Variant(), limits)


def test_what_must_be_decoded_as_a_whole_has_a_limit_of_its_own() -> None:
    interlaced = image(SCENE).pngsave_buffer(interlace=True)
    limits = Limits(memory=SCENE.size - 1)
    with pytest.raises(InvalidImage, match="memory"):
        made(interlaced, Variant(width=10), limits)
    assert made(PNG, Variant(width=10), limits).width == 10


def test_enlarging_has_a_limit_and_so_has_a_side() -> None:
    with pytest.raises(InvalidRequest, match="16383"):
        made(PNG, Variant(width=20000, height=10, fit=Fit.SCALE, format=Format.WEBP))
    with pytest.raises(InvalidRequest, match="32000000"):
        made(PNG, Variant(width=8000, height=8000, fit=Fit.CROP))


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (Limits(), 6),
        (Limits(frames=6), 6),
        (Limits(frames=5), 1),
        (Limits(pixels_animated=6 * SCENE[..., 0].size - 1), 1),
        (Limits(pixels_out=6 * 60 * 40 - 1), 1),
    ],
)
@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_beyond_the_limits_is_its_first_frame(suffix: str, limits: Limits, count: int) -> None:
    source = strip(*(np.roll(SCENE, 40 * step, axis=1) for step in range(6))).write_to_buffer(suffix)
    picture = made(source, Variant(width=60), limits)
    assert pyvips.Image.new_from_buffer(picture.content, "", n=-1).get_n_pages() == count
    assert (picture.width, picture.height) == (60, 40)


# Harm


def gif_file(width: int, height: int, frames: int) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00"
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + frame * frames + b"\x3b"


def webp_file(width: int, height: int, frames: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size + b"ANIM" + struct.pack("<I", 6) + b"\0" * 6
    body += (b"ANMF" + struct.pack("<I", 32) + b"\0" * 32) * frames
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


TEXT = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * (40 << 20), 9))
BOMBS = {
    "png": lambda: png_file(60_000, 60_000),
    "png in one direction": lambda: png_file(2**31 - 1, 1),
    "png just over": lambda: png_file(7072, 7072),
    "gif": lambda: gif_file(65_535, 65_535, 100),
    "webp": lambda: webp_file(16_383, 16_383, 100),
    "gif within the limit of other types": lambda: gif_file(3500, 3500, 1),
    "frames of a gif": lambda: gif_file(1000, 1000, 60_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_without_being_decoded(name: str) -> None:
    content = BOMBS[name]()
    with pytest.raises(InvalidImage):
        made(content, Variant(width=64))


def test_a_bomb_costs_no_memory() -> None:
    """In a process of its own, whose peak is measured: 50 MiB at most, before and after all of them."""
    program = (
        "import pickle, resource, sys\n"
        "from lightfast.errors import InvalidImage\n"
        "from lightfast.imaging.codec import Limits, Stop, render\n"
        "from lightfast.variant import Variant\n"
        "contents = pickle.load(sys.stdin.buffer)\n"
        "for number, content in enumerate(contents):\n"
        "    try:\n"
        "        render(content, Variant(width=9), Limits(), Stop(9))\n"
        "    except InvalidImage:\n"
        "        pass\n"
        "    if number == 0:\n"
        "        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    contents = [PNG, *(bomb() for bomb in BOMBS.values()), PNG[:33] + TEXT * 10 + PNG[33:]]
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(contents), capture_output=True, check=True
    )
    assert int(done.stdout) < 50 * 1024


@pytest.mark.parametrize(("letters", "kept"), [(1_000, True), (400_000, False)])
def test_long_packed_texts_are_not_even_unpacked(letters: int, kept: bool) -> None:
    text = np.random.default_rng(1).integers(97, 123, letters, np.uint8).tobytes()
    source = PNG[:33] + png_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(text)) + PNG[33:]
    picture = render(source, Variant(), Limits(), Stop(9), keep_metadata=True)
    assert (b"prompt\0" in picture.content) is kept
    assert np.array_equal(pixels_of(picture.content), SCENE)


def test_a_message_that_quotes_bytes_of_a_file_is_a_refusal_like_others() -> None:
    """pyvips can't read such a message, nor any after it, until the buffer of messages is emptied."""
    for _ in range(2):
        pyvips.vips_lib.vips_foreign_find_load(b"no file \xff\xfe")
        with pytest.raises(UnicodeDecodeError):
            pyvips.Image.pngload_buffer(b"no PNG")
        with pytest.raises(InvalidImage, match="damaged"):
            made(png_file(9, 9), Variant(width=5))
        with pytest.raises(pyvips.Error):
            pyvips.Image.pngload_buffer(b"no PNG")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpg[interlace]", ".webp", ".webp[lossless]", ".avif", ".gif"])
def test_a_truncated_file_is_no_image(suffix: str) -> None:
    source = image(SCENE).write_to_buffer(suffix)
    for length in range(0, len(source), max(1, len(source) // 60)):
        with pytest.raises((InvalidImage, UnsupportedMediaType)):
            made(source[:length], Variant(width=9))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif"])
def test_data_cut_short_in_a_whole_container_are_no_image(suffix: str) -> None:
    """The structure says that all is there, but the pixels are not. (A JPEG like that is shown, as browsers do.)"""
    noise = image(np.random.default_rng(3).integers(0, 255, (160, 240, 3), np.uint8).astype(np.uint8))
    source = noise.write_to_buffer(suffix)
    middle = len(source) // 2
    match suffix[:4]:
        case ".png":
            at = source.index(b"IDAT") - 4
            cut = source[:at] + png_chunk(b"IDAT", source[at + 8 : middle]) + source[-12:]
        case ".web":
            data = source[20:middle] + b"\0" * (middle % 2)
            cut = b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8 " + struct.pack("<I", len(data)) + data
        case _:
            cut = source[: source.rindex(b"\x2c")] + b"\x3b"
    with pytest.raises(InvalidImage):
        made(cut, Variant(width=9, format=Format.PNG))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpg[interlace]", ".webp", ".avif", ".gif"])
def test_mutations_give_a_picture_or_a_refusal(suffix: str) -> None:
    random = np.random.default_rng(11)
    source = np.frombuffer(strip(SCENE[:60, :80], SCENE[60:120, :80]).write_to_buffer(suffix), np.uint8)
    for _ in range(60):
        mutant = source.copy()
        mutant[random.integers(0, len(mutant), 1 + random.integers(0, 8))] = random.integers(0, 256)
        with contextlib.suppress(LightfastError):
            assert made(mutant.tobytes(), Variant(width=20, format=Format.WEBP)).width <= 20


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"II*\0" + b"\0" * 99,
        b"P6 1 1 255 abc",
    ],
)
def test_other_types_are_refused(content: bytes) -> None:
    with pytest.raises((UnsupportedMediaType, InvalidImage)):
        made(content, Variant())


def test_loaders_for_trusted_input_are_off() -> None:
    with pytest.raises(pyvips.Error):
        pyvips.Image.new_from_buffer(b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "")


# Stopping


NOISE = np.random.default_rng(5).integers(0, 256, (1500, 1500, 3), np.uint8)


@pytest.mark.parametrize(
    "wish",
    [
        {"format": Format.WEBP, "width": 5000, "fit": Fit.SCALE},
        {"format": Format.WEBP, "width": 5000, "fit": Fit.SCALE, "lossless": True},
        {"format": Format.PNG, "width": 5000, "fit": Fit.SCALE},
        {"format": Format.JPG, "width": 5600, "fit": Fit.SCALE, "blur": 30},
        {"format": Format.PNG, "width": 5000, "fit": Fit.SCALE, "rotate": 30},
    ],
)
def test_a_stopped_render_ends(wish: dict[str, Any]) -> None:
    """Each would take a second or more. It is stopped once it has something to stop."""
    source, stop, errors = image(NOISE).pngsave_buffer(compression=0), Stop(0.25), []

    def work() -> None:
        try:
            render(source, Variant(**wish), Limits(), stop)
        except RenderTimeout as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    timer = threading.Timer(0.1, stop.stop)
    thread.start()
    timer.start()
    thread.join(60)
    assert not thread.is_alive()
    assert [error.limit for error in errors] == [0.25]
    # libvips itself gave up: what runs to its end and is found to be late has no such cause.
    assert isinstance(errors[0].__context__, pyvips.Error)


def test_a_stopped_animation_ends_with_its_frame() -> None:
    source, stop = gif_file(447, 447, 500), Stop(0.25)
    timer = threading.Timer(0.1, stop.stop)
    timer.start()
    with pytest.raises(RenderTimeout) as caught:
        render(source, Variant(width=64, format=Format.WEBP), Limits(), stop)
    assert isinstance(caught.value.__context__, pyvips.Error)


def test_what_is_stopped_already_does_not_start() -> None:
    stop = Stop(3)
    stop.stop()
    with pytest.raises(RenderTimeout, match="3 seconds"):
        render(PNG, Variant(), Limits(), stop)
