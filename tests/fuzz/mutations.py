"""What is done to an image to make it hostile. The same seed and number give the same bytes, in any order."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.fuzz.containers import AVIF, GIF, JPEG, PNG, WEBP, Part, cut, kind_of, lists, seal

MOST_BYTES = 512 * 1024
"""In what comes out: a mutation may double a file, and another double it again."""

_BYTES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_SIDES = (0, 1, 2, 3, 7, 255, 256, 1000, 4096, 5000, 7071, 7072, 10_000, 16_383, 16_384, 65_535, 0x7FFFFFFF, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Sample:
    """A file of a corpus."""

    name: str
    content: bytes


class Mutator:
    """``make(number)`` is the same for the same samples and seed. Each kind of image gets its equal share."""

    def __init__(self, samples: Sequence[Sample], seed: int) -> None:
        self._seed = seed
        self._kinds: dict[str | None, list[Sample]] = {}
        for sample in sorted(samples, key=lambda sample: sample.name):
            self._kinds.setdefault(kind_of(sample.content), []).append(sample)

    def make(self, number: int) -> Sample:
        chance = random.Random(f"{self._seed}/{number}")
        sample = self._pick(chance)
        content, names = sample.content, []
        for _ in range(chance.choice((1, 1, 1, 2, 2, 3))):
            name = chance.choice(tuple(MUTATIONS))
            names.append(name)
            content = MUTATIONS[name](content, chance, lambda: self._pick(chance).content)[:MOST_BYTES]
        return Sample(f"{sample.name} {'+'.join(names)}", content)

    def _pick(self, chance: random.Random) -> Sample:
        kinds = [kind for kind in self._kinds if kind or chance.random() < 0.1] or list(self._kinds)
        return chance.choice(self._kinds[chance.choice(kinds)])


Other = Callable[[], bytes]
Mutation = Callable[[bytes, random.Random, Other], bytes]


def flip_bits(content: bytes, chance: random.Random, other: Other) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 2, 8, 64))):
        if changed:
            changed[_place(changed, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def set_bytes(content: bytes, chance: random.Random, other: Other) -> bytes:
    """A run of one byte, of noise, or a number that is an edge of something."""
    at = _place(content, chance)
    length = chance.choice((1, 2, 4, 8, 64, 512))
    run = chance.choice(
        (
            bytes([chance.choice(_BYTES)]) * length,
            chance.randbytes(length),
            chance.choice(_NUMBERS).to_bytes(4, chance.choice(("big", "little"))),
            struct.pack(chance.choice((">H", "<H")), chance.choice(_NUMBERS) & 0xFFFF),
        )
    )
    gap = chance.choice((0, len(run), len(run), len(run)))
    return content[:at] + run + content[at + gap :]


def truncate(content: bytes, chance: random.Random, other: Other) -> bytes:
    """At the end, or in the middle."""
    if chance.random() < 0.5:
        return content[: chance.randrange(len(content) + 1)]
    at = _place(content, chance)
    return content[:at] + content[at + chance.choice((1, 2, 16, 256, 4096)) :]


def splice(content: bytes, chance: random.Random, other: Other) -> bytes:
    """The head of one file and the tail of another."""
    tail = other()
    return content[: _place(content, chance)] + tail[_place(tail, chance) :]


def operate(content: bytes, chance: random.Random, other: Other) -> bytes:
    """Parts lost, doubled, moved, damaged or brought from another file of that kind; lengths and checksums fit."""
    kind = kind_of(content)
    if kind is None:
        return set_bytes(content, chance, other)
    parts = cut(content, kind)
    for _ in range(chance.choice((1, 1, 2, 4))):
        _operate_once(parts, chance, kind, other)
    return seal(parts, kind)


def _operate_once(parts: list[Part], chance: random.Random, kind: str, other: Other) -> None:
    found = list(lists(parts))
    if not found:
        return
    chosen = chance.choice(found)
    at = chance.randrange(len(chosen))
    part = chosen[at]
    match chance.randrange(7):
        case 0:
            del chosen[at]
        case 1:
            chosen[at:at] = [part.copy() for _ in range(chance.choice((1, 1, 2, 50)))]
        case 2:
            chosen.insert(chance.randrange(len(chosen)), chosen.pop(at))
        case 3:
            theirs = other()
            if kind_of(theirs) == kind:
                chosen.insert(at, chance.choice(chance.choice(list(lists(cut(theirs, kind))) or [[part]])).copy())
        case 4 if part.kind:
            part.kind = chance.choice(chosen).kind or part.kind
        case _:
            part.body = chance.choice((flip_bits, set_bytes, truncate))(part.body, chance, other)


def claim_size(content: bytes, chance: random.Random, other: Other) -> bytes:
    """Another width, another height, or both, where the header says them."""
    kind = kind_of(content)
    if kind is None:
        return flip_bits(content, chance, other)
    parts = cut(content, kind)
    _CLAIMS[kind](parts, chance)
    return seal(parts, kind)


def _side(chance: random.Random, now: int, most: int) -> int:
    return chance.choice((now, now + 1, now * 2, max(0, now - 1), chance.choice(_SIDES), chance.choice(_SIDES))) & most


def _put_sides(part: Part, at: int, form: str, chance: random.Random) -> None:
    size = struct.calcsize(form)
    if len(part.body) >= at + size:
        most = (1 << 4 * size) - 1
        sides = (_side(chance, now, most) for now in struct.unpack_from(form, part.body, at))
        part.body = part.body[:at] + struct.pack(form, *sides) + part.body[at + size :]


def _claim_png(parts: list[Part], chance: random.Random) -> None:
    for part in parts:
        if part.kind == b"IHDR":
            _put_sides(part, 0, ">II", chance)
            if chance.random() < 0.3 and len(part.body) == 13:
                depth, colour = chance.choice(((1, 0), (16, 0), (8, 2), (16, 2), (8, 3), (1, 3), (16, 6), (8, 4)))
                part.body = part.body[:8] + bytes((depth, colour, 0, 0, chance.randrange(2)))


def _claim_jpeg(parts: list[Part], chance: random.Random) -> None:
    for part in parts:
        if part.kind[1:] in (b"\xc0", b"\xc1", b"\xc2"):
            _put_sides(part, 1, ">HH", chance)


def _claim_webp(parts: list[Part], chance: random.Random) -> None:
    chosen = chance.choice(parts) if parts else Part(b"", b"")
    if chosen.kind == b"VP8 ":
        _put_sides(chosen, 6, "<HH", chance)
    elif chosen.kind == b"VP8L" and len(chosen.body) >= 5:
        bits = _side(chance, 63, 0x3FFF) | _side(chance, 63, 0x3FFF) << 14
        chosen.body = chosen.body[:1] + struct.pack("<I", bits & 0xFFFFFFF) + chosen.body[5:]
    elif chosen.kind in (b"VP8X", b"ANMF"):
        at = 4 if chosen.kind == b"VP8X" else chance.choice((0, 6))
        sides = b"".join(_side(chance, 63, 0xFFFFFF).to_bytes(3, "little") for _ in range(2))
        chosen.body = chosen.body[:at] + sides + chosen.body[at + 6 :]


def _claim_gif(parts: list[Part], chance: random.Random) -> None:
    frames = [part for part in parts if part.body[:1] == b"\x2c"]
    if frames and chance.random() < 0.7:
        _put_sides(chance.choice(frames), chance.choice((1, 5)), "<HH", chance)
    else:
        _put_sides(parts[0], 6, "<HH", chance)


def _claim_avif(parts: list[Part], chance: random.Random) -> None:
    for part in (part for found in lists(parts) for part in found):
        if part.kind == b"ispe":
            _put_sides(part, 4, ">II", chance)


_CLAIMS: Mapping[str, Callable[[list[Part], random.Random], None]] = {
    PNG: _claim_png,
    JPEG: _claim_jpeg,
    WEBP: _claim_webp,
    GIF: _claim_gif,
    AVIF: _claim_avif,
}


def add_metadata(content: bytes, chance: random.Random, other: Other) -> bytes:
    """Profiles, EXIF blocks and texts of noise, or of pieces of other files."""
    kind = kind_of(content)
    if kind is None or kind == GIF:
        return operate(content, chance, other)
    parts = cut(content, kind)
    noise = _noise(chance, other)
    made = {
        PNG: ((b"iCCP", b"p\0\0" + zlib.compress(noise)), (b"eXIf", noise), (b"zTXt", b"p\0\0" + zlib.compress(noise))),
        JPEG: ((b"\xff\xe2", b"ICC_PROFILE\0\1\1" + noise), (b"\xff\xe1", b"Exif\0\0" + noise), (b"\xff\xed", noise)),
        WEBP: ((b"ICCP", noise), (b"EXIF", noise), (b"XMP ", noise)),
        AVIF: ((b"colr", b"prof" + noise), (b"irot", noise[:1]), (b"clap", noise[:32]), (b"grid", noise[:8])),
    }[kind]
    properties = next((part.children for found in lists(parts) for part in found if part.kind == b"ipco"), parts)
    chosen = properties if kind == AVIF else parts
    chosen.insert(min(1, len(chosen)), Part(*chance.choice(made)))
    if kind == WEBP and parts[0].kind == b"VP8X":
        parts[0].body = bytes([parts[0].body[0] | 0x2C]) + parts[0].body[1:] if parts[0].body else b""
    return seal(parts, kind)


def _noise(chance: random.Random, other: Other) -> bytes:
    noise = chance.randbytes(chance.choice((0, 1, 12, 200, 3000)))
    tiff = chance.choice((b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08")) + bytes((0, chance.randrange(9))) + noise
    profile = struct.pack(">I4xI4s4s4s", len(noise) + 128, 0x04300000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    return chance.choice((noise, tiff, profile.ljust(128, b"\0") + noise, other()[:5000], b"\0" * 60_000))


def damage_pixels(content: bytes, chance: random.Random, other: Other) -> bytes:
    """In a PNG the bytes before they are compressed, so that inflating them succeeds; else the largest part."""
    kind = kind_of(content)
    if kind is None:
        return set_bytes(content, chance, other)
    parts = cut(content, kind)
    if not parts:
        return set_bytes(content, chance, other)
    if kind == PNG:
        datas = [part for part in parts if part.kind == b"IDAT"]
        inflater = zlib.decompressobj()
        try:
            rows = inflater.decompress(b"".join(part.body for part in datas), 4 << 20)
        except zlib.error:
            rows = b""
        if rows and datas:
            rows = chance.choice((flip_bits, set_bytes, truncate))(rows, chance, other)
            datas[0].body = zlib.compress(rows, chance.choice((0, 1, 1)))
            parts = [part for part in parts if part is datas[0] or part.kind != b"IDAT"]
            return seal(parts, kind)
    largest = max((part for found in lists(parts) for part in found), key=lambda part: len(part.body))
    largest.body = chance.choice((flip_bits, set_bytes, truncate))(largest.body, chance, other)
    return seal(parts, kind)


def _place(content: bytes | bytearray, chance: random.Random) -> int:
    """Anywhere, but often near the start: there the headers are."""
    if not content:
        return 0
    return chance.randrange(min(len(content), chance.choice((40, 400, len(content)))))


MUTATIONS: Mapping[str, Mutation] = {
    mutation.__name__.replace("_", "-"): mutation
    for mutation in (
        flip_bits,
        set_bytes,
        truncate,
        splice,
        operate,
        claim_size,
        add_metadata,
        damage_pixels,
    )
}
