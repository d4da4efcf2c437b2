"""BlurHash and ThumbHash against what the reference implementations make of the same pixels."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from lightfast.imaging.hashes import Pixels, blurhash, thumbhash


def pattern(width: int, height: int, seed: int, transparent: bool = False) -> Pixels:
    y, x = np.mgrid[:height, :width]
    alpha = (x * 5 + y * 9 + seed) % 256 if transparent else np.full((height, width), 255)
    red, green, blue = (x * x * seed + y * 7) % 256, (x * 3 + y * y * seed) % 256, (x * y + seed * 11) % 256
    return np.stack([red, green, blue, alpha], axis=2).astype(np.uint8)


def plain(red: int, green: int, blue: int, alpha: int = 255) -> Pixels:
    return np.full((30, 40, 4), (red, green, blue, alpha), np.uint8)


# Made by evanw's thumbhash 0.1.1 (npm) and Wolt's blurhash-python 1.2.2 (C, PyPI).
VECTORS = [
    (100, 67, 3, False, "H/gBBYJTOkJTUmdyYFRyOv3O+pi0", "L6HV9tvzb,t]$cNXQpORR4n4Y;aw"),
    (32, 100, 5, False, "3wcCCgJnRYZ0YWdQ73oOaJ4=", "L6Hed]yzW6$eR4ZOStO8wFICWSO9"),
    (7, 3, 2, False, "xicGE4aQh4eFiIiIkHYIanc=", "L34-3G1gwK$k,]JUn+oMNasVfRWV"),
    (1, 5, 4, False, "B+cNMQQIhYp4h4h494R470g=", "L71:a$yZyZyZVhVhVhVhWWWWWWWW"),
    (64, 64, 1, True, "HwiCBQAHMVFTiUQHMM2f/KuvN4iXR3VyCw==", "L4HV6jqGIjrURdHYO$KZH;HaIWIq"),
    (100, 40, 9, True, "3weCAoIIWF2EsNQiUOF3B4cFiJhYeXE=", "L5HLo9z}s*uKTeH_Hdch1@$y+IAC"),
]


@pytest.mark.parametrize(("width", "height", "seed", "transparent", "expected", "_blurhash"), VECTORS)
def test_thumbhash_is_the_reference_s(
    width: int, height: int, seed: int, transparent: bool, expected: str, _blurhash: str
) -> None:
    assert base64.b64encode(thumbhash(pattern(width, height, seed, transparent))).decode() == expected


@pytest.mark.parametrize(("width", "height", "seed", "_transparent", "_thumbhash", "expected"), VECTORS)
def test_blurhash_is_the_reference_s(
    width: int, height: int, seed: int, _transparent: bool, _thumbhash: str, expected: str
) -> None:
    assert blurhash(pattern(width, height, seed)[:, :, :3]) == expected


def test_a_plain_picture_has_no_waves_in_thumbhash() -> None:
    """Not even those that the rounding of sums would make, which differ from machine to machine."""
    assert set(thumbhash(plain(255, 128, 0))[5:]) == {0}
    assert thumbhash(plain(255, 128, 0)) == thumbhash(plain(255, 128, 0)[::-1])


def test_one_component_is_the_average() -> None:
    assert blurhash(plain(0, 0, 0)[:, :, :3], 1, 1) == "000000"
    assert blurhash(plain(255, 255, 255)[:, :, :3], 1, 1) == "00TSUA"


def test_the_size_of_blurhash_says_how_many_components() -> None:
    for columns, rows in ((1, 1), (4, 3), (9, 9)):
        assert len(blurhash(pattern(40, 30, 3)[:, :, :3], columns, rows)) == 4 + 2 * columns * rows


@pytest.mark.parametrize(("alpha", "transparent"), [(255, False), (254, True), (0, True)])
def test_thumbhash_says_whether_it_is_transparent(alpha: int, transparent: bool) -> None:
    assert bool(thumbhash(plain(9, 9, 9, alpha))[2] & 0x80) is transparent


def test_a_single_pixel() -> None:
    assert len(thumbhash(pattern(1, 1, 1))) >= 5
    assert len(blurhash(pattern(1, 1, 1)[:, :, :3])) == 28
