"""What is rendered, held by SSIM against the same thing computed in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import pyvips
from tests.golden.pictures import Pixels, halved, image, made, pixels_of, scene, strip
from tests.golden.ssim import ssim

from lightfast.variant import Fit, Format, Variant

SCENE = scene()
PNG = image(SCENE).pngsave_buffer()
CLEAR = np.dstack([SCENE, np.where(np.arange(240)[None, :] < 120, 255, 0) + np.zeros((160, 1), int)]).astype(np.uint8)
CLEAR_PNG = image(CLEAR).pngsave_buffer()


def rendered(source: bytes = PNG, **wish: Any) -> Pixels:
    """Written without loss, so that only the pixels count."""
    return pixels_of(made(source, Variant(**{"format": Format.PNG, **wish})).content)


def assert_alike(found: Pixels, expected: Pixels, least: float = 0.98, most_off: float = 3) -> None:
    assert found.shape[:2] == expected.shape[:2]
    assert ssim(found, expected) >= least
    assert np.abs(found[..., :3].mean((0, 1)) - expected[..., :3].mean((0, 1))).max() < most_off


def test_ssim_tells_pictures_apart() -> None:
    assert ssim(SCENE, SCENE) == pytest.approx(1)
    assert ssim(SCENE, np.fliplr(SCENE)) < 0.9
    assert ssim(SCENE, np.roll(SCENE, 3, axis=1)) < 0.98


@pytest.mark.parametrize(
    ("target", "least"),
    [
        (Format.PNG, 0.995),
        (Format.WEBP, 0.97),
        (Format.AVIF, 0.97),
        (Format.JPG, 0.97),
        (Format.PJPG, 0.97),
        (Format.GIF, 0.9),
    ],
)
def test_every_format_shows_the_picture_at_half_its_size(target: Format, least: float) -> None:
    picture = made(PNG, Variant(width=120, format=target))
    assert (picture.width, picture.height) == (120, 80)
    assert_alike(pixels_of(picture.content), halved(SCENE), least)


@pytest.mark.parametrize("target", [Format.WEBP, Format.AVIF])
def test_lossless_is_without_loss(target: Format) -> None:
    assert np.array_equal(pixels_of(made(PNG, Variant(lossless=True, format=target)).content)[..., :3], SCENE)


def test_quality_is_obeyed() -> None:
    for target in (Format.WEBP, Format.AVIF, Format.JPG):
        poor, good = (made(PNG, Variant(format=target, quality=quality)).content for quality in (10, 95))
        assert len(poor) < len(good)
        assert ssim(pixels_of(poor), SCENE) < ssim(pixels_of(good), SCENE)


LARGE = scene(1920, 1280)


@cache
def large(suffix: str) -> bytes:
    return bytes(image(LARGE).write_to_buffer(suffix))


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg[Q=95]", ".jpg[Q=95,interlace]", ".webp[Q=95]", ".avif[Q=90,effort=0]"]
)
@pytest.mark.parametrize("by", [2, 3, 4, 7, 8, 16])
def test_reducing_while_decoding_gives_the_same_picture(suffix: str, by: int) -> None:
    source = large(suffix)
    width, height = LARGE.shape[1] // by, LARGE.shape[0] // by
    found = rendered(source, width=width, height=height, fit=Fit.SCALE)
    assert_alike(found, halved(LARGE, by), 0.96)


def test_a_part_is_reduced_while_decoding_too() -> None:
    source = large(".jpg[Q=95]")
    found = rendered(source, rect=(240, 160, 960, 640), width=120)
    assert_alike(found, halved(LARGE[160:800, 240:1200], 8), 0.96)


TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda it: it,
    2: np.fliplr,
    3: lambda it: np.rot90(it, 2),
    4: np.flipud,
    5: lambda it: it.transpose(1, 0, 2),
    6: lambda it: np.rot90(it, -1),
    7: lambda it: np.rot90(it, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", [".jpg[Q=95,keep=exif]", ".webp[Q=95,keep=exif]", ".png[keep=exif]"])
def test_the_orientation_of_the_source_is_applied(suffix: str, orientation: int) -> None:
    turned = image(SCENE).copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    source = turned.write_to_buffer(suffix)
    expected = TURNS[orientation](SCENE)
    assert_alike(rendered(source), expected, 0.96)
    assert_alike(rendered(source, width=expected.shape[1] // 2), halved(expected), 0.96)
    assert_alike(rendered(source, orientation=1), SCENE, 0.96)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("flip", ["", "h", "v", "hv"])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_orientation_then_rotation_then_flip_then_the_part(orientation: int, flip: str, quarters: int) -> None:
    expected = np.rot90(TURNS[orientation](SCENE), quarters)
    expected = np.fliplr(expected) if "h" in flip else expected
    expected = np.flipud(expected) if "v" in flip else expected
    wish = {"orientation": orientation, "rotate": 90 * quarters, "flip": flip}
    assert np.array_equal(rendered(**wish), expected)
    assert np.array_equal(rendered(**wish, rect=(10, 20, 100, 60)), expected[20:80, 10:110])


def tilted(pixels: Pixels, degrees: float, size: tuple[int, int]) -> Pixels:
    """Anticlockwise about the centre, each pixel the nearest of the source, white around it."""
    height, width = pixels.shape[:2]
    angle = math.radians(degrees)
    x = np.arange(size[0])[None, :] + 0.5 - size[0] / 2
    y = np.arange(size[1])[:, None] + 0.5 - size[1] / 2
    column = np.floor(x * math.cos(angle) - y * math.sin(angle) + width / 2).astype(int)
    row = np.floor(x * math.sin(angle) + y * math.cos(angle) + height / 2).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    out = np.full((size[1], size[0], 3), 255, np.uint8)
    out[inside] = pixels[row[inside], column[inside]]
    return out


@pytest.mark.parametrize("degrees", [1, 30, 45, 120, 200, 359])
@pytest.mark.parametrize("flip", ["", "h", "v", "hv"])
def test_any_angle(degrees: int, flip: str) -> None:
    found = rendered(rotate=degrees, flip=flip, background=(255, 255, 255, 255))
    expected = tilted(SCENE, degrees, (found.shape[1], found.shape[0]))
    expected = np.fliplr(expected) if "h" in flip else expected
    expected = np.flipud(expected) if "v" in flip else expected
    assert_alike(found, expected, 0.93)


def test_corners_of_a_tilted_picture_are_clear_or_white() -> None:
    found = rendered(rotate=30, width=100)
    assert found.shape[2] == 4
    assert found[0, 0, 3] == found[-1, -1, 3] == 0
    middle = found.shape[0] // 2
    assert found[middle, 50, 3] == 255
    assert rendered(rotate=30, width=100, format=Format.JPG)[0, 0].min() > 250


def test_a_tilted_picture_is_cut_and_scaled() -> None:
    whole = rendered(rotate=30, background=(255, 255, 255, 255))
    part = rendered(rotate=30, background=(255, 255, 255, 255), rect=(60, 60, 120, 80), width=60)
    assert_alike(part, halved(whole[60:140, 60:180]), 0.93)


def test_crop_covers_and_cuts() -> None:
    half = halved(SCENE)
    for crop, expected in (
        ((), half[:, 20:100]),
        (("left",), half[:, :80]),
        (("right",), half[:, 40:]),
        (("focalpoint",), half[:, 0:80]),
    ):
        found = rendered(width=80, height=80, fit=Fit.CROP, crop=crop, focal_x=0.25)
        assert_alike(found, expected)


def test_min_crops_but_does_not_enlarge() -> None:
    assert np.array_equal(rendered(width=400, height=400, fit=Fit.MIN), SCENE[:, 40:200])


def test_entropy_finds_the_part_that_is_not_plain() -> None:
    pixels = np.full((100, 400, 3), 128, np.uint8)
    pixels[:, 290:390] = np.random.default_rng(7).integers(0, 255, (100, 100, 3))
    found = rendered(image(pixels).pngsave_buffer(), width=100, height=100, fit=Fit.CROP, crop=("entropy",))
    assert found.std() > 60


def test_clip_never_enlarges_and_scale_does() -> None:
    assert np.array_equal(rendered(width=999), SCENE)
    enlarged = rendered(width=480, fit=Fit.SCALE)
    assert_alike(enlarged, SCENE.repeat(2, 0).repeat(2, 1), 0.97)


def test_fill_lays_the_picture_on_a_canvas() -> None:
    found = rendered(width=120, height=120, fit=Fit.FILL, background=(0, 255, 0, 255))
    assert_alike(found[20:100], halved(SCENE))
    assert (found[:20] == (0, 255, 0)).all()
    assert (found[100:] == (0, 255, 0)).all()
    clear = rendered(width=120, height=120, fit=Fit.FILL)
    assert (clear[:20, :, 3] == 0).all()
    assert (clear[20:100, :, 3] == 255).all()
    white = rendered(width=120, height=120, fit=Fit.FILL, format=Format.JPG)
    assert white[:12].min() > 250


def test_fillmax_does_not_enlarge() -> None:
    found = rendered(width=300, height=200, fit=Fit.FILLMAX, background=(1, 2, 3, 255))
    assert np.array_equal(found[20:180, 30:270], SCENE)
    assert (found[:20] == (1, 2, 3)).all()


def test_padding_is_of_the_background() -> None:
    found = rendered(width=140, pad=10, background=(9, 8, 7, 255), brightness=50)
    assert found.shape == (100, 140, 3)
    assert (found[:10] == (9, 8, 7)).all()
    assert (found[:, -10:] == (9, 8, 7)).all()
    assert found[10:-10, 10:-10].mean() > SCENE.mean() + 60


@pytest.mark.parametrize("alpha", [255, 120, 0])
def test_alpha_over_a_background(alpha: int) -> None:
    found = rendered(CLEAR_PNG, background=(200, 100, 50, alpha))
    assert np.array_equal(found[:, :120, :3], SCENE[:, :120])
    if alpha == 255:
        assert found.shape[2] == 3
        assert (found[:, 120:] == (200, 100, 50)).all()
    elif alpha:
        assert np.abs(found[:, 120:].astype(int) - (200, 100, 50, alpha)).max() <= 2
    else:
        assert (found[:, 120:, 3] == 0).all()


@pytest.mark.parametrize("target", [Format.PNG, Format.WEBP, Format.AVIF, Format.GIF])
def test_alpha_is_kept_where_the_format_can(target: Format) -> None:
    found = pixels_of(made(CLEAR_PNG, Variant(width=120, format=target)).content)
    assert found[:, :56, 3].min() > 250
    assert found[:, 64:, 3].max() < 5


def test_a_jpeg_lies_on_white_or_on_the_background() -> None:
    assert rendered(CLEAR_PNG, format=Format.JPG)[:, 140:].min() > 250
    green = rendered(CLEAR_PNG, format=Format.JPG, background=(0, 200, 0, 255))
    assert np.abs(green[:, 140:].astype(int) - (0, 200, 0)).max() < 8
    half = rendered(CLEAR_PNG, format=Format.JPG, background=(0, 0, 0, 128))
    assert np.abs(half[:, 140:].astype(int) - 127).max() < 8


def test_clear_pixels_do_not_bleed() -> None:
    pixels = np.zeros((100, 100, 4), np.uint8)
    pixels[..., 0] = 255  # clear red all around
    pixels[30:70, 30:70] = (0, 0, 255, 255)
    found = rendered(image(pixels).pngsave_buffer(), width=35)  # 10.5: the edge goes through a pixel
    assert found[found[..., 3] > 40][:, 0].max() < 20


def test_trim_cuts_off_a_border_of_one_colour() -> None:
    bordered = np.full((240, 300, 3), 255, np.uint8)
    bordered[50:210, 40:280] = SCENE
    assert np.array_equal(rendered(image(bordered).pngsave_buffer(), trim=True), SCENE)
    turned = rendered(image(bordered).pngsave_buffer(), trim=True, rotate=90)
    assert np.array_equal(turned, np.rot90(SCENE))
    clear = np.zeros((240, 300, 4), np.uint8)
    clear[50:210, 40:280] = np.dstack([SCENE, np.full((160, 240), 255, np.uint8)])
    assert np.array_equal(rendered(image(clear).pngsave_buffer(), trim=True)[..., :3], SCENE)
    plain = image(np.full((30, 40, 3), 77, np.uint8)).pngsave_buffer()
    assert rendered(plain, trim=True).shape == (30, 40, 3)


def test_trim_of_a_large_picture_is_exact_to_its_cells() -> None:
    bordered = np.full((2000, 3000, 3), 255, np.uint8)
    bordered[361:1641, 501:2421] = LARGE
    height, width = rendered(image(bordered).jpegsave_buffer(Q=95), trim=True).shape[:2]
    assert abs(height - 1280) <= 4
    assert abs(width - 1920) <= 4


def luminance(pixels: Pixels) -> np.ndarray[Any, Any]:
    return pixels[..., :3].astype(float) @ np.array([0.2126, 0.7152, 0.0722])


def test_brightness_contrast_saturation_monochrome() -> None:
    plain = SCENE.astype(float)
    brighter = rendered(brightness=20).astype(float)
    assert np.abs(brighter - np.clip(plain + 51, 0, 255)).max() <= 1
    assert (rendered(brightness=-100) == 0).all()
    assert (rendered(brightness=100) == 255).all()
    assert np.ptp(rendered(contrast=-100)) <= 1
    assert rendered(contrast=40).std() > 1.3 * SCENE.std()
    grey = rendered(saturation=-100).astype(float)
    assert np.abs(grey - luminance(SCENE)[..., None]).max() <= 1
    vivid = rendered(saturation=60)
    assert np.ptp(vivid.astype(int), axis=2).mean() > 1.2 * np.ptp(plain, axis=2).mean()
    sepia = rendered(monochrome=(255, 128, 0, 255)).astype(float)
    assert np.abs(sepia - luminance(SCENE)[..., None] * (1, 128 / 255, 0)).max() <= 1
    half = rendered(monochrome=(255, 255, 255, 128)).astype(float)
    assert np.abs(half - (0.498 * plain + 0.502 * luminance(SCENE)[..., None])).max() <= 1.5
    assert np.array_equal(rendered(CLEAR_PNG, brightness=30)[..., 3], CLEAR[..., 3])


def gaussian(pixels: Pixels, sigma: float) -> np.ndarray[Any, Any]:
    reach = math.ceil(4 * sigma)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    padded = np.pad(pixels.astype(float), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    for axis in (0, 1):
        padded = np.apply_along_axis(lambda line: np.convolve(line, weights, "valid"), axis, padded)
    return padded


@pytest.mark.parametrize("blur", [5, 20, 60, 120, 600])
def test_blur_is_a_gaussian_of_a_tenth_pixels(blur: int) -> None:
    found = rendered(blur=blur).astype(float)
    assert np.abs(found - gaussian(SCENE, blur / 10)).mean() < 1.8
    assert found.std() < SCENE.std()


def test_sharpening_is_an_unsharp_mask() -> None:
    soft = gaussian(SCENE, 1.5).round()
    weights = np.array([0.25, 0.5, 0.25])
    padded = np.pad(soft, ((1, 1), (1, 1), (0, 0)), mode="edge")
    mean = sum(
        weights[y] * weights[x] * padded[y : y + soft.shape[0], x : x + soft.shape[1]]
        for y in range(3)
        for x in range(3)
    )
    expected = np.clip(soft + 1.5 * (soft - mean), 0, 255)
    found = rendered(image(soft.astype(np.uint8)).pngsave_buffer(), sharpen=60)
    assert np.abs(found - expected).max() <= 2


def frames_of(content: bytes) -> list[Pixels]:
    joined = pyvips.Image.new_from_buffer(content, "", n=-1)
    return list(np.split(np.asarray(joined.numpy()), joined.get_n_pages()))


@pytest.mark.parametrize("suffix", [".gif", ".webp[Q=95]"])
@pytest.mark.parametrize("target", [Format.WEBP, Format.GIF])
def test_an_animation_stays_one(suffix: str, target: Format) -> None:
    shown = [SCENE, np.fliplr(SCENE), np.flipud(SCENE)]
    source = strip(*shown, delay=120).write_to_buffer(suffix)
    picture = made(source, Variant(width=80, height=80, fit=Fit.CROP, crop=("left",), format=target))
    assert (picture.width, picture.height) == (80, 80)
    frames = frames_of(picture.content)
    assert len(frames) == 3
    for frame, expected in zip(frames, shown, strict=True):
        assert_alike(frame, halved(expected)[:, :80], 0.88, 5)
    joined = pyvips.Image.new_from_buffer(picture.content, "", n=-1)
    assert joined.get("delay") == [120] * 3
    assert joined.get("loop") == 3


@pytest.mark.parametrize("wish", [{"rotate": 90}, {"rotate": 20}, {"blur": 20}, {"crop": ("entropy",)}, {"trim": True}])
def test_every_frame_goes_through_the_same_steps(wish: dict[str, Any]) -> None:
    source = strip(SCENE, np.fliplr(SCENE), np.flipud(SCENE)).gifsave_buffer()
    sized = {"width": 60, "height": 70, "fit": Fit.CROP, "background": (255, 255, 255, 255), "lossless": True}
    frames = frames_of(made(source, Variant(**sized, **wish, format=Format.WEBP)).content)
    still = made(source, Variant(**sized, **wish, format=Format.PNG)).content
    assert [frame.shape[:2] for frame in frames] == [(70, 60)] * 3
    assert ssim(frames[0], pixels_of(still)) > 0.999
    assert ssim(frames[0], frames[1]) < 0.95


@pytest.mark.parametrize("target", [Format.AVIF, Format.JPG, Format.PNG])
def test_elsewhere_an_animation_is_its_first_frame(target: Format) -> None:
    source = strip(SCENE, np.fliplr(SCENE)).gifsave_buffer()
    assert_alike(pixels_of(made(source, Variant(format=target)).content), SCENE, 0.9)
