"""What ``make bench ARGS=variants`` concludes from, without measuring anything."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
import pyvips
from benchmarks.comparison import Match, nearest
from benchmarks.metrics import added
from benchmarks.mixed_renders import LARGEST, SMALLEST, growth, wishes
from benchmarks.must_show import verdicts
from benchmarks.sources import noted
from benchmarks.ssim import ssim
from benchmarks.variants_page import sections
from hypothesis import given
from hypothesis import strategies as st
from tests.golden import ssim as golden
from tests.golden.pictures import image, pixels_of, scene

from lightfast.sniff import sniff


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_copies_differ_in_their_bytes_alone(suffix: str) -> None:
    content = bytes(image(scene()).write_to_buffer(suffix))
    one, other = noted(content, "001-00001"), noted(content, "001-00002")
    assert len({content, one, other}) == 3
    assert len(one) == len(other)
    for copy in (one, other):
        assert (pixels_of(copy) == pixels_of(content)).all()
        assert sniff(copy, 10**6) == sniff(content, 10**6)


@given(st.lists(st.floats(0, 1), min_size=99, max_size=99).map(sorted), st.floats(0, 1))
def test_the_nearest_quality_is_found_where_likeness_grows_with_it(curve: list[float], wanted: float) -> None:
    asked: list[int] = []

    def made(quality: int) -> Match:
        asked.append(quality)
        return Match(quality, curve[quality - 1], 0)

    found = nearest(made, wanted)
    assert abs(found.ssim - wanted) == min(abs(one - wanted) for one in curve)
    assert len(asked) <= math.ceil(math.log2(99 + 1))


def test_growth_is_that_of_the_line_through_the_samples() -> None:
    assert growth([300.0] * 25) == 0
    assert growth([95, 97.5, 100, 102.5, 105]) == pytest.approx(0.1)
    assert abs(growth([100, 110, 90, 110, 90, 100])) < 0.1


def test_ssim_says_what_the_golden_one_does() -> None:
    sharp = image(scene())
    for sigma in (0.6, 1.2, 2.4):
        soft = sharp.gaussblur(sigma).cast("uchar")
        assert ssim(sharp, soft) == pytest.approx(golden.ssim(_pixels(sharp), _pixels(soft)), abs=0.02)
    assert ssim(sharp, sharp) == pytest.approx(1)
    with pytest.raises(ValueError, match="are held against"):
        ssim(sharp, sharp.crop(0, 0, 100, 100))


def _pixels(picture: pyvips.Image) -> np.ndarray:
    return np.asarray(picture.numpy())


def test_no_variant_is_asked_for_twice() -> None:
    asked = list(islice(wishes(["a", "b", "c", "d"]), 5000))
    assert len(set(asked)) == len(asked)
    widths = [int(wish.partition("w=")[2].partition("&")[0]) for wish in asked]
    assert min(widths) >= SMALLEST
    assert max(widths) <= LARGEST


def test_metrics_are_added_over_their_labels() -> None:
    text = '# TYPE made counter\nmade{format="webp"} 3.0\nmade{format="avif"} 1\nmade_created 9\n'
    assert added(text, "made") == 4
    with pytest.raises(RuntimeError, match="do not have"):
        added(text, "lost")


def _spread(value: float) -> dict[str, float]:
    return {"median": value, "q1": value, "q3": value, "count": 3}


def _one(rate: float, **more: float) -> dict[str, object]:
    return {kind: _spread(5.0) for kind in ("p50", "p99", "cpu")} | {"rate": _spread(rate)} | more


def _result() -> dict[str, object]:
    probes = {"p50": 0.2, "p99": 1.0, "max": 3.0, "count": 900}
    thumbnails = {
        "lightfast": _one(90.0, quality=80, ssim=0.982, bytes=9000),
        "ipx": _one(60.0, quality=77, ssim=0.9821, bytes=7800),
    }
    return {
        "comparison": {
            "width": 512,
            "at_once": 4,
            "rounds": 7,
            "missing": {"thumbor": "scripts/peers"},
            "versions": {"lightfast": "Lightfast, libvips 8", "ipx": "IPX 3"},
            "cases": {"1024 px PNG": {"bytes": 1_097_000, "decoding": 9.8, "contestants": thumbnails}},
        },
        "shared": {"clients": 50, "renders": [1.0, 2.0], "last_byte_seconds": _spread(0.08)},
        "hot": {"original": _one(70_000.0, bytes=46_146), "variant": _one(68_600.0, bytes=46_150)},
        "memory": {
            "renders": 5000,
            "idle": 100 << 20,
            "samples": [(100 * at, 200 << 20) for at in range(1, 51)],
            "peak": 210 << 20,
            "growth": 0.062,
        },
        "stalls": {"renders": 8, "times": 6, "milliseconds": {"at rest": probes, "beside renders": probes}},
        "placeholders": {
            "width": 640,
            "height": 400,
            "webp": _spread(1900.0),
            "png": _spread(24_000.0),
            "saved": _spread(0.92),
            "least_saved": 0.84,
        },
    }


def test_the_page_shows_every_figure_and_who_is_missing() -> None:
    page = "\n".join(sections(_result()))
    assert "| IPX | 60 (60–60) | 5 | 5 | 1.50 × | 77 | 0.9821 | 7,800 |" in page
    assert "Not measured: Thumbor. To have it: `scripts/peers`." in page
    assert "| MiB | 100 | 200 | 200 | 200 | 200 | 200 | 210 |" in page


def test_promises_are_held_against_what_was_measured() -> None:
    found = {one.what: (one.figure, one.met) for one in verdicts({"variants": _result()})}
    assert found == {
        "IPX, 512 px WebP of a 1024 px PNG, SSIM alike": ("1.50 ×", True),
        "pictures made for 50 clients who want the same at once": ("2", False),
        "an original of 46 KB, a variant of that size from memory": ("0.98 ×", True),
        "memory held over 5,000 renders": ("210 MiB", True),
        "its growth over the last half": ("6.2 %", False),
        "placeholders, saved over PNG": ("84 %", True),
    }
