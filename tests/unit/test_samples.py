"""The painted samples: right types and sizes, the same bytes each time, nothing overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import pyvips

from lightfast.sniff import Sniffed, sniff

PROGRAM = Path(__file__).parents[2] / "examples" / "paint_samples.py"

EXPECTED = {
    "hero_abc123.png": Sniffed("image/png", 1024, 1024),
    **{f"dunes_{size}.png": Sniffed("image/png", size, size) for size in (64, 512, 1024)},
    **{f"harbour_{size}.jpg": Sniffed("image/jpeg", size, size) for size in (64, 512, 1024)},
    **{f"night_{size}.webp": Sniffed("image/webp", size, size) for size in (64, 512, 1024)},
    "pigment_alpha.png": Sniffed("image/png", 512, 512),
    "wave_animated.gif": Sniffed("image/gif", 400, 225),
}


def paint(directory: Path) -> dict[str, bytes]:
    subprocess.run([sys.executable, "-W", "error", PROGRAM, directory], check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return paint(tmp_path_factory.mktemp("samples") / "made")


def test_every_sample_has_its_type_and_size_and_nothing_else_is_left(samples: dict[str, bytes]) -> None:
    assert {name: sniff(content) for name, content in samples.items()} == EXPECTED


def test_every_sample_decodes(samples: dict[str, bytes]) -> None:
    for content in samples.values():
        assert pyvips.Image.new_from_buffer(content, "", fail_on="warning").deviate() > 1


def test_the_hero_is_about_a_megabyte(samples: dict[str, bytes]) -> None:
    assert 0.9e6 < len(samples["hero_abc123.png"]) < 1.2e6


def test_the_pigment_has_a_soft_edge(samples: dict[str, bytes]) -> None:
    alpha = pyvips.Image.new_from_buffer(samples["pigment_alpha.png"], "")[3]
    assert (alpha.min(), alpha.max()) == (0, 255)
    assert ((alpha > 20) & (alpha < 235)).avg() > 0.5


def test_the_wave_moves_and_is_small(samples: dict[str, bytes]) -> None:
    content = samples["wave_animated.gif"]
    assert pyvips.Image.new_from_buffer(content, "", n=-1).get("n-pages") == 12
    assert len(content) < 300_000


def test_painting_again_gives_the_same_bytes_and_leaves_alone_what_is_there(
    samples: dict[str, bytes], tmp_path: Path
) -> None:
    kept = tmp_path / "dunes_64.png"
    kept.write_bytes(b"mine")
    assert paint(tmp_path) == {**samples, kept.name: b"mine"}
