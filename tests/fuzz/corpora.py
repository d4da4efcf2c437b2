"""Where the images come from: painted here, or fetched as source distributions with pip (``corpora.txt``)."""

from __future__ import annotations

import ast
import binascii
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyvips
from tests.fuzz.mutations import Sample
from tests.golden.pictures import image, png_chunk, scene, strip

REQUIREMENTS = Path(__file__).with_name("corpora.txt")
_DOWNLOADS = Path(".fuzz/corpora")
_MOST_BYTES = 1024 * 1024
"""In a file: larger ones are pictures like the others, and slower."""
_FOLDERS = ("/Tests/images/", "/tests/fixtures/images/", "/integration_tests/imgs/", "/code/test/", "/asset/")

_SUFFIXES = {
    "plain": [".png", ".jpg", ".webp", ".avif", ".gif"],
    "png": [".png[interlace]", ".png[palette]", ".png[palette,bitdepth=2]", ".png[filter=all]"],
    "jpg": [".jpg[interlace]", ".jpg[subsample-mode=off]", ".jpg[optimize-coding,Q=20]", ".jpg[restart-interval=2]"],
    "webp": [
        ".webp[lossless]",
        ".webp[near-lossless]",
        ".webp[lossless,effort=0]",
        ".webp[effort=0,Q=5]",
        ".webp[effort=6,smart-subsample]",
        ".webp[preset=text,alpha-q=20]",
        ".webp[exact,effort=2,passes=3]",
    ],
    "avif": [".avif[lossless]", ".avif[subsample-mode=off]", ".avif[bitdepth=10]", ".avif[tune=ssim,Q=10]"],
    "gif": [".gif[interlace]", ".gif[bitdepth=1]", ".gif[dither=0,effort=1]", ".gif[bitdepth=4]"],
}


def painted() -> list[Sample]:
    """Every kind and option that the encoders here know, in small."""
    still = scene(60, 40)
    clear = np.dstack([still, np.tile(np.linspace(0, 255, 60, dtype=np.uint8), (40, 1))])
    deep = still.astype(np.uint16) * 257
    pictures = {
        "colour": image(still),
        "clear": image(clear),
        "grey": image(still[..., :1], "b-w"),
        "deep": image(deep, "rgb16"),
        "tagged": _tagged(image(still)),
        "moving": strip(*(np.roll(still, 9 * step, axis=1) for step in range(4))),
    }
    return [*_encoded(pictures), *_grafted()]


def fetched() -> list[Sample]:
    """The images of the source distributions. Raises ``RuntimeError`` where pip can't fetch them."""
    _download()
    found = {sample.content: sample for archive in sorted(_DOWNLOADS.glob("*.tar.gz")) for sample in _unpacked(archive)}
    return sorted(found.values(), key=lambda sample: sample.name)


def _tagged(picture: pyvips.Image) -> pyvips.Image:
    tagged = picture.icc_export(output_profile="p3").copy()
    tagged.set_type(pyvips.GValue.gint_type, "orientation", 6)
    tagged.set_type(pyvips.GValue.gstr_type, "exif-ifd0-ImageDescription", "what was asked for")
    tagged.set_type(pyvips.GValue.blob_type, "xmp-data", b"<x:xmpmeta>what was asked for</x:xmpmeta>")
    return tagged


def _encoded(pictures: dict[str, pyvips.Image]) -> Iterator[Sample]:
    for name, picture in pictures.items():
        for suffix in (suffix for kind in _SUFFIXES.values() for suffix in kind):
            yield Sample(f"painted/{name}{suffix}", picture.write_to_buffer(suffix))
    yield Sample("painted/cmyk.jpg", pictures["colour"].colourspace("cmyk").write_to_buffer(".jpg"))


def _grafted() -> Iterator[Sample]:
    """What no encoder here writes: chunks of a moving PNG, and texts."""
    png = image(scene(60, 40)).pngsave_buffer()
    animation = png_chunk(b"acTL", bytes((0, 0, 0, 2, 0, 0, 0, 0)))
    frame = png_chunk(b"fcTL", bytes(4) + bytes((0, 0, 0, 60, 0, 0, 0, 40)) + bytes(14))
    text = png_chunk(b"tEXt", b"prompt\0what was asked for") + png_chunk(b"iTXt", b"prompt\0\0\0\0\0what was asked for")
    yield Sample("painted/moving.png", png[:33] + animation + frame + png[33:])
    yield Sample("painted/texts.png", png[:33] + text + png[33:])


def _download() -> None:
    wanted = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    missing = [it for it in wanted if not (_DOWNLOADS / f"{it.replace('==', '-')}.tar.gz").exists()]
    if not missing:
        return
    names = ",".join(it.partition("==")[0] for it in missing)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    try:
        subprocess.run([*command, "--no-binary", names, "--dest", str(_DOWNLOADS), *missing], check=True)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"pip can't fetch {', '.join(missing)}; it says why above") from error


def _unpacked(archive: Path) -> Iterator[Sample]:
    with tarfile.open(archive) as files:
        for member in files:
            file = files.extractfile(member) if member.isfile() and member.size <= _MOST_BYTES else None
            if file is None:
                continue
            if member.name.endswith("/code/pngsuite.py"):
                yield from _suite(file.read().decode())
            elif any(folder in f"/{member.name}" for folder in _FOLDERS):
                yield Sample(member.name, file.read())


def _suite(program: str) -> Iterator[Sample]:
    """The PNGs that pypng keeps as hexadecimal texts, each the argument of a call; nothing of it is run."""
    tables = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Dict)]
    for key, value in ((key, value) for table in tables for key, value in zip(table.keys, table.values, strict=True)):
        match key, value:
            case ast.Constant(value=str(name)), ast.Call(args=[ast.Constant(value=bytes(digits))]):
                yield Sample(f"pngsuite/{name}.png", binascii.unhexlify(digits.replace(b"\n", b"")))
