"""The ASGI endpoint for placeholders: ``/placeholders/{width}x{height}.{format}?text=&bg=&fg=&seed=``."""

from __future__ import annotations

import re

from starlette.types import Scope

from lightfast.cache.placeholders import key_of
from lightfast.errors import InvalidRequest
from lightfast.serving import Answer, Headers, ReadRequest
from lightfast.spec import read_colour
from lightfast.variant import Colour, Placeholder
from lightfast.web.answering import Exchange, ReadingEndpoint, parse_read
from lightfast.web.answers import Place

PATTERN = r"[1-9][0-9]{0,3}x[1-9][0-9]{0,3}\.(webp|png|jpg|jpeg|avif)"

_NAME = re.compile(r"([0-9]{1,5})x([0-9]{1,5})\.([a-z]{1,8})")


class ReadingPlaceholders(ReadingEndpoint[tuple[ReadRequest, Placeholder]]):
    """Answers requests for a placeholder."""

    def _parse(self, exchange: Exchange) -> tuple[ReadRequest, Placeholder]:
        wanted = parse_placeholder(exchange.scope["path_params"]["name"], dict(exchange.parameters))
        return parse_read(exchange, wanted.id, self._clock()), wanted

    async def _read(self, asked: tuple[ReadRequest, Placeholder]) -> Answer:
        return await self._serving().placeholder(*asked)

    def _prepare(self, scope: Scope, asked: tuple[ReadRequest, Placeholder], answer: Answer, more: Headers) -> None:
        request, wanted = asked
        if answer.subject is None or not request.is_plain or not scope["lightfast.target"].startswith(b"/"):
            return
        heads = self._serving().placeholder_heads(request, wanted, answer.subject)
        if heads is not None:
            kept = self._serving().placeholders
            place = Place(key_of(wanted), kept.memory, kept.link, self._answering.reads)
            self._answering.keep(scope, heads, more, place, None)


def parse_placeholder(name: str, given: dict[str, str]) -> Placeholder:
    """From the last part of the path and the parameters. Raises ``InvalidRequest``."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidRequest(f"A placeholder is named like 1200x630.webp, not {name[:64]!r}.")
    return Placeholder(
        width=int(found[1]),
        height=int(found[2]),
        format=found[3],
        text=given.get("text", ""),
        background=_colour("bg", given),
        foreground=_colour("fg", given),
        seed=given.get("seed", ""),
    )


def _colour(name: str, given: dict[str, str]) -> Colour | None:
    text = given.get(name)
    if not text:
        return None
    try:
        return read_colour(text)
    except ValueError:
        raise InvalidRequest(
            f"{name} is {text[:64]!r}; it must be RGB, ARGB, RRGGBB or AARRGGBB in hex digits, or a CSS name."
        ) from None
