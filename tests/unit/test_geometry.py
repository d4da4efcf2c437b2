"""Sizes, by tables: what every fit makes of a source, and that laws hold for any wish."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lightfast.errors import InvalidRequest
from lightfast.imaging.geometry import Box, Limits, Size, Turn, check_output, make_plan, output_size
from lightfast.variant import Fit, Format, Variant

LANDSCAPE = Size(300, 200)


def size_of(source: Size = LANDSCAPE, orientation: int = 1, **wish: Any) -> tuple[int, int] | None:
    return output_size(source, Variant(**wish), orientation)


@pytest.mark.parametrize(
    ("fit", "smaller", "wider", "larger", "only_width", "only_width_larger"),
    [
        #          100 × 100   200 × 100   600 × 600   w=100       w=600
        ("clip", (100, 67), (150, 100), (300, 200), (100, 67), (300, 200)),
        ("max", (100, 67), (150, 100), (300, 200), (100, 67), (300, 200)),
        ("crop", (100, 100), (200, 100), (600, 600), (100, 67), (600, 400)),
        ("min", (100, 100), (200, 100), (200, 200), (100, 67), (300, 200)),
        ("fill", (100, 100), (200, 100), (600, 600), (100, 67), (600, 400)),
        ("fillmax", (100, 100), (200, 100), (600, 600), (100, 67), (600, 400)),
        ("scale", (100, 100), (200, 100), (600, 600), (100, 67), (600, 400)),
    ],
)
def test_what_each_fit_makes_of_300_by_200(
    fit: str,
    smaller: tuple[int, int],
    wider: tuple[int, int],
    larger: tuple[int, int],
    only_width: tuple[int, int],
    only_width_larger: tuple[int, int],
) -> None:
    wish = {"fit": Fit(fit)}
    assert size_of(width=100, height=100, **wish) == smaller
    assert size_of(width=200, height=100, **wish) == wider
    assert size_of(width=600, height=600, **wish) == larger
    assert size_of(width=100, **wish) == only_width
    assert size_of(width=600, **wish) == only_width_larger
    assert size_of(**wish) == LANDSCAPE


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"height": 100}, (150, 100)),
        ({"width": 0.5}, (150, 100)),
        ({"width": 0.5, "height": 0.1}, (30, 20)),
        ({"width": 1}, (1, 1)),
        ({"aspect": 1.0, "fit": Fit.CROP}, (200, 200)),
        ({"aspect": 1.0, "fit": Fit.CROP, "width": 90}, (90, 90)),
        ({"aspect": 2.0, "fit": Fit.CROP, "height": 90}, (180, 90)),
        ({"aspect": 1.0, "fit": Fit.FILL}, (300, 300)),
        ({"aspect": 2.0, "fit": Fit.FILL, "width": 100}, (100, 50)),
        ({"aspect": 1.0, "width": 90}, (90, 60)),
        ({"fit": Fit.CROP, "width": 150, "max_height": 60}, (150, 60)),
        ({"fit": Fit.CROP, "width": 150, "min_height": 140}, (150, 140)),
        ({"fit": Fit.CROP, "width": 150, "min_height": 50}, (150, 100)),
        ({"fit": Fit.CROP, "height": 100, "max_width": 60}, (60, 100)),
        ({"fit": Fit.CROP, "height": 100, "min_width": 160}, (160, 100)),
        ({"fit": Fit.CROP, "max_width": 120, "max_height": 110}, (120, 110)),
        ({"width": 150, "max_height": 60}, (150, 100)),
        ({"width": 100, "pad": 10}, (100, 73)),
        ({"width": 100, "height": 100, "pad": 10, "fit": Fit.CROP}, (100, 100)),
        ({"width": 100, "height": 100, "pad": 10, "fit": Fit.FILL}, (100, 100)),
        ({"pad": 10}, (320, 220)),
        ({"rect": (0, 0, 100, 100)}, (100, 100)),
        ({"rect": (250, 150, 100, 100)}, (50, 50)),
        ({"rect": (0.5, 0.5, 0.25, 0.5), "width": 30}, (30, 40)),
        ({"rect": (500, 500, 10, 10)}, (300, 200)),
        ({"rotate": 90}, (200, 300)),
        ({"rotate": 90, "width": 100}, (100, 150)),
        ({"rotate": 180}, (300, 200)),
        ({"rotate": 45}, (354, 354)),
        ({"rotate": 135, "width": 100}, (100, 100)),
        ({"orientation": 6}, (200, 300)),
        ({"orientation": 6, "rotate": 90}, (300, 200)),
        ({"flip": "hv"}, (300, 200)),
        ({"trim": True}, None),
        ({"trim": True, "width": 50, "height": 50}, None),
        ({"trim": True, "width": 50, "height": 50, "fit": Fit.CROP}, (50, 50)),
        ({"trim": True, "width": 0.5, "height": 50, "fit": Fit.CROP}, None),
    ],
)
def test_sizes(wish: dict[str, Any], expected: tuple[int, int] | None) -> None:
    assert size_of(**wish) == expected


@pytest.mark.parametrize(("orientation", "turned"), [(number, number > 4) for number in range(1, 9)])
def test_the_orientation_of_the_source_counts_unless_another_is_given(orientation: int, turned: bool) -> None:
    assert size_of(orientation=orientation) == ((200, 300) if turned else (300, 200))
    assert size_of(orientation=orientation, width=100, fit=Fit.SCALE) == ((100, 150) if turned else (100, 67))
    assert make_plan(LANDSCAPE, Variant(orientation=1), orientation).turn == Turn(False, 0)


@pytest.mark.parametrize(
    ("crop", "place"),
    [
        ((), (100, 0)),
        (("center",), (100, 0)),
        (("left",), (0, 0)),
        (("right",), (200, 0)),
        (("top", "right"), (200, 0)),
        (("focalpoint",), (25, 0)),
    ],
)
def test_where_is_cropped(crop: tuple[str, ...], place: tuple[int, int]) -> None:
    variant = Variant(width=100, height=200, fit=Fit.CROP, crop=crop, focal_x=0.25, focal_y=0.9)
    assert make_plan(LANDSCAPE, variant).window == (*place, 100, 200)


@pytest.mark.parametrize(("focal", "left"), [(0.0, 0), (0.1, 0), (0.5, 100), (0.95, 200), (1.0, 200)])
def test_a_focal_point_near_the_edge_keeps_the_window_inside(focal: float, left: int) -> None:
    variant = Variant(width=100, height=200, fit=Fit.CROP, crop=("focalpoint",), focal_x=focal)
    assert make_plan(LANDSCAPE, variant).window.left == left


@pytest.mark.parametrize("crop", [(), ("entropy",), ("top",), ("right", "bottom"), ("focalpoint",)])
@pytest.mark.parametrize("rotate", [0, 90, 30])
@pytest.mark.parametrize("source", [Size(1, 65_535), Size(50_000_000, 1), Size(7, 7_000_000), Size(60_000, 800)])
@pytest.mark.parametrize("box", [(100, 80), (8192, 1), (1, 8192), (4000, 4000)])
def test_what_is_cut_off_is_not_scaled_first(
    source: Size, box: tuple[int, int], rotate: int, crop: tuple[str, ...]
) -> None:
    variant = Variant(width=box[0], height=box[1], fit=Fit.CROP, crop=crop, rotate=rotate)
    plan = make_plan(source, variant)
    assert plan.output == box
    scaled = plan.tilt.size if plan.tilt else plan.size
    assert scaled.pixels <= 8192 * 8192
    assert plan.cut.left + plan.cut.width <= source.width
    assert plan.cut.top + plan.cut.height <= source.height


def test_of_a_banner_the_same_part_is_cut_before_it_is_scaled() -> None:
    plan = make_plan(Size(60_000, 800), Variant(width=4000, height=4000, fit=Fit.CROP, crop=("right",)))
    assert plan.cut == (59_200, 0, 800, 800)
    assert plan.size == (4000, 4000)


def test_padding_needs_room() -> None:
    with pytest.raises(InvalidRequest, match="pad=50 leaves nothing of 100 pixels; at most 49"):
        size_of(width=100, pad=50)


@pytest.mark.parametrize(
    ("size", "target", "allowed"),
    [
        (Size(8000, 4000), Format.PNG, True),
        (Size(8001, 4000), Format.PNG, False),
        (Size(16383, 10), Format.WEBP, True),
        (Size(16384, 10), Format.WEBP, False),
        (Size(16384, 10), Format.AVIF, True),
        (Size(10, 65535), Format.GIF, True),
        (Size(10, 65536), Format.GIF, False),
        (Size(10, 65501), Format.PJPG, False),
        (Size(4000, 2000), Format.GIF, True),
        (Size(4000, 2001), Format.GIF, False),
    ],
)
def test_limits_of_the_answer(size: Size, target: Format, allowed: bool) -> None:
    if allowed:
        check_output(size, target, Limits())
    else:
        with pytest.raises(InvalidRequest, match=f"{size.width} × {size.height}"):
            check_output(size, target, Limits())


def test_a_lossless_avif_has_a_limit_of_its_own() -> None:
    check_output(Size(4000, 2001), Format.AVIF, Limits())
    check_output(Size(4000, 2001), Format.WEBP, Limits(), lossless=True)
    with pytest.raises(InvalidRequest, match="8000000"):
        check_output(Size(4000, 2001), Format.AVIF, Limits(), lossless=True)


SIDES = st.integers(1, 5000)
LENGTHS = st.none() | st.integers(1, 3000) | st.floats(0.001, 1.0)
WISHES = st.builds(
    Variant,
    orientation=st.none() | st.integers(1, 8),
    rotate=st.integers(0, 359),
    flip=st.sampled_from(["", "h", "v", "hv"]),
    rect=st.none() | st.tuples(st.floats(0, 0.9), st.integers(0, 400), SIDES, st.floats(0.01, 1)),
    width=LENGTHS,
    height=LENGTHS,
    aspect=st.none() | st.floats(0.1, 10),
    fit=st.sampled_from(Fit),
    crop=st.sampled_from([(), ("left",), ("bottom", "right"), ("focalpoint",), ("entropy",)]),
    focal_x=st.floats(0, 1),
)


@given(SIDES, SIDES, WISHES)
def test_every_box_lies_within_what_it_is_cut_from(width: int, height: int, variant: Variant) -> None:
    source = Size(width, height)
    plan = make_plan(source, variant)
    boxes = [(plan.cut, source), (plan.canvas._replace(left=0, top=0), plan.output)]
    before = plan.turn.apply(plan.size)
    if plan.tilt is not None:
        boxes.append((plan.tilt.cut, plan.tilt.canvas))
        before = plan.tilt.size
    boxes.append((plan.window, before))
    for box, outer in boxes:
        assert min(box.left, box.top) >= 0
        assert min(box.size) >= 1
        assert box.left + box.width <= outer.width
        assert box.top + box.height <= outer.height
    assert plan.window.width + plan.canvas.left <= plan.output.width
    assert plan.window.height + plan.canvas.top <= plan.output.height


@given(SIDES, SIDES, st.integers(1, 3000), st.integers(1, 3000), st.sampled_from(Fit))
def test_what_is_asked_for_is_kept(width: int, height: int, w: int, h: int, fit: Fit) -> None:
    size = output_size(Size(width, height), Variant(width=w, height=h, fit=fit))
    assert size is not None
    if fit in (Fit.CROP, Fit.FILL, Fit.FILLMAX, Fit.SCALE):
        assert size == (w, h)
    else:
        assert size.width <= min(w, width)
        assert size.height <= min(h, height)


@given(SIDES, SIDES, st.integers(1, 3000), st.sampled_from(Fit))
@example(8192, 128, 135, Fit.CLIP)
@example(1920, 768, 101, Fit.FILL)
@example(6, 1, 16, Fit.MIN)
@example(18, 7, 9, Fit.FILLMAX)
@example(800, 600, 82, Fit.FILL)
def test_one_side_comes_as_it_was_asked_for(width: int, height: int, side: int, fit: Fit) -> None:
    """A page relies on it: the descriptors of a ``srcset`` say so."""
    wide = output_size(Size(width, height), Variant(width=side, fit=fit))
    high = output_size(Size(height, width), Variant(height=side, fit=fit))
    expected = min(side, width) if fit in (Fit.CLIP, Fit.MAX, Fit.MIN) else side
    assert wide is not None
    assert wide.width == expected
    assert high == (wide.height, wide.width)
    if fit in (Fit.CLIP, Fit.MAX, Fit.MIN):
        assert wide.height <= height
    if fit is Fit.FILL or (fit is Fit.FILLMAX and side <= width):
        plan = make_plan(Size(width, height), Variant(width=side, fit=fit))
        assert plan.window.size == plan.output, "there is nothing to fill"


@given(st.booleans(), st.integers(0, 3), st.integers(1, 60), st.integers(1, 60), st.data())
def test_undoing_a_turn_finds_the_same_pixels(
    mirrored: bool, quarters: int, width: int, height: int, data: st.DataObject
) -> None:
    """Against numpy, with every pixel a number of its own."""
    turn, pixels = Turn(mirrored, quarters), np.arange(width * height).reshape(height, width)
    turned = np.rot90(np.fliplr(pixels) if mirrored else pixels, -quarters)
    left, top = data.draw(st.integers(0, turned.shape[1] - 1)), data.draw(st.integers(0, turned.shape[0] - 1))
    across = data.draw(st.integers(1, turned.shape[1] - left))
    down = data.draw(st.integers(1, turned.shape[0] - top))
    x, y, w, h = turn.undo(Box(left, top, across, down), Size(width, height))
    assert set(pixels[y : y + h, x : x + w].flat) == set(turned[top : top + down, left : left + across].flat)
