"""Magic bytes → media type and size, and whether the file is whole, before any decoder is trusted.

Nothing is decoded: the containers are walked by the lengths that they state, without recursion. A walk is
linear and its steps are bounded, so that a file of a million empty parts is refused instead of followed.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lightfast.errors import InvalidImage, UnsupportedMediaType

EXTENSIONS: Mapping[str, str] = MappingProxyType(
    {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/avif": ".avif", "image/gif": ".gif"}
)
"""Each supported media type with the extension of its files, dot included."""

MAX_PIXELS = 50_000_000
MAX_BLOCKS = 50_000
"""Most chunks, segments, boxes, box properties or GIF blocks that a file may have."""

MAX_SUB_BLOCKS = 500_000
"""Most sub-blocks that the data of a GIF may be cut into; full ones make 122 MiB."""

# W3C PNG, third edition, §5.
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# ITU-T T.81, table B.1: the frames of every process, the first scan, the markers that stand alone.
_JPEG_SOF, _JPEG_SEQUENTIAL = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}, frozenset({0xC0, 0xC1})
_JPEG_SOS = 0xDA
_JPEG_SCANS = 64  # at most: a few bytes can make a decoder go over all of the pixels once more
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_FILL = re.compile(rb"\xff+")
# GIF89a, appendix A.
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, 0x3B

_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the bytes themselves say. ``width`` and ``height`` in pixels."""

    media_type: str
    width: int
    height: int


def sniff(content: bytes, max_pixels: int = MAX_PIXELS) -> Sniffed:
    """Tell what image ``content`` is, from its bytes alone.

    The size is that of the file's header: an EXIF orientation is not applied, the rotation of an AVIF
    (``irot``, a property of the format) is. An animation has the size of its canvas; that of a GIF is
    enlarged where its first frame reaches over it, as decoders do. What follows the end of a PNG, JPEG,
    WebP or GIF is tolerated.

    Raises ``UnsupportedMediaType`` where the bytes are of no type in ``EXTENSIONS``, and ``InvalidImage``
    where they are empty, truncated, cut into absurdly many parts, of no size, or of more than
    ``max_pixels`` pixels (one frame).
    """
    if not content:
        raise InvalidImage("The image is empty: it has 0 bytes.")
    if (media_type := _recognise(content)) is None:
        raise UnsupportedMediaType(f"The content is {_describe(content)}; supported are {', '.join(EXTENSIONS)}.")
    measure, check_whole = _FORMATS[media_type]
    try:
        width, height = measure(content)
        _check_size(media_type, width, height, max_pixels)
        check_whole(content)
    except (IndexError, struct.error) as error:
        # The walks read where the file says that something is; past the end there is nothing.
        raise _truncated(media_type) from error
    return Sniffed(media_type, width, height)


def media_type_essence(value: str) -> str:
    """The lower-case ``type/subtype`` of a Content-Type value, without parameters (RFC 9110 §8.3.1).

    Well-known aliases come back under the registered name: ``image/jpg`` as ``image/jpeg``. A value that
    is no media type comes back as it is, in lower case, and equals none.
    """
    essence = value.partition(";")[0].strip(" \t").lower()
    return _ALIASES.get(essence, essence)


def _check_size(media_type: str, width: int, height: int, max_pixels: int) -> None:
    if not width or not height:
        raise InvalidImage(f"The {media_type} has no pixels: its header says {width} × {height}.")
    if width * height > max_pixels:
        raise InvalidImage(f"The {media_type} claims {width} × {height} pixels; the limit is {max_pixels} in all.")


def _truncated(media_type: str) -> InvalidImage:
    return InvalidImage(f"The {media_type} is truncated: it ends before its structure does.")


def _malformed(media_type: str, what: str) -> InvalidImage:
    return InvalidImage(f"The {media_type} is malformed: {what}.")


def _fragmented(media_type: str, limit: int) -> InvalidImage:
    return InvalidImage(f"The {media_type} is cut into more than {limit} parts.")


def _recognise(content: bytes) -> str | None:
    if content.startswith(_PNG_MAGIC):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    return "image/avif" if _brands(content) & {b"avif", b"avis"} else None


def _brands(content: bytes) -> set[bytes]:
    """The major and the compatible brands of an ISO media file (ISO/IEC 14496-12 §4.3); else nothing."""
    if content[4:8] != b"ftyp":
        return set()
    brands = content[8 : min(int.from_bytes(content[:4], "big"), 1024)]
    return {brands[at : at + 4] for at in range(0, len(brands), 4) if at != 4}  # at 4: the minor version


_OTHERS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), name)
    for pattern, name in (
        (rb"II[*+]\x00|MM\x00[*+]", "a TIFF"),
        (rb"BM.{4}\x00{4}", "a BMP"),
        (rb"%PDF-", "a PDF"),
        (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL"),
        (rb"\s*(?:(?:<\?xml|<!--).*)?<(?:!doctype )?svg\b", "an SVG"),
        (rb"\s*<(?:!doctype html|html|head|body|script)\b", "HTML"),
        (rb"\s*(?:\{\s*[\"}]|\[\s*[\[\]{\"0-9])", "JSON"),
        (rb"\s*data:", "a data URL (base64 text?)"),
        (rb"\s*\"?(?:iVBORw0KGgo|/9j/|UklGR|R0lGOD|AAAA.{4}ZnR5c)", "base64 text"),
        (rb"[A-Za-z0-9+/_-]{48}[A-Za-z0-9+/_=\r\n-]*\Z", "base64 text"),
    )
)


def _describe(content: bytes) -> str:
    brands = _brands(content)
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return "a HEIC"
    if brands:
        return "an ISO media file (MP4?)"
    head = content[:1024].removeprefix(b"\xef\xbb\xbf")
    return next((name for pattern, name in _OTHERS if pattern.match(head)), "unknown bytes")


def _measure_png(content: bytes) -> tuple[int, int]:
    length, kind, width, height, crc = struct.unpack_from(">I4sII5xI", content, len(_PNG_MAGIC))
    if kind != b"IHDR" or length != 13:
        raise _malformed("image/png", "its first chunk is no IHDR")
    if crc != zlib.crc32(content[12:29]):
        raise _malformed("image/png", "the checksum of its IHDR is wrong")
    return width, height


def _check_png(content: bytes) -> None:
    at, pictured = len(_PNG_MAGIC), False
    for _ in range(MAX_BLOCKS):
        length, kind = struct.unpack_from(">I4s", content, at)
        at += 12 + length
        pictured = pictured or kind == b"IDAT"
        if kind == b"IEND":
            break
    else:
        raise _fragmented("image/png", MAX_BLOCKS)
    if at > len(content):
        raise _truncated("image/png")
    if not pictured:
        raise _malformed("image/png", "it has no IDAT")


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """The marker of each segment, and where its parameters start, up to and including the first scan header."""
    at = 2
    for _ in range(MAX_BLOCKS):
        fill = _JPEG_FILL.match(content, at)
        if fill is None:
            whole = at < len(content)
            raise _malformed("image/jpeg", "no marker follows a segment") if whole else _truncated("image/jpeg")
        marker, at = content[fill.end()], fill.end() + 1
        if marker in _JPEG_BARE:
            continue
        if marker in (0x00, 0xD8, 0xD9):
            raise _malformed("image/jpeg", "it has no frame and no scan before it ends")
        (length,) = struct.unpack_from(">H", content, at)
        if length < 2:
            raise _malformed("image/jpeg", "a segment is shorter than its own length field")
        yield marker, at + 2
        if marker == _JPEG_SOS:
            return
        at += length
    raise _fragmented("image/jpeg", MAX_BLOCKS)


def _measure_jpeg(content: bytes) -> tuple[int, int]:
    for marker, start in _segments(content):
        if marker in _JPEG_SOF:
            height, width = struct.unpack_from(">xHH", content, start)
            return width, height
    raise _malformed("image/jpeg", "its first scan has no frame")


def _check_jpeg(content: bytes) -> None:
    starts = dict(_segments(content))
    scan = starts[_JPEG_SOS]
    # In coded data 0xFF is stuffed (§B.1.1.5): an EOI there is one. Most files end with theirs.
    if not content.endswith(b"\xff\xd9", scan) and content.find(b"\xff\xd9", scan) < 0:
        raise _truncated("image/jpeg")
    # A decoder goes on behind the first scan, unless the frame is sequential and that scan has all of its components.
    once = any(content[starts[frame] + 5] == content[scan] for frame in _JPEG_SEQUENTIAL & starts.keys())
    if not once and content.count(b"\xff\xda", scan, content.find(b"\xff\xd9", scan)) >= _JPEG_SCANS:
        raise _fragmented("image/jpeg", _JPEG_SCANS)


def _measure_webp(content: bytes) -> tuple[int, int]:
    """The canvas, or the only picture (RFC 9649 §2.7; RFC 6386 §9.1)."""
    kind, size = struct.unpack_from("<4sI", content, 12)
    if kind == b"VP8X" and size >= 10:
        width, height = int.from_bytes(content[24:27], "little"), int.from_bytes(content[27:30], "little")
        return width + 1, height + 1
    if kind == b"VP8L" and size >= 5:
        signature, bits = struct.unpack_from("<BI", content, 20)
        if signature == 0x2F:
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and size >= 10:
        tag, start_code, width, height = struct.unpack_from("<B2x3sHH", content, 20)
        if not tag & 1 and start_code == b"\x9d\x01\x2a":
            return width & 0x3FFF, height & 0x3FFF
    raise _malformed("image/webp", "its first chunk is no VP8, VP8L or VP8X header")


def _check_webp(content: bytes) -> None:
    end = 8 + int.from_bytes(content[4:8], "little")
    if end > len(content):
        raise _truncated("image/webp")
    at, pictured = 12, False
    for _ in range(MAX_BLOCKS):
        if end - at < 8:
            break
        kind, length = struct.unpack_from("<4sI", content, at)
        if at + 8 + length > end:
            raise _malformed("image/webp", "a chunk reaches over the end of its RIFF")
        pictured = pictured or kind in (b"VP8 ", b"VP8L", b"ANMF")
        at += 8 + length + (length & 1)
    else:
        raise _fragmented("image/webp", MAX_BLOCKS)
    if not pictured:
        raise _malformed("image/webp", "it has no picture chunk")


def _gif_colours(flags: int) -> int:
    """Bytes of the colour table that the packed field announces."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _gif_images(content: bytes) -> Iterator[int]:
    """Where each image descriptor starts. Ends at the trailer; raises where there is none."""
    at, budget = 13 + _gif_colours(content[10]), MAX_SUB_BLOCKS
    for _ in range(MAX_BLOCKS):
        introducer = content[at]
        if introducer == _GIF_TRAILER:
            return
        if introducer == _GIF_IMAGE:
            yield at
            at += 11 + _gif_colours(content[at + 9])
        elif introducer == _GIF_EXTENSION:
            at += 2
        else:
            raise _malformed("image/gif", "a block is neither image nor extension nor trailer")
        at, budget = _after_sub_blocks(content, at, budget)
    raise _fragmented("image/gif", MAX_BLOCKS)


def _after_sub_blocks(content: bytes, at: int, budget: int) -> tuple[int, int]:
    """Where the chain of sub-blocks at ``at`` ends, and what is left of the budget."""
    for used in range(budget):
        size = content[at]
        at += size + 1
        if not size:
            return at, budget - used
    raise _fragmented("image/gif", MAX_SUB_BLOCKS)


def _measure_gif(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", content, 6)
    if not width or not height:
        return width, height
    for at in _gif_images(content):
        left, top, frame_width, frame_height = struct.unpack_from("<HHHH", content, at + 1)
        return max(width, left + frame_width), max(height, top + frame_height)
    raise _malformed("image/gif", "it has no image")


def _check_gif(content: bytes) -> None:
    for _ in _gif_images(content):
        pass


def _boxes(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of the body of each box between ``at`` and ``end``."""
    for _ in range(MAX_BLOCKS):
        if at == end:
            return
        size, kind = struct.unpack_from(">I4s", content, at)
        header = 8
        if size == 1:
            (size,), header = struct.unpack_from(">Q", content, at + 8), 16
        elif size == 0:
            size = end - at
        if size < header:
            raise _malformed("image/avif", "a box is shorter than its own header")
        if at + size > end:
            raise _truncated("image/avif")
        yield kind, at + header, at + size
        at += size
    raise _fragmented("image/avif", MAX_BLOCKS)


def _children(content: bytes, at: int, end: int) -> dict[bytes, tuple[int, int]]:
    """The first box of each type, as start and end of its body."""
    return {kind: (start, stop) for kind, start, stop in reversed(list(_boxes(content, at, end)))}


def _only(boxes: Mapping[bytes, tuple[int, int]], kind: bytes) -> tuple[int, int]:
    if kind not in boxes:
        raise _malformed("image/avif", f"it has no {kind.decode()} box")
    return boxes[kind]


def _items(content: bytes) -> dict[bytes, tuple[int, int]]:
    """The boxes within the ``meta`` box of the file; ``meta`` is a full box, 4 bytes stand before them."""
    start, end = _only(_children(content, 0, len(content)), b"meta")
    return _children(content, start + 4, end)


def _measure_avif(content: bytes) -> tuple[int, int]:
    """The size of the primary item (ISO/IEC 23008-12 §6.5.3, §6.5.10, §9.3), else the largest one stated."""
    items = _items(content)
    iprp = _only(items, b"iprp")
    properties = list(_boxes(content, *_only(_children(content, *iprp), b"ipco")))
    sizes = [struct.unpack_from(">4xII", content, at) if kind == b"ispe" else None for kind, at, _ in properties]
    mine: list[int] = []
    if b"pitm" in items:
        at, _ = items[b"pitm"]
        (primary,) = struct.unpack_from(">I" if content[at] else ">H", content, at + 4)
        mine = [index - 1 for index in _owned(content, iprp, primary) if 0 < index <= len(properties)]
    size = next((size for index in mine if (size := sizes[index])), None)
    if size is None:
        candidates = (size for size in sizes if size)
        return max(candidates, key=lambda size: size[0] * size[1], default=(0, 0))
    turns = sum(content[properties[index][1]] & 3 for index in mine if properties[index][0] == b"irot")
    return (size[1], size[0]) if turns & 1 else size


def _owned(content: bytes, iprp: tuple[int, int], item: int) -> list[int]:
    """The 1-based indices of the properties that the ``ipma`` boxes associate with ``item``."""
    left = MAX_BLOCKS
    for kind, at, _ in _boxes(content, *iprp):
        if kind != b"ipma":
            continue
        version, flags, entries = struct.unpack_from(">B2xBI", content, at)
        name = struct.Struct(">IB" if version else ">HB")
        code, width, mask = ("H", 2, 0x7FFF) if flags & 1 else ("B", 1, 0x7F)
        at += 8
        for _ in range(entries):
            left -= 1
            if not left:
                raise _fragmented("image/avif", MAX_BLOCKS)
            found, count = name.unpack_from(content, at)
            at += name.size
            if found == item:
                return [index & mask for index in struct.unpack_from(f">{count}{code}", content, at)]
            at += count * width
    return []


def _check_avif(content: bytes) -> None:
    """Every box lies within the file, and there is one for the coded picture. A last box of size 0 reaches to the end
    of the file by definition (§4.2.2): cut off there, it can't be told."""
    if b"mdat" not in _children(content, 0, len(content)) and b"idat" not in _items(content):
        raise _truncated("image/avif")


_FORMATS: Mapping[str, tuple[Callable[[bytes], tuple[int, int]], Callable[[bytes], None]]] = {
    "image/png": (_measure_png, _check_png),
    "image/jpeg": (_measure_jpeg, _check_jpeg),
    "image/webp": (_measure_webp, _check_webp),
    "image/gif": (_measure_gif, _check_gif),
    "image/avif": (_measure_avif, _check_avif),
}
"""How each format tells its size, and how it is walked to its end. Both may run past the end: ``sniff`` knows."""
