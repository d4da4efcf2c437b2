"""What a placeholder takes as WebP, and the same picture as the smallest PNG that libvips writes."""

from __future__ import annotations

import pyvips

from benchmarks.plan import Advance, Plan, Result, spread
from lightfast.imaging.placeholder import placeholder

SEEDS = 50
WIDTH, HEIGHT = 640, 400
FILTERS = ("none", "sub", "up", "avg", "paeth", "all")


def steps(plan: Plan) -> int:
    return 1


def saved(plan: Plan, advance: Advance) -> Result:
    """Bytes of both for each seed, every other one with a label."""
    advance("placeholders")
    webp, png = [], []
    for number in range(plan.times(SEEDS)):
        text = f"{WIDTH} × {HEIGHT}" if number % 2 else ""
        drawn = {
            it: placeholder(WIDTH, HEIGHT, seed=f"{number}", text=text, format=it).content for it in ("webp", "png")
        }
        webp.append(len(drawn["webp"]))
        png.append(len(smallest_png(drawn["png"])))
    shares = [1 - small / large for small, large in zip(webp, png, strict=True)]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "webp": spread(webp),
        "png": spread(png),
        "saved": spread(shares),
        "least_saved": round(min(shares), 4),
    }


def smallest_png(png: bytes) -> bytes:
    """The same pixels with each filter of rows, packed as hard as zlib can; the smallest of these files."""
    image = pyvips.Image.new_from_buffer(png, "")
    return min((bytes(image.pngsave_buffer(compression=9, filter=it, keep="none")) for it in FILTERS), key=len)
