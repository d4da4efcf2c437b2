"""Where what is served is served: every URL that is handed out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from lightfast.errors import Forbidden, InvalidRequest
from lightfast.imaging.geometry import Size, output_size
from lightfast.model import Meta
from lightfast.signing import Scheme, sign
from lightfast.spec import OF_STORED, Rules, parse_wish
from lightfast.variant import MEDIA_TYPES, Format, Variant


@dataclass(frozen=True, slots=True)
class Addresses:
    """Makes URLs of images. ``base`` is put before ``/images/…``."""

    base: str
    rules: Rules
    open: bool
    keys: Sequence[str]
    scheme: Scheme
    auto_format: bool

    def of(self, meta: Meta) -> str:
        """The image as it was stored."""
        return f"{self.base}/images/{meta.id}?v={meta.etag}"

    def of_variant(self, meta: Meta, parameters: Mapping[str, object], expires: int | None = None) -> str:
        """A variant of the image, signed if it needs to be. ``expires`` in Unix seconds.

        Names of parameters may be written with underscores. Where Accept would choose the format, the URL names one all
        the same, because not every CDN understands Vary. Raises ``InvalidRequest``, and ``Forbidden`` where a signature
        is needed and there is no key.
        """
        pairs = _pairs(parameters)
        own = sorted({name for name, _ in pairs} & OF_STORED)
        if own:
            raise InvalidRequest(f"{own[0]} is no parameter of a variant.")
        wish = parse_wish(pairs, self.rules)
        if wish.variant is not None and self.auto_format and not wish.negotiate and wish.variant.format is None:
            pairs.append(("fm", _FORMATS.get(meta.media_type, Format.WEBP)))
            wish = parse_wish(pairs, self.rules)
        url = f"{self.base}/images/{meta.id}?{urlencode([*pairs, ('v', meta.etag)], safe=',:')}"
        if expires is None and (self.open or not wish.restricted):
            return url
        if not self.keys:
            raise Forbidden(f"{wish.restriction or 'A URL that expires needs a signature.'} No signing key is set up.")
        return sign(url, self.keys[0], expires, self.scheme)

    def of_widths(
        self, meta: Meta, parameters: Mapping[str, object], widths: Sequence[int], shown: Size
    ) -> list[tuple[str, Size]]:
        """The variant in each of ``widths`` (pixels) and the size that it will have, the narrowest first, none twice.

        ``shown`` is the size of the image, its orientation applied. Raises as ``of_variant``.
        """
        found: dict[int, tuple[str, Size]] = {}
        for width in sorted(widths):
            asked = {**parameters, "w": width}
            variant = parse_wish(_pairs(asked), self.rules).variant or Variant()
            size = output_size(shown, variant) or Size(width, round(width * shown.height / shown.width))
            found.setdefault(size.width, (self.of_variant(meta, asked), size))
        return list(found.values())

    def of_whole(self, meta: Meta, parameters: Mapping[str, object], shown: Size) -> tuple[str, Size]:
        """As ``of_widths``, in the one width that it has where none is asked for."""
        variant = parse_wish(_pairs(parameters), self.rules).variant or Variant()
        return self.of_variant(meta, parameters), output_size(shown, variant) or shown


_FORMATS = {MEDIA_TYPES[it]: it for it in (Format.PNG, Format.JPG, Format.WEBP, Format.AVIF)}
"""What of a URL names anyone may have; of a GIF, WebP keeps what moves."""


def _pairs(parameters: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(name.replace("_", "-"), _text(value)) for name, value in parameters.items() if value is not None]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
