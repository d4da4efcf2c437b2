"""From the values of the parameters to a ``Variant``, and from there to the one text that stands for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from lightfast.errors import InvalidRequest
from lightfast.spec.colours import colour_text
from lightfast.spec.parameters import MAX_SIDE, PARAMETERS, known_texts, parse_query, read_values, rounded
from lightfast.variant import Fit, Format, Length, Variant

COMPRESSED = 45
"""The quality of ``auto=compress``, as imgix has it."""
ORIGINAL = "original"
"""The canonical text of a variant that changes nothing."""

_LIMITS = ("max_width", "max_height", "min_width", "min_height")


def assemble(values: Mapping[str, Any]) -> Variant:  # Any: each parameter has a type of its own
    """One value for all spellings. Raises ``InvalidRequest`` where the parameters don't go together."""
    given = {PARAMETERS[name].field: value for name, value in values.items() if PARAMETERS[name].field}
    if "rect" in values:
        given["rect"], given["rect_anchor"] = values["rect"]
    if "compress" in values.get("auto", ()):
        given.setdefault("quality", COMPRESSED)
    shaped = _shaped(Variant(**given), values.get("ar"))
    variant = _settled(_scaled(shaped, values.get("dpr", Decimal(1))))
    shortest = min(pixel_sides(variant), default=MAX_SIDE + 1)
    if variant.pad * 2 >= shortest:
        raise InvalidRequest(
            f"pad is {variant.pad} pixels on every side; it must leave something of {shortest} pixels."
        )
    return variant


def encoded_as(variant: Variant, format: Format | None, *, fast: bool = False) -> Variant:
    """``variant`` in another format, as one value for what comes out the same: PNG knows no quality."""
    return _settled(replace(variant, format=format, fast=fast))


def canonical(variant: Variant) -> str:
    """The one text for ``variant``: a query, sorted, without defaults, 1 to 512 characters of ASCII.

    Variants are stored under it. ``fast=1`` in it is for ``from_canonical`` only; in a request it is unknown.
    """
    texts = {
        "w": _number(variant.width),
        "h": _number(variant.height),
        "max-w": _number(variant.max_width),
        "max-h": _number(variant.max_height),
        "min-w": _number(variant.min_width),
        "min-h": _number(variant.min_height),
        "ar": "" if variant.aspect is None else f"{variant.aspect:.6f}".rstrip("0").rstrip(".") + ":1",
        "fit": "" if variant.fit is Fit.CLIP else variant.fit,
        "crop": ",".join(variant.crop),
        "fp-x": _number(variant.focal_x, 0.5),
        "fp-y": _number(variant.focal_y, 0.5),
        "rect": _rectangle(variant),
        "or": _number(variant.orientation),
        "rot": _number(variant.rotate, 0),
        "flip": variant.flip,
        "trim": "auto" if variant.trim else "",
        "pad": _number(variant.pad, 0),
        "bg": "" if variant.background is None else colour_text(variant.background),
        "bri": _number(variant.brightness, 0),
        "con": _number(variant.contrast, 0),
        "sat": _number(variant.saturation, 0),
        "monochrome": "" if variant.monochrome is None else colour_text(variant.monochrome),
        "blur": _number(variant.blur, 0),
        "sharp": _number(variant.sharpen, 0),
        "fm": variant.format or "",
        "q": _number(variant.quality),
        "lossless": "1" if variant.lossless else "",
        "fast": "1" if variant.fast else "",
    }
    return "&".join(f"{name}={text}" for name, text in sorted(texts.items()) if text) or ORIGINAL


def from_canonical(text: str) -> Variant:
    """The variant with this canonical text. Raises ``InvalidRequest`` for bad values."""
    parameters = parse_query(text)
    return replace(assemble(read_values(known_texts(parameters))), fast=("fast", "1") in parameters)


def pixel_sides(variant: Variant) -> list[int]:
    """Those of width and height that are asked for in pixels."""
    return [side for side in (variant.width, variant.height) if isinstance(side, int)]


def _shaped(variant: Variant, aspect: Fraction | None) -> Variant:
    """Let ``aspect`` give the missing side, or keep it where no side is known before the source is."""
    width, height = variant.width, variant.height
    if aspect is None or variant.fit not in (Fit.CROP, Fit.FILL) or (width is not None and height is not None):
        return variant
    if isinstance(width, int):
        height = rounded(width / aspect)
    elif isinstance(height, int):
        width = rounded(height * aspect)
    else:
        return replace(variant, aspect=round(float(aspect), 6))
    if width > MAX_SIDE or height > MAX_SIDE:
        raise InvalidRequest(f"ar makes the picture {width}×{height} pixels; a side must be at most {MAX_SIDE}.")
    return replace(variant, width=max(1, width), height=max(1, height))


def _scaled(variant: Variant, dpr: Decimal) -> Variant:
    """Multiply all pixels by ``dpr``, or by less where a side would get too long (imgix sizes that down, too)."""
    sides = pixel_sides(variant)
    if not sides or dpr == 1:
        return variant
    factor = min(Fraction(dpr), Fraction(MAX_SIDE, max(sides)))

    def scale(length: Length | None) -> Any:  # Any: as what it was
        return max(1, min(MAX_SIDE, rounded(length * factor))) if isinstance(length, int) else length

    lengths = {name: scale(getattr(variant, name)) for name in ("width", "height", *_LIMITS)}
    return replace(variant, pad=rounded(variant.pad * factor), **lengths)


def _settled(variant: Variant) -> Variant:
    """Leave out what has no effect, so that pictures that come out the same are one value."""
    changes: dict[str, Any] = {}  # Any: fields of Variant
    fit = variant.fit
    limited = fit is Fit.CROP and any(getattr(variant, name) is not None for name in _LIMITS)
    sides = (variant.width is not None) + (variant.height is not None)
    if sides < 2 and variant.aspect is None and not limited:
        # With one side given every fit keeps the proportions; what is left of it is whether it enlarges.
        fit = Fit.SCALE if sides and fit in (Fit.CROP, Fit.FILL, Fit.SCALE) else Fit.CLIP
    elif fit is Fit.MAX:
        fit = Fit.CLIP  # neither enlarges here
    changes["fit"] = fit
    if fit is not Fit.CROP:
        changes |= dict.fromkeys(_LIMITS) | {"crop": ()}
    if fit is not Fit.CROP or "focalpoint" not in variant.crop:
        changes |= {"focal_x": 0.5, "focal_y": 0.5}
    lossy_only = variant.format in (Format.JPG, Format.PJPG)
    lossless_only = variant.format in (Format.PNG, Format.GIF)
    if lossy_only or lossless_only:
        changes["lossless"] = False
    if lossless_only or (variant.lossless and variant.format in (Format.WEBP, Format.AVIF)):
        changes["quality"] = None
    return replace(variant, **changes)


def _number(number: Length | None, default: Length | None = None) -> str:
    return "" if number == default or number is None else str(number)


def _rectangle(variant: Variant) -> str:
    if variant.rect is None:
        return ""
    x, y, width, height = variant.rect
    horizontal, vertical = variant.rect_anchor
    return f"{horizontal or x},{vertical or y},{width},{height}"
