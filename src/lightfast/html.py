"""A complete ``<img>``: sizes to choose from, room kept free, and something to see until it has loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape

# HTML Living Standard §13.1.2.3, narrowed to what every template language takes as well.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*")
_BLANK = re.compile(r"[\t\n\f\r ]")
_OUTER_COMMAS = re.compile(r"\A,+|,+\Z")
_DESCRIPTOR = re.compile(r"[1-9][0-9]*w|(?:[1-9][0-9]*|0)(?:\.[0-9]+)?x")
# CSS Syntax §4.3.5: these end a quoted string or change what follows.
_UNSAFE_IN_CSS = re.compile(r'["\\\x00-\x1f\x7f<>]')
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}")


def img_tag(
    src: str,
    *,
    alt: str = "",
    width: int | None = None,
    height: int | None = None,
    srcset: Sequence[tuple[str, str]] = (),
    sizes: str = "",
    background: str = "",
    colour: str = "",
    loading: str = "lazy",
    decoding: str = "async",
    attributes: Mapping[str, str | int | bool | None] | None = None,
) -> str:
    """The tag, safe to put into a page: every value is escaped.

    ``alt`` is always written: empty says that the picture is decoration (WCAG 2.2, 1.1.1). ``width`` and ``height`` in
    pixels keep its room free. ``srcset``: URLs, each with ``400w`` or ``2x``. ``background``: the URL of what is shown
    until the picture covers it, ``colour`` (``#rrggbb``) what is shown below; leave both out where the picture is
    transparent. ``attributes``: more of them, whose ``style`` comes after the background; ``True`` writes the bare
    name, ``False`` and ``None`` nothing.

    Raises ``ValueError`` for what is no name of an attribute, for one that is written anyway, and for a candidate of
    ``srcset`` or a colour that is none.
    """
    more = dict(attributes or {})
    written: dict[str, str | int | bool | None] = {
        "src": _url(src),
        "srcset": _srcset(srcset),
        "sizes": sizes or None,
        "alt": alt,
        "width": width,
        "height": height,
        "loading": loading or None,
        "decoding": decoding or None,
        "style": _style(background, colour, more.pop("style", None)),
    }
    for name in more:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name[:64]!r} is no name of an attribute.")
        if name.lower() in written:
            raise ValueError(f"The attribute {name!r} is written already.")
    return f"<img {' '.join(_attributes(written | more))}>"


def _attributes(values: Mapping[str, str | int | bool | None]) -> Iterator[str]:
    for name, value in values.items():
        if value is True:
            yield name
        elif value is not None and value is not False:
            yield f'{name}="{escape(str(value))}"'


def _url(url: str) -> str:
    """``url`` without blanks: browsers cut them off, and in ``srcset`` one would end it."""
    return _BLANK.sub(lambda blank: f"%{ord(blank[0]):02X}", url)


def _srcset(candidates: Sequence[tuple[str, str]]) -> str | None:
    """HTML Living Standard §4.8.4.2.1: a URL there neither begins nor ends with a comma."""
    parts = []
    for url, descriptor in candidates:
        if _DESCRIPTOR.fullmatch(descriptor) is None:
            raise ValueError(
                f'{descriptor[:64]!r} is no descriptor. Write a width or a density, such as "400w" or "2x".'
            )
        if not url:
            raise ValueError("A URL of srcset is empty.")
        parts.append(f"{_OUTER_COMMAS.sub(lambda commas: '%2C' * len(commas[0]), _url(url))} {descriptor}")
    return ", ".join(parts) or None


def _style(background: str, colour: str, more: str | int | bool | None) -> str | None:
    if colour and _COLOUR.fullmatch(colour) is None:
        raise ValueError(f'{colour[:64]!r} is no colour. Write it in hexadecimal, such as "#c0ffee".')
    layers = [f'url("{_css_text(background)}") center/cover no-repeat'] if background else []
    layers += [colour] if colour else []
    declarations = [f"background:{' '.join(layers)}"] if layers else []
    if isinstance(more, str) and more:
        declarations.append(more)
    return ";".join(declarations) or None


def _css_text(text: str) -> str:
    return _UNSAFE_IN_CSS.sub(lambda unsafe: f"\\{ord(unsafe[0]):x} ", text)
