"""Paint the sample pictures: ``python examples/paint_samples.py DIRECTORY``.

Every picture is computed, so that the repository carries none. The same versions of numpy and libvips
give the same bytes each time. Files that are there already are left alone.

Pictures are arrays of sRGB values between 0 and 1, 1024 × 1024, y downwards; ``X`` and ``Y`` are the
coordinates of the pixels' centres between 0 and 1.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyvips

Array = npt.NDArray[np.floating]

SIZE = 1024
X: Array = ((np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE)[None, :]
Y: Array = X.T


# Paint


def colour(text: str) -> Array:
    return np.array([int(text[at : at + 2], 16) / 255 for at in (0, 2, 4)], dtype=np.float32)


def gradient(t: Array, *stops: tuple[float, str]) -> Array:
    """The colour at each ``t``, between the stops ``(position, "rrggbb")``."""
    positions = [position for position, _ in stops]
    colours = np.stack([colour(text) for _, text in stops])
    channels = [np.interp(t, positions, colours[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def smooth(low: float, high: float, value: Array) -> Array:
    """0 below ``low``, 1 above ``high``, an S in between."""
    t: Array = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def over(below: Array, above: Array, cover: Array) -> Array:
    return below + (above - below) * cover[..., None]


def glow(x: float, y: float, radius: float, stretch: float = 1.0) -> Array:
    """Light that falls off around a point, as haze spreads it."""
    return 1 / (1 + (((X - x) / stretch) ** 2 + (Y - y) ** 2) / radius**2)


def line(rng: np.random.Generator, cells: float, octaves: int, roughness: float = 0.5, at: Array = X[0]) -> Array:
    """Fractal noise along a line, about -1 to 1; ``cells`` bumps across in its lowest octave."""
    total = np.zeros_like(at)
    for octave in range(octaves):
        place = at * cells * 2**octave
        knots = rng.uniform(-1, 1, int(place.max()) + 2).astype(np.float32)
        index = place.astype(np.int64)
        t = smooth(0, 1, place - index)
        total += roughness**octave * (knots[index] * (1 - t) + knots[index + 1] * t)
    return total


def clouds(rng: np.random.Generator, rows: float, columns: float, octaves: int) -> Array:
    """Fractal noise over the plane, about -1 to 1."""
    total = np.zeros((SIZE, SIZE), dtype=np.float32)
    for octave in range(octaves):
        down, across = Y[:, 0] * rows * 2**octave, X[0] * columns * 2**octave
        row, column = down.astype(np.int64), across.astype(np.int64)
        knots = rng.uniform(-1, 1, (row[-1] + 2, column[-1] + 2)).astype(np.float32)
        s, t = smooth(0, 1, down - row)[:, None], smooth(0, 1, across - column)[None, :]
        lines = knots[row] * (1 - s) + knots[row + 1] * s
        total += 0.5**octave * (lines[:, column] * (1 - t) + lines[:, column + 1] * t)
    return total


def below(edge: Array, softness: float = 1.0) -> Array:
    """How much of each pixel lies under the curve ``edge`` (y for each x); ``softness`` in pixels."""
    return np.clip((Y - edge) * SIZE / softness + 0.5, 0, 1)


def firs(rng: np.random.Generator, ground: Array, count: int, height: float) -> Array:
    """The ground with a wood of firs standing on it."""
    skyline = ground.copy()
    for x in rng.uniform(-0.02, 1.02, count):
        tall = height * rng.uniform(0.45, 1.0)
        foot = ground[int(np.clip(x, 0, 0.999) * SIZE)] + 0.004
        drop = np.abs(X[0] - x) / 0.21
        branches = drop + 0.10 * tall * np.mod(drop / tall * 7, 1.0)
        np.minimum(skyline, foot - tall + branches, out=skyline, where=drop < tall)
    return skyline


def grain(rng: np.random.Generator, strength: float) -> Array:
    return rng.normal(0, strength, (SIZE, SIZE, 1)).astype(np.float32)


# Motifs


def dawn() -> Array:
    """Hills in the haze before a rising sun."""
    rng = np.random.default_rng(1701)
    sun_x, sun_y = 0.63, 0.47
    air = Y + 0.10 * (X - sun_x) ** 2
    picture = gradient(
        air, (0, "2b3a67"), (0.16, "56588c"), (0.30, "a3749a"), (0.41, "e59a8b"), (0.50, "fbc78e"), (0.58, "ffe5b4")
    )
    veil = smooth(0.05, 1.1, clouds(rng, 9, 2.2, 5)) * smooth(0.02, 0.2, Y) * smooth(0.52, 0.3, Y)
    picture = over(picture, gradient(air, (0.05, "6d6a9c"), (0.3, "f0a899"), (0.5, "ffd9a0")), 0.75 * veil)
    picture += colour("ff9a50") * (0.42 * glow(sun_x, sun_y, 0.10, 1.5))[..., None]
    distance = np.sqrt((X - sun_x) ** 2 + (Y - sun_y) ** 2)
    picture = over(picture, colour("fff6df"), smooth(0.062, 0.044, distance))
    layers = 7
    for layer in range(layers):
        near = layer / (layers - 1)
        edge = 0.535 + 0.37 * near**1.25 + (0.035 + 0.045 * near) * line(rng, 2.2 + 1.6 * near, 7, 0.48)
        mist = smooth(0.0, 0.15, Y - edge) * (0.75 - 0.6 * near)
        if layer >= 4:
            edge = firs(rng, edge, 70 + 50 * (layer - 4), 0.018 + 0.022 * (layer - 3))
        body = gradient(np.full_like(Y, near), (0, "dd9a93"), (0.35, "94678a"), (0.7, "4a3d62"), (1, "171a33"))
        hill = over(body + np.zeros_like(picture), colour("f6bfa2"), mist)
        hill += colour("ff9a5a") * (0.30 * (1 - near) * glow(sun_x, sun_y, 0.13, 1.3))[..., None]
        picture = over(picture, hill, below(edge))
    return picture + grain(rng, 0.0045)


def dunes() -> Array:
    """Sand ridges in a low sun: lit on one side, blue on the other."""
    rng = np.random.default_rng(2112)
    picture = gradient(Y + 0 * X, (0, "3f8fb0"), (0.25, "8fc4c6"), (0.42, "f3e3c3"), (0.5, "fbe8c8"))
    picture += colour("fff0c8") * (0.35 * glow(0.18, 0.20, 0.07))[..., None]
    picture = over(picture, colour("fffdf2"), smooth(0.042, 0.036, np.sqrt((X - 0.18) ** 2 + (Y - 0.20) ** 2)))
    for layer in range(6):
        near = layer / 5
        crest = 0.43 + 0.40 * near**1.2 + (0.03 + 0.055 * near) * line(rng, 1.6 + 0.8 * near, 3, 0.3)
        depth = np.maximum(Y - crest, 0)
        ripples = np.sin((depth * (150 - 60 * near) + 5 * X + 1.5 * clouds(rng, 5, 3, 2)) * 6.2832)
        lit = gradient(depth, (0, "ffe0a8"), (0.10, "f2b676"), (0.35, "cf8a52"))
        lit *= (1 + 0.03 * near * ripples)[..., None]
        shade = gradient(depth, (0, "94605f"), (0.2, "734b5c"), (0.4, "553a52"))
        sand = over(lit, shade, _lee(rng, crest, depth, near))
        sand = over(sand, colour("f6dcb8"), np.full_like(depth, 0.6 * (1 - near) ** 1.5))
        picture = over(picture, sand, below(crest))
    return picture + grain(rng, 0.002)


def _lee(rng: np.random.Generator, crest: Array, depth: Array, near: float) -> Array:
    """The sides turned away from the sun: behind a spine that winds down from each summit."""
    cover = np.zeros_like(depth)
    summits = np.flatnonzero((crest[1:-1] < crest[:-2]) & (crest[1:-1] <= crest[2:])) + 1
    for summit in summits:
        reach = rng.uniform(0.16, 0.26) * (0.6 + 0.6 * near)
        bend, turn = rng.uniform(0.5, 1.1), rng.uniform(0, 0.6)
        spine = summit / SIZE + bend * depth + 0.045 * np.sin(depth * 17 + turn) - 0.045 * np.sin(turn)
        behind = X - spine
        cover = np.maximum(cover, smooth(0, 0.004, behind) * smooth(reach, 0.25 * reach, behind))
    return cover * smooth(0.36, 0.02, depth)


def harbour() -> Array:
    """A town at the water after sunset, and two boats."""
    rng = np.random.default_rng(1893)
    shore = 0.56
    picture = gradient(Y + 0 * X, (0, "1d2b53"), (0.22, "4b4a86"), (0.38, "b4698c"), (0.50, "f79d7c"), (0.56, "ffd08a"))
    veil = smooth(0.1, 1.2, clouds(rng, 12, 2, 5)) * smooth(0.0, 0.25, Y)
    picture = over(picture, colour("ff9f8c"), 0.5 * veil)
    hills = 0.50 + 0.035 * line(rng, 3, 6)
    picture = over(picture, colour("7d5a86"), below(hills, 2))
    picture = _town(rng, picture, shore)
    for x, height in ((0.30, 0.20), (0.71, 0.13)):
        picture = _boat(picture, x, shore + 0.012, height)
    # The water is the same picture upside down, broken by waves that grow towards the viewer.
    depth = np.maximum(Y - shore, 0)
    wave = np.sin((clouds(rng, 70, 6, 3) + Y * 40) * 3) * (0.002 + 0.05 * depth)
    rows = np.clip((shore - depth * 1.15 + wave) * SIZE, 0, SIZE - 1).astype(np.int64)
    columns = np.clip(np.arange(SIZE)[None, :] + wave * SIZE * 0.6, 0, SIZE - 1).astype(np.int64)
    water = picture[rows, columns] * colour("a9b4cc") + 0.10 * wave[..., None]
    water = over(water, colour("16234a"), smooth(0.0, 0.55, depth) * 0.8)
    mirrored = over(picture, water, (np.clip(Y - shore, 0, 1) > 0) * np.ones_like(X))
    for x, height in ((0.30, 0.20), (0.71, 0.13)):
        mirrored = _boat(mirrored, x, shore + 0.012, height)
    return mirrored + grain(rng, 0.006)


def _town(rng: np.random.Generator, picture: Array, shore: float) -> Array:
    """Gabled houses along the shore, some windows lit."""
    left = -0.01
    while left < 1:
        width, top = rng.uniform(0.022, 0.05), shore - rng.uniform(0.045, 0.12)
        centre = left + width / 2
        roof = top + np.abs(X[0] - centre) * 0.9
        inside = np.clip((width / 2 - np.abs(X - centre)) * SIZE + 0.5, 0, 1)
        wall = gradient(np.full_like(Y, rng.uniform()), (0, "3a2f5c"), (0.5, "533a66"), (1, "2c2950"))
        picture = over(picture, wall, below(roof) * inside * (shore > Y))
        for y in np.arange(top + 0.032, shore - 0.012, 0.017):
            for x in np.arange(left + 0.008, left + width - 0.006, 0.010):
                if rng.uniform() < 0.4:
                    lamp = smooth(0.0034, 0.0022, np.maximum(np.abs(X - x), 0.7 * np.abs(Y - y)))
                    picture = over(picture, colour("ffd98a"), lamp)
        left += width
    return picture


def _boat(picture: Array, x: float, y: float, height: float) -> Array:
    up = (y - Y) / height
    beside = (X - x) / height
    pixel = 1 / (SIZE * height)
    for side, top, reach, paint in ((-1, 1.0, 0.42, "f6e6d6"), (1, 0.88, 0.30, "d9b7ae")):
        out = beside * side - 0.012
        width = reach * np.clip((top - up) / top, 0, 1) ** 0.8
        sail = smooth(0, 2 * pixel, out) * smooth(0, 2 * pixel, width - out) * smooth(0.07, 0.075, up)
        picture = over(picture, colour(paint), sail)
    hull = smooth(0, 2 * pixel, 0.36 + 0.5 * up - np.abs(beside + 0.03)) * (np.abs(up) < 0.055)
    return over(picture, colour("231f3d"), hull)


def night() -> Array:
    """Northern lights over mountains and a still lake."""
    rng = np.random.default_rng(1859)
    picture = gradient(Y + 0 * X, (0, "050b20"), (0.4, "0b2140"), (0.7, "1b4a5c"))
    stars = np.zeros((SIZE, SIZE), dtype=np.float32)
    for _ in range(900):
        row, column = rng.integers(0, 700), rng.integers(0, SIZE)
        stars[row, column] = rng.uniform(0.15, 1) ** 2
    halo = np.zeros_like(stars)
    for shift in (-1, 1):
        halo += 0.28 * np.roll(stars, shift, 0) + 0.28 * np.roll(stars, shift, 1)
    picture += colour("dfe9ff") * (stars + halo)[..., None]
    for base, spread, strength, hues in (
        (0.50, 0.30, 0.85, ("3dffa6", "2bd3c0", "7a4dd8")),
        (0.36, 0.22, 0.50, ("58ffb0", "3aa6e0", "b04dd0")),
    ):
        foot = base + 0.09 * line(rng, 2.2, 4, 0.45) - 0.10 * (X[0] - 0.5)
        rays = 0.55 + 0.45 * line(rng, 26, 3, 0.6)
        above = foot - Y
        curtain = smooth(-0.03, 0.012, above) * np.exp(-np.maximum(above, 0) / (spread * (0.45 + 0.4 * rays)))
        hue = gradient(above / spread, (0, hues[0]), (0.5, hues[1]), (1.3, hues[2]))
        picture += hue * (strength * curtain * np.clip(0.35 + 0.65 * rays, 0, 1.3))[..., None]
    for layer, (base, height, paint) in enumerate(
        ((0.66, 0.085, "16384e"), (0.71, 0.07, "0d2438"), (0.765, 0.03, "07131f"))
    ):
        edge = base + height * (line(rng, 3.5 + layer, 8, 0.52) - 0.35)
        if layer == 2:
            edge = firs(rng, edge, 170, 0.05)
        picture = over(picture, colour(paint), below(edge))
    lake = 0.79
    depth = np.maximum(Y - lake, 0)
    sway = (0.0015 + 0.02 * depth) * clouds(rng, 90, 5, 3)
    rows = np.clip((lake - depth * 2.4 + sway) * SIZE, 0, SIZE - 1).astype(np.int64)
    water = picture[rows, np.arange(SIZE)[None, :]] * colour("8fa9b8")
    picture = over(picture, water, below(np.full(SIZE, lake, dtype=np.float32)))
    return picture + grain(rng, 0.006)


def pigment() -> Array:
    """A drop of ultramarine with a soft edge; the fourth channel is its alpha."""
    rng = np.random.default_rng(1826)
    x, up = X - 0.5 + 0 * Y, (0.52 - Y) / 0.42 + 0 * X
    # A teardrop as the zero of a smooth function; divided by its slope it is the distance from the edge.
    drop = 0.14 * (1 - up**2) * np.clip((1 - up) / 2, 0, None) ** 1.44 - x**2 - 0.0005
    down, across = np.gradient(drop, np.float32(1 / SIZE))
    inside = drop / np.maximum(np.hypot(down, across), 0.02) + 0.004 * clouds(rng, 4, 4, 3)
    wash = np.tanh(1.3 * clouds(rng, 4, 4, 6))
    body = gradient(Y + 0.14 * wash, (0.1, "6f8cff"), (0.42, "3556ea"), (0.68, "1f2fbd"), (0.95, "3b1391"))
    body = over(body, colour("120f63"), 0.5 * smooth(0.07, 0.0, inside))
    bend = x + 0.14 - 0.8 * (Y - 0.66) ** 2
    shine = np.exp(-((bend / 0.028) ** 2) - ((Y - 0.66) / 0.10) ** 2)
    body = over(body, colour("e6edff"), 0.8 * shine)
    return np.dstack([body, smooth(-0.012, 0.016, inside)])


def wave() -> Iterator[Array]:
    """Twelve frames, 400 × 225, of a sea in flat colours that rolls without a seam."""
    width, height, frames = 400, 225, 12
    x = (np.arange(width, dtype=np.float32) + 0.5)[None, :] / width
    y = (np.arange(height, dtype=np.float32) + 0.5)[:, None] / height
    sea = ("8fd3d8", "4fb3c4", "2a8fb0", "1b6b98", "14497a", "0f2f5c")
    for frame in range(frames):
        phase = 2 * np.pi * frame / frames
        picture = colour("fff1d6") + np.zeros((height, width, 3), dtype=np.float32)
        disc = np.hypot((x - 0.7) * width, (y - 0.34) * height)
        picture = over(picture, colour("ffb38a"), np.clip(38.5 - disc, 0, 1))
        for layer, paint in enumerate(sea):
            turns = 2 + layer % 3
            swell = np.sin(2 * np.pi * turns * x * 0.6 + phase * (1 if layer % 2 else -1) + layer * 1.9)
            crest = 0.42 + 0.1 * layer + 0.035 * swell + 0.012 * np.sin(phase + layer)
            picture = over(picture, colour(paint), np.clip((y - crest) * height + 0.5, 0, 1))
        yield picture


# Files


def to_image(picture: Array) -> pyvips.Image:
    pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")


@cache
def canvas(motif: Callable[[], Array]) -> pyvips.Image:
    return to_image(motif())


def still(motif: Callable[[], Array], size: int, target: str) -> Callable[[], bytes]:
    return lambda: bytes(canvas(motif).thumbnail_image(size).write_to_buffer(target))


def animation() -> bytes:
    frames = [to_image(frame) for frame in wave()]
    strip = pyvips.Image.arrayjoin(frames, across=1).copy()
    strip.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    strip.set_type(pyvips.GValue.array_int_type, "delay", [80] * len(frames))
    strip.set_type(pyvips.GValue.gint_type, "loop", 0)
    return bytes(strip.gifsave_buffer(dither=0, bitdepth=6))


SAMPLES: Mapping[str, Callable[[], bytes]] = {
    "hero_abc123.png": still(dawn, SIZE, ".png"),
    **{f"dunes_{size}.png": still(dunes, size, ".png") for size in (64, 512, 1024)},
    **{f"harbour_{size}.jpg": still(harbour, size, ".jpg[Q=88]") for size in (64, 512, 1024)},
    **{f"night_{size}.webp": still(night, size, ".webp[Q=85]") for size in (64, 512, 1024)},
    "pigment_alpha.png": still(pigment, 512, ".png"),
    "wave_animated.gif": animation,
}
"""Each sample's file name, and what makes its bytes."""


def write_missing(directory: Path) -> list[Path]:
    """Paint the samples that ``directory`` does not have yet; the files written."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, paint in SAMPLES.items():
        path = directory / name
        if not path.exists():
            _publish(path, paint())
            written.append(path)
    return written


def _publish(path: Path, content: bytes) -> None:
    """Nobody sees a file that is half written."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        draft = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            draft.replace(path)
        except BaseException:
            draft.unlink()
            raise


def main() -> None:
    parser = argparse.ArgumentParser(description="Paint the sample pictures that are not there yet.")
    parser.add_argument("directory", type=Path)
    for path in write_missing(parser.parse_args().directory):
        print(f"{path} ({path.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
