"""Small files that claim to be, or are, something huge. What each costs is measured where it is tried, in a worker."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

import pyvips
from tests.fuzz.containers import AVIF, JPEG, WEBP, Part, cut, lists, seal
from tests.golden.pictures import image, png_chunk, scene

Bomb = Callable[[], bytes]

_STILL = image(scene(60, 40))
_SIDE = 7071
"""The side of the largest square that is still within the limit of pixels."""
_MIB = 1 << 20


def _packed(size: int) -> bytes:
    return zlib.compress(b"\0" * size, 9)


def _png(width: int, height: int, colour: int = 2, depth: int = 8, interlace: int = 0, data: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", data or _packed(_MIB)) + png_chunk(b"IEND", b"")


def _png_of_zeros(side: int, colour: int = 2, depth: int = 8, interlace: int = 0) -> bytes:
    """All of its rows are there."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    size = side * (1 + (side * samples * depth + 7) // 8) + 16 * side  # interlaced, there are more rows
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(min(_MIB, size - at))) for at in range(0, size, _MIB)) + packer.flush()
    return _png(side, side, colour, depth, interlace, data)


def _with_chunks(*chunks: bytes) -> bytes:
    png = _STILL.pngsave_buffer()
    return png[:33] + b"".join(chunks) + png[33:]


def _jpeg(width: int, height: int, *, interlace: bool = False, scans: int = 1, data: bool = True) -> bytes:
    """The size is claimed; of the data there are those of a small picture, each scan ``scans`` times, or none."""
    parts = cut(_STILL.jpegsave_buffer(interlace=interlace), JPEG)
    made: list[Part] = []
    for part in parts:
        if part.kind in (b"\xff\xc0", b"\xff\xc2"):
            part.body = part.body[:1] + struct.pack(">HH", height, width) + part.body[5:]
        coded = not part.kind and not part.body.startswith(b"\xff\xd9")
        if coded and made[-1].kind == b"\xff\xda":
            scan = made.pop()
            made += [scan, part if data else Part(b"", b"")] * scans
        else:
            made.append(part)
    return seal(made, JPEG)


def _jpeg_of_runs(width: int, height: int, scans: int) -> bytes:
    """Progressive, grey, of scans that are valid and say in a few bytes that each block of 8 × 8 ends at once."""
    runs = -(-(-(-width // 8) * -(-height // 8)) // 32767)
    bits = "0" + "1" * 14  # the one code of the table, for an end of 2¹⁴ blocks, and as many more as 14 bits say
    coded = "".join([bits] * runs)
    coded += "1" * (-len(coded) % 8)
    data = int(coded, 2).to_bytes(len(coded) // 8, "big").replace(b"\xff", b"\xff\0")
    first = [
        Part(b"\xff\xdb", b"\0" + b"\1" * 64),
        Part(b"\xff\xc2", struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
        Part(b"\xff\xc4", b"\x10\1" + bytes(15) + b"\xe0"),
    ]
    scan = [Part(b"\xff\xda", b"\1\1\0\1\x3f\0"), Part(b"", data)]
    return seal(first + scan * scans + [Part(b"", b"\xff\xd9")], JPEG)


def _gif(width: int, height: int, frames: int, data: bytes = b"\x02\x02\x44\x01\x00") -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + data
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + frame * frames + b"\x3b"


def _webp_picture(lossless: bool = False) -> Part:
    parts = cut(_STILL.webpsave_buffer(lossless=lossless, keep="none"), WEBP)
    return next(part for part in parts if part.kind in (b"VP8 ", b"VP8L"))


def _webp_frames(width: int, height: int, frames: int) -> bytes:
    """Frames that are a small picture each, on a large canvas."""
    picture = _webp_picture()
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inside = picture.kind + struct.pack("<I", len(picture.body)) + picture.body + b"\0" * (len(picture.body) & 1)
    place = bytes(6) + (59).to_bytes(3, "little") + (39).to_bytes(3, "little") + bytes(4)
    parts = [Part(b"VP8X", b"\x02\0\0\0" + size), Part(b"ANIM", bytes(6))]
    return seal(parts + [Part(b"ANMF", place + inside) for _ in range(frames)], WEBP)


def _webp_claim(width: int, height: int) -> bytes:
    picture = _webp_picture()
    picture.body = picture.body[:6] + struct.pack("<HH", width, height) + picture.body[10:]
    return seal([picture], WEBP)


def _webp_lossless_claim(width: int, height: int) -> bytes:
    picture = _webp_picture(lossless=True)
    picture.body = picture.body[:1] + struct.pack("<I", width - 1 | height - 1 << 14) + picture.body[5:]
    return seal([picture], WEBP)


def _avif_claim(width: int, height: int) -> bytes:
    return _avif_of(width, height, _STILL.heifsave_buffer(compression="av1"))


def _avif_of(width: int, height: int, avif: bytes) -> bytes:
    """``avif`` with another size claimed."""
    parts = cut(avif, AVIF)
    for part in (part for found in lists(parts) for part in found if part.kind == b"ispe"):
        part.body = bytes(4) + struct.pack(">II", width, height)
    return seal(parts, AVIF)


def _avif_grid(rows: int, columns: int, side: int, claim: tuple[int, int]) -> bytes:
    """A grid whose every tile is one picture, grey, with sides of ``side``."""
    picture = pyvips.Image.black(side, side, bands=3) + 90
    grey = picture.cast("uchar").copy(interpretation="srgb")
    tile = cut(grey.heifsave_buffer(compression="av1", effort=0, keep="none"), AVIF)
    meta = next(part for part in tile if part.kind == b"meta")
    coded = next(part.body for part in tile if part.kind == b"mdat")
    config = next(part for found in lists(tile) for part in found if part.kind == b"av1C")
    sizes = [Part(b"ispe", struct.pack(">III", 0, *size)) for size in ((side, side), claim)]
    grid = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, *claim)
    items = [
        Part(b"infe", struct.pack(">IHH4s", 2 << 24, number, 0, kind) + b"\0")
        for number, kind in ((1, b"av01"), (2, b"grid"))
    ]
    of = b"".join(struct.pack(">H", 1) for _ in range(rows * columns))
    refs = Part(b"dimg", struct.pack(">HH", 2, rows * columns) + of)
    owned = Part(b"ipma", struct.pack(">II", 0, 2) + bytes((0, 1, 2, 1, 0x83)) + bytes((0, 2, 1, 2)))
    handler = next(part for part in meta.children if part.kind == b"hdlr")

    def whole(at: int) -> bytes:
        places = b"".join(
            struct.pack(">HHHHII", number, method, 0, 1, start, length)
            for number, method, start, length in ((1, 0, at, len(coded)), (2, 1, 0, len(grid)))
        )
        children = [
            handler,
            Part(b"pitm", bytes(4) + struct.pack(">H", 2)),
            Part(b"iloc", struct.pack(">IBBH", 1 << 24, 0x44, 0, 2) + places),
            Part(b"iinf", struct.pack(">IH", 0, 2), items),
            Part(b"iref", bytes(4), [refs]),
            Part(b"iprp", b"", [Part(b"ipco", b"", [sizes[0], sizes[1], config]), owned]),
            Part(b"idat", grid),
        ]
        return seal([tile[0], Part(b"meta", bytes(4), children), Part(b"mdat", coded)], AVIF)

    return whole(len(whole(0)) - len(coded))


def _plain(suffix: str, width: int = _SIDE, height: int = _SIDE) -> bytes:
    return bytes(pyvips.Image.black(width, height, bands=3).copy(interpretation="srgb").write_to_buffer(suffix))


REFUSED: Mapping[str, Bomb] = {
    "png 60000², of zeros": lambda: _png(60_000, 60_000, data=_packed(8 * _MIB)),
    "png 2147483647 × 1": lambda: _png(2**31 - 1, 1),
    "png 9999999 × 5": lambda: _plain(".png", 9_999_999, 5),
    "png just over the limit": lambda: _png(_SIDE + 1, _SIDE + 1, data=_packed(8 * _MIB)),
    "png interlaced, 16 bits, 50 MP": lambda: _png(_SIDE, _SIDE, 6, 16, 1),
    "jpeg 65500², without data": lambda: _jpeg(65_500, 65_500, data=False),
    "jpeg 65500², 500 scans": lambda: _jpeg(65_500, 65_500, interlace=True, scans=500),
    "webp 16383²": lambda: _webp_claim(16_383, 16_383),
    "webp 16384², lossless": lambda: _webp_lossless_claim(16_384, 16_384),
    "webp 16777216², 100 frames": lambda: _webp_frames(1 << 24, 1 << 24, 100),
    "gif 65535², 100 frames": lambda: _gif(65_535, 65_535, 100),
    "gif of 60000 frames": lambda: _gif(1000, 1000, 60_000),
    "avif 65535²": lambda: _avif_claim(65_535, 65_535),
    "avif grid of 65280 tiles, 46000²": lambda: _avif_grid(255, 256, 64, (46_000, 46_000)),
    "not an image: svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg' width='99999' height='99999'/>",
}
"""What no pixel may be decoded of."""

WITHIN: Mapping[str, Bomb] = {
    "png 50 MP, of zeros": lambda: _png_of_zeros(_SIDE),
    "png 50 MP, 16 bits, of zeros": lambda: _png_of_zeros(_SIDE, 6, 16),
    "png 50 MP, 1 bit, of zeros": lambda: _png_of_zeros(_SIDE, 0, 1),
    "png 50 MP, interlaced": lambda: _png_of_zeros(_SIDE, interlace=1),
    "png 50 MP, interlaced, 16 bits": lambda: _png_of_zeros(_SIDE, depth=16, interlace=1),
    "png 50 MP, with a row": lambda: _png(_SIDE, _SIDE),
    "png 1 × 65535": lambda: _plain(".png", 1, 65_535),
    "png 65535 × 760": lambda: _plain(".png", 65_535, 760),
    "png 760 × 65535": lambda: _plain(".png", 760, 65_535),
    "png of 50 texts, 40 MiB each": lambda: _with_chunks(*[png_chunk(b"zTXt", b"a\0\0" + _packed(40 * _MIB))] * 50),
    "png with a text of 60 MiB": lambda: _with_chunks(png_chunk(b"zTXt", b"a\0\0" + _packed(60 * _MIB))),
    "png with a text of 50 MiB": lambda: _with_chunks(png_chunk(b"zTXt", b"a\0\0" + _packed(50 * _MIB))),
    "png with 8 texts of 7 MiB": lambda: _with_chunks(*[png_chunk(b"zTXt", b"a\0\0" + _packed(7 * _MIB))] * 8),
    "png with a profile of 1 GiB": lambda: _with_chunks(png_chunk(b"iCCP", b"a\0\0" + _packed(1024 * _MIB))),
    "jpeg 50 MP, without data": lambda: _jpeg(_SIDE, _SIDE, data=False),
    "jpeg 50 MP, progressive": lambda: _plain(".jpg[interlace]"),
    "jpeg 50 MP, 50 scans": lambda: _jpeg(_SIDE, _SIDE, interlace=True, scans=5),
    "jpeg 50 MP, 5000 scans": lambda: _jpeg(_SIDE, _SIDE, interlace=True, scans=500),
    "jpeg 50 MP, 10 scans of runs": lambda: _jpeg_of_runs(_SIDE, _SIDE, 10),
    "jpeg 50 MP, 100 scans of runs": lambda: _jpeg_of_runs(_SIDE, _SIDE, 100),
    "jpeg 50 MP, 3000 scans of runs": lambda: _jpeg_of_runs(_SIDE, _SIDE, 3000),
    "webp 50 MP": lambda: _plain(".webp"),
    "webp 50 MP, lossless": lambda: _plain(".webp[lossless,effort=0]"),
    "webp 50 MP, with the data of 60 × 40": lambda: _webp_claim(_SIDE, _SIDE),
    "webp 50 MP, 500 small frames": lambda: _webp_frames(_SIDE, _SIDE, 500),
    "webp 250², 400 small frames": lambda: _webp_frames(250, 250, 400),
    "webp 380², 190 small frames": lambda: _webp_frames(380, 380, 190),
    "webp 447², 500 small frames": lambda: _webp_frames(447, 447, 500),
    "gif 50 MP": lambda: _gif(_SIDE, _SIDE, 1),
    "gif 50 MP, 400 frames": lambda: _gif(_SIDE, _SIDE, 400),
    "gif 250², 400 frames": lambda: _gif(250, 250, 400),
    "gif 447², 500 frames": lambda: _gif(447, 447, 500),
    "gif 60 × 40, 49000 frames": lambda: _gif(60, 40, 49_000),
    "avif 50 MP": lambda: _plain(".avif[effort=0]"),
    "avif 50 MP, with the data of 60 × 40": lambda: _avif_claim(_SIDE, _SIDE),
    "avif grid of 65280 tiles, 4480²": lambda: _avif_grid(255, 256, 64, (4480, 4480)),
    "avif grid of 256 tiles, 4608²": lambda: _avif_grid(16, 16, 288, (4608, 4608)),
    "avif grid of 4 tiles, 1024²": lambda: _avif_grid(2, 2, 512, (1024, 1024)),
    "avif 60 × 40, with the data of 5000²": lambda: _avif_of(60, 40, _plain(".avif[effort=0]", 5000, 5000)),
}
"""What is within the limits and is made, or is found to be damaged on the way: bounded by them."""
