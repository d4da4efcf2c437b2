"""Previews of real files: how they are turned, what colour they are, that they fit, what is refused."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st

from lightfast.errors import InvalidImage, RenderTimeout, UnsupportedMediaType
from lightfast.imaging.geometry import Limits
from lightfast.imaging.preview import MAX_DATA_URL, dominant, preview
from lightfast.imaging.stop import Stop
from lightfast.model import Preview


def image(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> pyvips.Image:
    height, width, bands = pixels.shape
    made = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, bands, "uchar")
    return made.copy(interpretation="srgb").copy_memory()


def plain(*colour: int, width: int = 120, height: int = 80) -> pyvips.Image:
    return image(np.full((height, width, len(colour)), colour, np.uint8))


def halves(width: int = 200, height: int = 100) -> pyvips.Image:
    """Red on the left, a third of it; blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 3] = (250, 10, 20)
    pixels[:, width // 3 :] = (20, 30, 240)
    return image(pixels)


def noise(width: int, height: int, bands: int) -> pyvips.Image:
    return image(np.random.default_rng(4).integers(0, 256, (height, width, bands), dtype=np.uint8))


def tiny(made: Preview) -> pyvips.Image:
    kind, _, data = made.data_url.partition(",")
    assert kind == "data:image/webp;base64"
    return pyvips.Image.new_from_buffer(base64.b64decode(data, validate=True), "")


def near(colour: str, expected: tuple[int, int, int], most: int = 8) -> bool:
    return all(abs(int(colour[at : at + 2], 16) - value) <= most for at, value in zip((1, 3, 5), expected, strict=True))


FILES = {
    "png": halves().pngsave_buffer(),
    "png interlaced": halves().pngsave_buffer(interlace=True),
    "png palette": halves().pngsave_buffer(palette=True),
    "png 16 bits": halves().colourspace("rgb16").pngsave_buffer(bitdepth=16),
    "jpeg": halves().jpegsave_buffer(Q=95),
    "webp": halves().webpsave_buffer(Q=95),
    "gif": halves().gifsave_buffer(),
    "avif": halves().heifsave_buffer(compression="av1", Q=90, effort=0),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format(name: str) -> None:
    made = preview(FILES[name])
    assert (made.width, made.height) == (200, 100)
    assert near(made.colour, (20, 30, 240))
    assert not made.transparent
    assert len(made.blurhash) == 28
    shown = tiny(made)
    assert (shown.width, shown.height, shown.bands) == (64, 32, 3)
    assert shown(8, 16)[0] > 180
    assert shown(8, 16)[2] < 90
    assert shown(50, 16)[2] > 180


def test_grey_and_cmyk() -> None:
    grey = preview(plain(90, 90, 90).colourspace("b-w").pngsave_buffer())
    assert near(grey.colour, (90, 90, 90), 1)
    cmyk = preview(plain(250, 10, 20).colourspace("cmyk").jpegsave_buffer())
    assert int(cmyk.colour[1:3], 16) > 200
    assert int(cmyk.colour[3:5], 16) < 80


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_upright(orientation: int) -> None:
    turned = halves().copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    made = preview(turned.jpegsave_buffer(Q=95))
    upright = turned.autorot()
    assert (made.width, made.height) == (upright.width, upright.height)
    expected = preview(upright.jpegsave_buffer(Q=95))
    assert made.thumbhash == expected.thumbhash
    assert (tiny(made).width, tiny(made).height) == (tiny(expected).width, tiny(expected).height)


@pytest.mark.parametrize("format", ["gif", "webp"])
def test_the_first_frame_of_an_animation(format: str) -> None:
    frames = pyvips.Image.arrayjoin([plain(0, 200, 0), plain(200, 0, 0), plain(0, 0, 200)], across=1).copy()
    frames.set_type(pyvips.GValue.gint_type, "page-height", 80)
    made = preview(frames.write_to_buffer(f".{format}"))
    assert (made.width, made.height) == (120, 80)
    assert near(made.colour, (0, 200, 0), 12)


def test_alpha_is_kept() -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, 32:] = (10, 160, 60, 255)
    made = preview(image(pixels).pngsave_buffer())
    assert made.transparent
    assert near(made.colour, (10, 160, 60))
    shown = tiny(made)
    assert shown.bands == 4
    assert (shown(8, 32)[3], shown(56, 32)[3]) == (0, 255)


def test_what_is_wholly_transparent_is_white() -> None:
    made = preview(plain(200, 0, 0, 0).pngsave_buffer())
    assert made.colour == "#ffffff"
    assert made.transparent
    assert made.blurhash == preview(plain(255, 255, 255).pngsave_buffer()).blurhash


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (500, 300), (64, 1), (3000, 1), (1, 3000), (1, 1)])
def test_the_data_url_is_short_whatever_is_shown(width: int, height: int, bands: int) -> None:
    made = preview(noise(width, height, bands).pngsave_buffer())
    assert len(made.data_url) <= MAX_DATA_URL < 1024
    assert max(tiny(made).width, tiny(made).height) <= 64
    assert (made.width, made.height) == (width, height)


def test_small_pictures_are_not_enlarged() -> None:
    assert (tiny(preview(halves(30, 20).pngsave_buffer())).width) == 30


def test_the_dominant_colour_is_a_mean_of_what_is_alike() -> None:
    """Two shades on both sides of the border of a cell are one colour, however many others there are."""
    pixels = np.full((10, 10, 4), 255, np.uint8)
    pixels[:4, :, :3] = 127
    pixels[4:7, :, :3] = 128
    pixels[7:, :, :3] = (250, 0, 0)
    assert dominant(pixels) == (127, 127, 127)
    pixels[:7, :, 3] = 20
    assert dominant(pixels) == (250, 0, 0)


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 4), min_size=1, max_size=30))
@settings(deadline=None)
def test_the_dominant_colour_is_near_one_that_is_there(colours: list[tuple[int, int, int, int]]) -> None:
    found = dominant(np.array([colours], np.uint8))
    visible = [colour for colour in colours if colour[3]] or [(255, 255, 255, 255)]
    assert any(all(abs(colour[band] - found[band]) < 32 for band in range(3)) for colour in visible)


def test_it_is_the_same_every_time() -> None:
    assert preview(FILES["jpeg"]) == preview(memoryview(FILES["jpeg"]))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", InvalidImage),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedMediaType),
        (FILES["png"][:-30], InvalidImage),
        (FILES["png"].replace(b"IDAT", b"IDAT\xff\xff\xff", 1), InvalidImage),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        preview(content)


def test_limits_and_deadline_are_those_of_a_render() -> None:
    with pytest.raises(InvalidImage, match="limit"):
        preview(FILES["png"], Limits(pixels_in=1000))
    stop = Stop(0.5)
    stop.stop()
    with pytest.raises(RenderTimeout):
        preview(FILES["png"], stop=stop)


def test_json_gives_back_what_was_written() -> None:
    made = preview(FILES["png"])
    assert Preview.from_json(made.to_json()) == made
    assert json.loads(made.to_json()) == dataclasses.asdict(made)


@pytest.mark.parametrize(
    "text",
    [b"", b"nothing", b"[]", b"{}", b"null", b'{"width": 1}'],
)
def test_other_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        Preview.from_json(text)


@pytest.mark.parametrize(("name", "value"), [("width", "1"), ("width", True), ("colour", 1), ("more", 1)])
def test_json_with_another_field_is_refused(name: str, value: object) -> None:
    fields = dataclasses.asdict(preview(FILES["png"]))
    with pytest.raises(ValueError, match="no preview"):
        Preview.from_json(json.dumps({**fields, name: value}).encode())
