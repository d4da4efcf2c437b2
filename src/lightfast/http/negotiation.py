"""Which format a client gets: Accept (RFC 9110 §12.5.1) and client hints (RFC 8942), as pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal

from lightfast.http.fields import Fields

HINTS = ("Sec-CH-DPR", "Sec-CH-Width", "Save-Data")
"""For Vary, wherever ``apply_hints`` is used. The first two go into Accept-CH, too; Save-Data comes unasked."""
ACCEPT_CH = "Sec-CH-DPR, Sec-CH-Width"
SAVED_QUALITY = 45
"""The most for Save-Data, as imgix has it."""
MAX_RANGES = 100
"""More elements than this of one Accept are not read."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # noqa: S105
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_PARAMETER = rf"[ \t]*+;[ \t]*+(?:{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))?+"
# §5.6.1.2: elements may be empty. Possessive, so that no Accept costs more than linear time.
_ELEMENT = re.compile(rf"[ \t]*+(?:(?P<type>{_TOKEN}/{_TOKEN})(?P<parameters>(?:{_PARAMETER})*+))?+[ \t]*+(?=,|\Z)")
# A quote that is never closed takes all that follows: looking for its end once is enough.
_UP_TO_COMMA = re.compile(r'(?:"(?:[^"\\]|\\.)*+"?+|[^,"])*+')
_EACH_PARAMETER = re.compile(rf"({_TOKEN})=({_TOKEN}|{_QUOTED})")
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")

_INTEGER = re.compile(r"[0-9]{1,15}")
_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,3})?")
_MAX_RATIO = 3
_WIDTH, _HEIGHT = ("w", "width"), ("h", "height")


def choose(accept: str | None, named: Sequence[str], plain: Sequence[str]) -> str | None:
    """The media type to send, out of those that can be made, best first; ``None``: the client takes none of them.

    ``named`` are sent only to clients that name them: ``*/*`` and ``image/*`` come from clients of all ages, and what
    they mean by it is not AVIF. ``plain`` are what everyone knows. Higher weights win, then the order of ``named`` and
    ``plain``. Without Accept, or with an empty one, the first of ``plain`` is sent.
    """
    weights = _weights(accept) if accept else {}
    if not weights:
        return plain[0] if plain else None
    found = [(weights.get(media_type, 0), media_type) for media_type in named]
    found += [(_weight(weights, media_type), media_type) for media_type in plain]
    best, chosen = max(found, key=lambda pair: pair[0], default=(0, ""))  # the first of equals
    return chosen if best else None


def _weights(accept: str) -> dict[str, int]:
    """Thousandths for each media range, in lower case. What can't be read is left out, like the rest of a bad element.

    A range with parameters names no picture that is made here, so it says nothing about those without.
    """
    weights: dict[str, int] = {}
    position = 0
    for _ in range(MAX_RANGES):
        found = _ELEMENT.match(accept, position)
        if found is not None and found["type"] is not None:
            parameters = [(name.lower(), value) for name, value in _EACH_PARAMETER.findall(found["parameters"])]
            values = [value for name, value in parameters if name == "q"]
            weight = 1000 if not values else _thousandths(values[0])
            if weight is not None and (not parameters or parameters[0][0] == "q"):
                range_ = found["type"].lower()
                weights[range_] = max(weight, weights.get(range_, 0))
        rest = _UP_TO_COMMA.match(accept, position)
        position = len(accept) if rest is None else rest.end() + 1
        if position >= len(accept):
            break
    return weights


def _thousandths(text: str) -> int | None:
    return int(Decimal(text) * 1000) if _WEIGHT.fullmatch(text) else None


def _weight(weights: Mapping[str, int], media_type: str) -> int:
    # §12.5.1: the most specific range counts, also where it is the lower one.
    for range_ in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if range_ in weights:
            return weights[range_]
    return 0


def apply_hints(parameters: Sequence[tuple[str, str]], fields: Fields, sizes: Sequence[int]) -> list[tuple[str, str]]:
    """The parameters of a variant as the client's hints change them, with the meaning that imgix gives to its ``ch``.

    ``Sec-CH-Width`` (physical pixels) takes the place of ``w`` and ``dpr``, rounded up to one of ``sizes``, unless
    there is ``h``; else ``Sec-CH-DPR`` takes the place of ``dpr``, rounded to 1, 2 or 3. ``Save-Data: on`` lowers
    ``q`` to ``SAVED_QUALITY``. So hints lead to few variants; whether a wish needs a signature is judged before them.
    What can't be read is ignored. Not for requests of the original, which hints don't change.
    """
    changed = list(parameters)
    width = _INTEGER.fullmatch(fields.get("sec-ch-width", ""))
    ratio = _DECIMAL.fullmatch(fields.get("sec-ch-dpr", ""))
    has_height = any(name in _HEIGHT and text for name, text in parameters)
    has_width = any(name in _WIDTH and text for name, text in parameters)
    if width is not None and int(width[0]) and has_width and not has_height:
        fitting = min((size for size in sizes if size >= int(width[0])), default=max(sizes))
        changed = [pair for pair in changed if pair[0] not in (*_WIDTH, "dpr")] + [("w", str(fitting))]
    elif ratio is not None and (has_width or has_height or any(name == "preset" for name, _ in parameters)):
        nearest = Decimal(ratio[0]).quantize(Decimal(1), ROUND_HALF_UP)
        changed = [pair for pair in changed if pair[0] != "dpr"]
        changed.append(("dpr", str(max(1, min(_MAX_RATIO, int(nearest))))))
    if fields.get("save-data", "").lower() == "on":
        qualities = [text for name, text in changed if name == "q" and text]
        if not qualities or not _INTEGER.fullmatch(qualities[-1]) or int(qualities[-1]) > SAVED_QUALITY:
            changed = [pair for pair in changed if pair[0] != "q"] + [("q", str(SAVED_QUALITY))]
    return changed
