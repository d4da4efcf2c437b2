"""Placeholders: the same bytes for the same wish, small, legible, within bounds."""

from __future__ import annotations

import string
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st

from lightfast.errors import InvalidRequest, RenderTimeout
from lightfast.imaging.gradient import MIN_CONTRAST, contrast, gradient, to_rgb
from lightfast.imaging.label import label
from lightfast.imaging.placeholder import placeholder
from lightfast.imaging.stop import Stop
from lightfast.imaging.strokes import ASCENT, DESCENT, GLYPHS, glyphs
from lightfast.sniff import sniff
from lightfast.variant import Colour, Format

RED: Colour = (200, 30, 40, 255)
GLASS: Colour = (0, 120, 200, 128)
COLOURS = st.tuples(*[st.integers(0, 255)] * 4)


def decode(content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(pyvips.Image.new_from_buffer(content, "").numpy())


@pytest.mark.parametrize("format", ["webp", "png", "jpg", "jpeg", "avif", Format.WEBP])
@pytest.mark.parametrize("background", [None, RED, GLASS])
def test_it_is_of_the_size_and_format_asked_for(format: str, background: Colour | None) -> None:
    made = placeholder(160, 90, text="Hi", background=background, format=format)
    found = sniff(made.content)
    assert (found.media_type, found.width, found.height) == (made.media_type, 160, 90)
    assert (made.width, made.height) == (160, 90)
    assert made.media_type == {"jpg": "image/jpeg"}.get(format, f"image/{format}")
    again = placeholder(160, 90, text="Hi", background=background, format=format)
    assert again.content == made.content


def test_it_is_the_same_in_another_process_and_without_fonts(tmp_path: Path) -> None:
    fonts = tmp_path / "fonts.conf"
    fonts.write_text("<fontconfig></fontconfig>")
    script = (
        "import sys; from lightfast.imaging.placeholder import placeholder; "
        "sys.stdout.buffer.write(placeholder(300, 200, text='Größe', seed='x').content)"
    )
    environment = {"FONTCONFIG_FILE": str(fonts), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert done.stdout == placeholder(300, 200, text="Größe", seed="x").content


def test_the_seed_changes_it() -> None:
    assert len({placeholder(64, 64, seed=str(seed)).content for seed in range(20)}) == 20
    assert len({placeholder(64, 64, seed=str(seed), background=RED).content for seed in range(20)}) == 20


def test_webp_is_at_least_30_percent_smaller_than_optimised_png() -> None:
    for seed in range(50):
        # PNG holds the pixels as they were drawn.
        drawn = placeholder(240, 126, text="240 × 126", seed=str(seed), format="png").content
        webp = placeholder(240, 126, text="240 × 126", seed=str(seed)).content
        assert len(webp) <= 0.7 * smallest_png(drawn), seed


def smallest_png(content: bytes) -> int:
    """Bytes of the smallest of several filters and of a palette (which is coarser), at the highest level."""
    image = pyvips.Image.new_from_buffer(content, "").copy_memory()
    filters = ("none", "up", "paeth", "all")
    choices: list[dict[str, Any]] = [{"filter": it} for it in filters]
    choices.append({"palette": True, "dither": 0, "effort": 1})
    return min(len(image.pngsave_buffer(compression=9, keep="none", **it)) for it in choices)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "The width of a placeholder is 1 to 4096 pixels, not 0."),
        ({"height": 4097}, "The height of a placeholder is 1 to 4096 pixels, not 4097."),
        ({"width": 4096, "height": 4096}, "at most 16000000 pixels; 4096 × 4096 are more"),
        ({"text": "x" * 101}, "The text of a placeholder is at most 100 characters; 'xxxxxxxxxxxxxxxx…' has 101."),
        ({"seed": "s" * 65}, "The seed of a placeholder is at most 64 characters; 'ssssssssssssssss…' has 65."),
        ({"format": "gif"}, "The format of a placeholder is one of webp, png, jpg, jpeg, avif, not 'gif'."),
    ],
)
def test_what_is_out_of_bounds_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        placeholder(**{"width": 10, "height": 10, **arguments})
    assert message in str(caught.value)


def test_it_ends_when_told_to() -> None:
    stop = Stop(2)
    stop.stop()
    with pytest.raises(RenderTimeout):
        placeholder(100, 100, stop=stop)


def test_a_large_clear_one_ends_soon() -> None:
    """libwebp can't be interrupted in an alpha channel, and anybody may ask for a placeholder."""
    begun = time.process_time()
    placeholder(2048, 1950, background=GLASS)
    clear = time.process_time() - begun
    begun = time.process_time()
    placeholder(2048, 1950, background=RED)
    assert clear < 3.5 * (time.process_time() - begun)


def test_a_large_label_takes_little_memory() -> None:
    side = 1500
    tracemalloc.start()
    try:
        placeholder(side, side, text="No picture yet " * 6, format="jpg")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 25 * side * side


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 4096), (4096, 1), (3, 5), (4096, 64)])
def test_extreme_sizes(width: int, height: int) -> None:
    made = placeholder(width, height, text="A label")
    found = sniff(made.content)
    assert (found.width, found.height) == (width, height)


def test_strips_do_not_show() -> None:
    """Painted a strip at a time, a picture changes from row to row as softly as within one."""
    rows = gradient("seam", None).paint(1024, 600).astype(int)
    assert np.abs(np.diff(rows, axis=0)).max() <= 1
    assert np.abs(np.diff(rows, axis=1)).max() <= 1


@given(st.text(max_size=64), st.none() | COLOURS)
@settings(max_examples=60, deadline=None)
def test_a_gradient_is_soft_and_near_its_background(seed: str, background: Colour | None) -> None:
    pixels = gradient(seed, background).paint(32, 24)
    assert pixels.shape == (24, 32, 3 if background is None or background[3] == 255 else 4)
    spread = pixels[:, :, :3].astype(int)
    assert (spread.max(axis=(0, 1)) - spread.min(axis=(0, 1))).max() < 160
    if background is not None:
        assert np.abs(spread.mean(axis=(0, 1)) - background[:3]).max() < 40


@given(st.text(max_size=64))
@settings(max_examples=200, deadline=None)
def test_a_label_can_be_read_on_every_seed(seed: str) -> None:
    made = gradient(seed, None)
    assert min(contrast(made.ink(), to_rgb(it)) for row in made.controls for it in row) >= MIN_CONTRAST


@given(COLOURS)
@settings(max_examples=200, deadline=None)
def test_a_label_can_be_read_on_every_background(background: Colour) -> None:
    made = gradient("", background)
    behind = [255 + (value - 255) * background[3] // 255 for value in background[:3]]
    assert contrast(made.ink(), behind) >= 3.5


def test_the_label_is_in_the_colour_asked_for_and_in_the_middle() -> None:
    pixels = decode(placeholder(400, 200, text="H", background=RED, foreground=(0, 255, 0, 255), format="png").content)
    rows, columns = np.nonzero((pixels == (0, 255, 0)).all(axis=2))
    assert abs((rows.min() + rows.max()) / 2 - 99.5) <= 1
    assert abs((columns.min() + columns.max()) / 2 - 199.5) <= 1


def test_transparent_colours_are_laid_over_each_other() -> None:
    plain = decode(placeholder(200, 100, background=GLASS, format="png").content)
    assert (plain[:, :, 3] == 128).all()
    drawn = decode(placeholder(200, 100, text="H", background=GLASS, foreground=(9, 9, 9, 128), format="png").content)
    # 128/255 over 128/255: 1 - (127/255)² of 255.
    assert drawn[:, :, 3].max() == 192
    on_white = decode(placeholder(200, 100, background=GLASS, format="jpg").content)
    assert on_white.shape == (100, 200, 3)
    clear = placeholder(200, 100, text="H", background=(0, 0, 0, 0), foreground=(0, 0, 0, 0), format="png")
    assert not decode(clear.content)[:, :, 3].any()


@pytest.mark.parametrize("text", ["x", "a b c d e f g h", "W" * 100, "two words", "word " * 20, "Ågçñ" * 25])
@pytest.mark.parametrize(("width", "height"), [(400, 300), (300, 1000), (4096, 200), (200, 200)])
def test_a_label_fits(text: str, width: int, height: int) -> None:
    shape = label(text, width, height)
    if shape is not None:
        rows, columns = np.nonzero(shape.coverage)
        assert shape.left + columns.min() >= 0.07 * width
        assert shape.left + columns.max() < 0.93 * width
        assert shape.top + rows.min() >= 0.02 * height
        assert shape.top + rows.max() < 0.98 * height


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b"])
def test_no_text_is_no_label(text: str) -> None:
    shape = label(text, 300, 200)
    assert shape is None or not shape.coverage.any()
    assert placeholder(300, 200, text=text).content == placeholder(300, 200).content


def test_what_nobody_could_read_is_left_out() -> None:
    assert label("x" * 100, 100, 100) is None
    assert label("x", 16, 16) is None


def test_markup_is_text() -> None:
    """As many strokes as the characters have, whatever they may mean elsewhere."""
    assert len(list(glyphs("<b>&amp;</b>"))) == 12


def test_every_printable_character_has_a_glyph_of_its_own() -> None:
    printable = sorted(set(string.printable) - set(string.whitespace) | {" "})
    assert set(printable) <= set(GLYPHS)
    assert len({strokes for _, strokes in glyphs("".join(printable))}) == len(printable) == 95


def test_glyphs_stay_within_their_line() -> None:
    for width, strokes in glyphs("".join(GLYPHS) + "ÄÇÉÍÑÖŠÜÝąçñőř日"):
        points = [point for stroke in strokes for point in stroke]
        assert all(-DESCENT <= y <= ASCENT for _, y in points)
        assert all(-4 <= x <= width + 4 for x, _ in points)


@pytest.mark.parametrize(("one", "other"), [("é", "e\u0301"), ("“a”", '"a"'), ("日", "本"), ("a\u0000b", "ab")])
def test_what_is_drawn_alike(one: str, other: str) -> None:
    assert list(glyphs(one)) == list(glyphs(other))


@pytest.mark.parametrize(("one", "other"), [("é", "e"), ("é", "è"), ("ï", "i"), ("Ø", "O"), ("ç", "c"), ("日", "a")])
def test_what_is_drawn_differently(one: str, other: str) -> None:
    assert list(glyphs(one)) != list(glyphs(other))


@given(st.text(max_size=100))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_drawn(text: str) -> None:
    shape = label(text, 320, 240)
    assert shape is None or (shape.top >= 0 and shape.left >= 0 and shape.coverage.shape <= (240, 320))
