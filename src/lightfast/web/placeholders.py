"""The ASGI endpoint for placeholders: ``/placeholders/{width}x{height}.{format}?text=&bg=&fg=&seed=``."""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from lightfast.cache.placeholders import key_of
from lightfast.errors import InvalidRequest
from lightfast.http.fields import combine
from lightfast.model import Clock
from lightfast.serving import Answer, ReadRequest, Serving
from lightfast.spec import parse_query, read_colour
from lightfast.tally import Tier
from lightfast.variant import Colour, Placeholder
from lightfast.web.answering import Answering
from lightfast.web.answers import Place
from lightfast.web.reading import MAX_QUERY, parse_read

METHODS = "GET, HEAD, OPTIONS"
PATTERN = r"[1-9][0-9]{0,3}x[1-9][0-9]{0,3}\.(webp|png|jpg|jpeg|avif)"

_NAME = re.compile(r"([0-9]{1,5})x([0-9]{1,5})\.([a-z]{1,8})")


class ReadingPlaceholders:
    """Answers requests for a placeholder. ``serving`` is called per request: it exists only while the app runs."""

    def __init__(self, serving: Callable[[], Serving], answering: Answering, clock: Clock) -> None:
        self._serving = serving
        self._answering = answering
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = combine(scope["headers"])
        if await self._answering.other_method(METHODS, scope, fields, receive, send):
            return
        asked: tuple[ReadRequest, Placeholder] | None = None

        async def read() -> Answer:
            nonlocal asked
            wanted = parse_placeholder(scope["path_params"]["name"], scope["query_string"])
            asked = parse_read(scope, fields, f"placeholder-{wanted.width}x{wanted.height}", self._clock()), wanted
            return await self._serving().placeholder(*asked)

        answer = await self._answering.answer(read(), [], [], scope, fields, receive, send)
        if answer is not None and asked is not None and answer.tier is Tier.MEMORY and "lightfast.hot" in scope:
            self._prepare(scope, *asked, answer)

    def _prepare(self, scope: Scope, request: ReadRequest, wanted: Placeholder, answer: Answer) -> None:
        if answer.subject is None or not request.is_plain or not scope["lightfast.target"].startswith(b"/"):
            return
        heads = self._serving().placeholder_heads(request, wanted, answer.subject)
        if heads is not None:
            kept = self._serving().placeholders
            place = Place(key_of(wanted), kept.memory, kept.link, self._answering.reads)
            self._answering.keep(scope, heads, [], place, None)


def parse_placeholder(name: str, query: bytes) -> Placeholder:
    """From the last part of the path and the query. Raises ``InvalidRequest``."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidRequest(f"A placeholder is named like 1200x630.webp, not {name[:64]!r}.")
    if len(query) > MAX_QUERY:
        raise InvalidRequest(f"The query is longer than {MAX_QUERY} bytes.")
    given = dict(parse_query(query.decode("latin-1")))
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
