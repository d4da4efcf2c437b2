"""Which decoders can be reached. A libvips that brings others fails here, and is thought about first."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
import pyvips
from tests.fuzz.containers import AVIF, JPEG, Part, cut, lists, seal
from tests.golden.pictures import image, made, pixels_of, scene

from lightfast.errors import InvalidImage, UnsupportedMediaType
from lightfast.imaging import source
from lightfast.variant import Format, Variant

OURS = {"pngload", "jpegload", "webpload", "gifload", "heifload"}
NEVER_CALLED = {"tiffload", "uhdrload", "matrixload"}
"""libvips counts them as safe for untrusted input; they are never asked, because nothing here lets libvips choose."""
_BLOCKED = 32  # VIPS_OPERATION_BLOCKED

STILL = image(scene(60, 40))
PICTURE = STILL.heifsave_buffer(compression="av1")


def _loaders() -> dict[str, bool]:
    """The name of each loader that libvips has here, and whether it is blocked."""
    names: list[str] = []

    def visit(kind: int, *_: object) -> object:
        names.append(pyvips.ffi.string(pyvips.vips_lib.vips_nickname_find(kind)).decode())
        pyvips.type_map(kind, visit)
        return pyvips.ffi.NULL

    pyvips.type_map(pyvips.type_from_name("VipsForeignLoad"), visit)
    found: dict[str, bool] = {}
    for name in names:
        if not name.endswith("_base"):
            loader = pyvips.Operation.new_from_name(name)
            flags = pyvips.vips_lib.vips_operation_get_flags(pyvips.ffi.cast("VipsOperation*", loader.pointer))
            found[name] = bool(flags & _BLOCKED)
    return found


def test_the_loaders_that_are_on_are_known() -> None:
    loaders = _loaders()
    on = {name.removesuffix("_source").removesuffix("_buffer") for name, blocked in loaders.items() if not blocked}
    assert OURS <= on <= OURS | NEVER_CALLED
    assert loaders["svgload_buffer"]
    assert all(blocked for name, blocked in loaders.items() if name.startswith(("vipsload", "csvload", "rawload")))


def test_each_type_has_its_one_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def noticing(name: str, load: Callable[..., pyvips.Image]) -> Callable[..., pyvips.Image]:
        return lambda *arguments, **options: called.append(name) or load(*arguments, **options)

    table = {name: noticing(name, load) for name, load in source._LOADERS.items()}
    monkeypatch.setattr(source, "_LOADERS", table)
    for suffix, name in ((".png", "png"), (".jpg", "jpeg"), (".webp", "webp"), (".gif", "gif"), (".avif", "avif")):
        called.clear()
        made(STILL.write_to_buffer(suffix), Variant(width=20, trim=True))
        assert set(called) == {f"image/{name}"}


OTHERS: dict[str, bytes] = {
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    "svg with a declaration": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj<<>>endobj",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "tiff": STILL.tiffsave_buffer(),
    "tiff of jpegs": STILL.tiffsave_buffer(compression="jpeg"),
    "big tiff": STILL.tiffsave_buffer(bigtiff=True),
    "vips": b"\xb6\xa6\xf2\x08" + struct.pack("<4i", 9, 9, 3, 8) + bytes(300),
    "csv": b"1,2\n3,4\n",
    "matrix": b"2 2\n1 2\n3 4\n",
    "bmp": b"BM" + struct.pack("<IIIIii", 66, 0, 54, 40, 1, 1) + bytes(40),
    "jpeg 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(40),
    "jpeg 2000 code stream": b"\xff\x4f\xff\x51" + bytes(60),
    "jpeg xl": b"\xff\x0a" + bytes(60),
    "jpeg xl container": b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(60),
    "jpeg xr": b"II\xbc\x01" + bytes(60),
    "openexr": b"\x76\x2f\x31\x01" + bytes(60),
    "radiance": b"#?RADIANCE\n",
    "ppm": b"P6 1 1 255\nabc",
    "fits": b"SIMPLE  =                    T",
    "psd": b"8BPS\x00\x01" + bytes(60),
    "ico": b"\x00\x00\x01\x00\x01\x00" + bytes(60),
    "dds": b"DDS \x7c\x00\x00\x00" + bytes(120),
    "mp4": struct.pack(">I", 24) + b"ftypisom\x00\x00\x02\x00isommp41" + bytes(60),
    "msl": b"<image><read filename='/etc/passwd'/></image>",
    "mvg": b"push graphic-context\nviewbox 0 0 9 9\n",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(60),
    "heic": PICTURE.replace(b"avif", b"heic").replace(b"av01", b"hvc1"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_types_are_refused_by_the_codec_too(name: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="supported are image/png"):
        made(OTHERS[name], Variant(width=9))


@pytest.mark.parametrize("coding", [b"hvc1", b"avc1", b"vvc1", b"j2k1", b"jpeg", b"unci", b"mski"])
def test_an_avif_of_another_coding_is_refused(coding: bytes) -> None:
    """The brand says AVIF; what is in it would want another decoder."""
    with pytest.raises(InvalidImage):
        made(PICTURE.replace(b"av01", coding), Variant(width=9))


def test_no_other_coding_is_linked() -> None:
    for coding in ("hevc", "avc", "jpeg"):
        with pytest.raises(pyvips.Error):
            STILL.heifsave_buffer(compression=coding)


@pytest.mark.parametrize("magic", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\xff\0\0\0WEBP"])
@pytest.mark.parametrize("name", ["svg", "tiff", "pdf", "vips"])
def test_the_magic_bytes_of_one_type_do_not_open_another(magic: bytes, name: str) -> None:
    with pytest.raises(InvalidImage):
        made(magic + OTHERS[name], Variant(width=9))


def test_a_gain_map_is_not_decoded() -> None:
    """A second JPEG behind the first, and the XMP that says so: it is a JPEG like any other."""
    plain = STILL.jpegsave_buffer(Q=95)
    parts = cut(plain, JPEG)
    claim = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta hdrgm:Version="1.0" Item:Semantic="GainMap"/>'
    parts.insert(1, Part(b"\xff\xe1", claim))
    as_png = Variant(format=Format.PNG)
    assert (pixels_of(made(seal(parts, JPEG) + plain, as_png).content) == pixels_of(made(plain, as_png).content)).all()


def test_a_grid_without_an_end_is_refused() -> None:
    parts = cut(PICTURE, AVIF)
    for part in (part for found in lists(parts) for part in found if part.kind == b"infe"):
        part.body = part.body.replace(b"av01", b"grid")
    with pytest.raises(InvalidImage):
        made(seal(parts, AVIF), Variant(width=9))
