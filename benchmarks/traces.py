"""Which pictures people ask for, one after the other: made-up traces with the shapes that real ones have.

The pictures' sizes are those of images on the web.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Sizes = npt.NDArray[np.int64]

PICTURES = 20_000
SKEW = 0.9
"""Exponent of Zipf's law; 0.6 to 1.0 is what is reported of web pictures."""
WONDERS = 0.15
"""Share of the requests that ask for a picture which nobody asks for again."""
SCAN_EVERY, SCAN_LENGTH = 15_000, 5_000
"""A crawler goes through so many pictures once, again and again."""
ARRIVAL = 20
"""Requests between two new pictures of the gallery."""
AGE = 150.0
"""Pictures; the gallery's visitors look back so far at the median."""

SIZES = {0.10: 252, 0.25: 2_000, 0.50: 12_000, 0.75: 56_000, 0.90: 177_000, 1.00: 1_002_000}
"""Bytes of an image on the web that is larger than such a share of all.

Stefan Judis, Eric Portis: "Media", in: The 2024 Web Almanac, HTTP Archive, section "Byte sizes",
doi:10.5281/zenodo.14552631; mobile pages, images wider and higher than a pixel. Two entries are not in its figure of
all images. For the 10th percentile it prints 0 KB, and the edition of 2021 the 252 bytes. It has nothing above the
90th; the table ends at the 90th percentile of the largest image of each page, so that the largest images of the web
are missing.
"""


@dataclass(frozen=True, slots=True)
class Trace:
    """``ids`` in the order they are asked for; ``sizes`` in bytes, by id."""

    ids: list[int]
    sizes: list[int]


def zipf(rng: np.random.Generator, count: int) -> Ids:
    weights = np.arange(1, PICTURES + 1) ** -SKEW
    ranks = np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(count))
    # A picture's size has nothing to do with its rank.
    return rng.permutation(PICTURES)[np.minimum(ranks, PICTURES - 1)]


def wonders(rng: np.random.Generator, count: int) -> Ids:
    ids = zipf(rng, count)
    once = np.flatnonzero(rng.random(count) < WONDERS)
    ids[once] = PICTURES + np.arange(len(once))
    return ids


def scans(rng: np.random.Generator, count: int) -> Ids:
    ids = zipf(rng, count)
    for start in range(SCAN_EVERY, count - SCAN_LENGTH, SCAN_EVERY + SCAN_LENGTH):
        begun = int(rng.integers(PICTURES))
        ids[start : start + SCAN_LENGTH] = (begun + np.arange(SCAN_LENGTH)) % PICTURES
    return ids


def gallery(rng: np.random.Generator, count: int) -> Ids:
    """New pictures come all the time and are looked at most; how far people look back has a long tail."""
    newest = PICTURES + np.arange(count) // ARRIVAL
    back = rng.lognormal(np.log(AGE), 1.8, count).astype(np.int64)
    return newest - np.minimum(back, PICTURES)


SHAPES: dict[str, Callable[[np.random.Generator, int], Ids]] = {
    "Zipf": zipf,
    "Zipf, 15 % one-hit wonders": wonders,
    "Zipf, a crawler's scans": scans,
    "gallery, new pictures most popular": gallery,
}


def trace(shape: str, count: int, seed: int = 1) -> Trace:
    """``count`` requests, for pictures whose sizes have nothing to do with how often they are asked for."""
    rng = np.random.default_rng(seed)
    ids = SHAPES[shape](rng, count)
    return Trace(ids.tolist(), sizes(rng, int(ids.max()) + 1).tolist())


def sizes(rng: np.random.Generator, count: int) -> Sizes:
    """By inverse transform; between two quantiles of ``SIZES`` a size's logarithm is linear in its share."""
    logs = np.interp(rng.random(count), list(SIZES), np.log(list(SIZES.values())))
    return np.rint(np.exp(logs)).astype(np.int64)
