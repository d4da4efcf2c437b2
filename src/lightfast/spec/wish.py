"""What a query asks for, and whether just anyone may ask for it.

Without a signature anyone may ask for the following, unless the operator opens variants to all:

- ``w`` and ``h`` out of ``Rules.sizes``, with ``dpr`` 1, 2 or 3 as long as no side gets longer than the largest size;
- ``fit`` clip, max, min or crop at the centre, and with one side only any, as it then just says whether to enlarge;
- ``fm`` avif, webp, jpg or png, the source's own, or the one negotiated by ``auto=format``;
- ``q`` 75 and 45 (that of ``auto=compress`` and Save-Data), at ``dpr=2`` also 50 and at ``dpr=3`` also 35: what the
  clients of imgix put into a ``srcset``;
- a preset of ``Rules.presets``, which may itself hold anything, with ``dpr``, ``fm``, ``q`` and ``auto`` as above.

It is the outcome that is judged, not the spelling, and nothing else makes a difference between two such variants. So
their number is bounded: the sizes as they come allow 34 sizes with one side and 289 with two; with ``dpr`` and ``fit``
that is 2,043 ways to shape a picture, none with a side of more than 3,840 pixels, and with all formats and qualities
32,087 variants of one image; each preset adds 55 at most. With ``n`` sizes it grows as ``n²``: with four it is 1,575.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from lightfast.errors import InvalidRequest, SettingsError
from lightfast.spec.canonical import COMPRESSED, assemble, pixel_sides
from lightfast.spec.parameters import PARAMETERS, bad_value, known_texts, parse_query, read_values, words
from lightfast.variant import Fit, Format, Variant

LISTED = (16, 32, 48, 64, 96, 128, 256, 384, 512, 640, 750, 828, 1080, 1200, 1920, 2048, 3840)
"""Pixels: the widths that ``next/image`` asks for where nothing else is set up, and 64 and 512."""

_FREE_QUALITIES = {1: (75, COMPRESSED), 2: (75, COMPRESSED, 50), 3: (75, COMPRESSED, 35)}
_FREE_FITS = (Fit.CLIP, Fit.CROP, Fit.MIN)
_FREE_FORMATS = (Format.AVIF, Format.WEBP, Format.JPG, Format.PNG)
_FREE_FIELDS = frozenset({"width", "height", "fit", "format", "quality"})
_BESIDE_PRESET = frozenset({"dpr", "fm", "q", "auto"})
_NAMES = {parameter.field: name for name, parameter in PARAMETERS.items()} | {"aspect": "ar", "rect": "rect"}


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator has set up. Raises ``SettingsError`` for what can't be used."""

    presets: Mapping[str, str] = field(default_factory=dict)
    """Name to query, such as ``{"thumb": "w=200&h=200&fit=crop"}``."""
    sizes: tuple[int, ...] = LISTED
    """Pixels. The widths and heights that need no signature."""

    def __post_init__(self) -> None:
        for name, query in self.presets.items():
            try:
                texts = known_texts(parse_query(query))
                if "preset" in texts:
                    raise InvalidRequest("A preset can't name another.")
                assemble(read_values(texts))
            except InvalidRequest as error:
                raise SettingsError(f"The preset {name!r} can't be used. {error}") from error


@dataclass(frozen=True, slots=True)
class Wish:
    """What a query asks for."""

    variant: Variant | None
    """``None``: the original, because nothing is to be changed."""
    negotiate: bool = False
    """Whether Accept decides on the format; ``variant.format`` is then for those who name neither AVIF nor WebP."""
    restriction: str | None = None
    """Why this needs a signature by default, for people; ``None``: anyone may ask for it."""

    @property
    def restricted(self) -> bool:
        return self.restriction is not None


DEFAULT_RULES = Rules()


def texts_of(parameters: Sequence[tuple[str, str]], rules: Rules = DEFAULT_RULES) -> dict[str, str]:
    """What counts of ``parameters`` and of the preset that they name. Raises nothing, whatever the values are."""
    own = known_texts(parameters)
    preset = rules.presets.get(own.pop("preset", ""))
    return own if preset is None else known_texts(parse_query(preset)) | own


def is_negotiated(texts: Mapping[str, str]) -> bool:
    """Whether Accept has a say in what ``texts_of`` a query ask for, also if ``parse_wish`` raises for another one."""
    return "format" in words(texts.get("auto", ""))


def negotiating(parameters: Sequence[tuple[str, str]], rules: Rules = DEFAULT_RULES) -> Sequence[tuple[str, str]]:
    """``parameters`` with Accept deciding on the format, unless they or their preset have a say in it."""
    return parameters if texts_of(parameters, rules).keys() & {"fm", "auto"} else [*parameters, ("auto", "format")]


def parse_wish(parameters: Sequence[tuple[str, str]], rules: Rules = DEFAULT_RULES) -> Wish:
    """Read decoded parameters. Raises ``InvalidRequest`` naming parameter, value and what is allowed."""
    own = known_texts(parameters)
    preset = own.pop("preset", None)
    if preset is not None and preset not in rules.presets:
        raise bad_value("preset", preset, f"one of those set up: {', '.join(rules.presets) or 'there are none'}")
    texts = texts_of(parameters, rules)
    values = read_values(texts)
    variant, negotiate = assemble(values), is_negotiated(texts)
    if variant == Variant() and not negotiate:
        return Wish(None)
    asked = {name: values[name] for name in own}
    restriction = _unlisted(variant, asked, rules) if preset is None else _beside_preset(asked)
    return Wish(variant, negotiate, restriction or _multiplied(variant, asked, rules))


# Any, here and below: each parameter has a type of its own.
def _beside_preset(asked: Mapping[str, Any]) -> str | None:
    beyond = sorted(asked.keys() - _BESIDE_PRESET)
    return f"{beyond[0]} beside a preset needs a signature." if beyond else None


def _unlisted(variant: Variant, asked: Mapping[str, Any], rules: Rules) -> str | None:
    for name in ("w", "h"):
        # A share may equal a size in number only.
        if name in asked and not (isinstance(asked[name], int) and asked[name] in rules.sizes):
            listed = ", ".join(map(str, rules.sizes))
            return f"{name}={asked[name]} needs a signature; the sizes that need none are {listed}."
    if "ar" in asked and variant.fit is Fit.CROP and ("w" in asked) != ("h" in asked):
        return "ar needs a signature."
    one_side = variant.width is None or variant.height is None
    if variant.fit not in _FREE_FITS and not one_side:
        return f"fit={variant.fit} needs a signature."
    for attribute in fields(Variant):
        if attribute.name not in _FREE_FIELDS and getattr(variant, attribute.name) != attribute.default:
            return f"{_NAMES[attribute.name]} needs a signature."
    return None


def _multiplied(variant: Variant, asked: Mapping[str, Any], rules: Rules) -> str | None:
    """The limits on what multiplies the variants of one size or preset."""
    sides = pixel_sides(variant)
    dpr = asked.get("dpr", Decimal(1)) if sides else Decimal(1)
    if dpr not in _FREE_QUALITIES:
        return "dpr needs a signature unless it is 1, 2 or 3."
    if dpr != 1 and max(sides) > max(rules.sizes):
        return f"dpr makes a side of {max(sides)} pixels, which needs a signature."
    if "fm" in asked and variant.format not in _FREE_FORMATS:
        return f"fm={variant.format} needs a signature."
    if "q" in asked and variant.quality not in (None, *_FREE_QUALITIES[int(dpr)]):
        return f"q={variant.quality} needs a signature."
    return None
