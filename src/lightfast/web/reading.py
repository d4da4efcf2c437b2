"""The ASGI endpoint for GET and HEAD of an image: parse once, let ``serving`` decide, send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from starlette.types import Scope

from lightfast.model import Clock
from lightfast.serving import VARY, Answer, Headers, ReadRequest, Serving
from lightfast.web.answering import (
    Answering,
    Exchange,
    ReadingEndpoint,
    checked_id,
    choice_of,
    parse_read,
)
from lightfast.web.answers import Place
from lightfast.web.wishes import VariantPolicy

FALSE_WORDS = frozenset({"0", "false", "no"})


class Reading(ReadingEndpoint[ReadRequest]):
    """Answers requests for one image, and for variants of it."""

    methods = "GET, HEAD, PUT, DELETE, OPTIONS"

    def __init__(
        self, serving: Callable[[], Serving], answering: Answering, variants: VariantPolicy, clock: Clock
    ) -> None:
        super().__init__(serving, answering, clock)
        self._variants = variants

    def _headers(self, exchange: Exchange) -> tuple[Headers, Headers]:
        pairs = self._variants.parameters(exchange.parameters)
        hints, vary = self._variants.headers(pairs), self._variants.vary(pairs)
        return hints, [("vary", vary), *hints] if vary != VARY else hints

    def _parse(self, exchange: Exchange) -> ReadRequest:
        scope, fields, now = exchange.scope, exchange.fields, self._clock()
        id = checked_id(scope["path_params"]["id"])
        pairs = self._variants.parameters(exchange.parameters)
        if not pairs:
            return parse_read(exchange, id, now)
        parameters, query = dict(pairs), scope["query_string"].decode("latin-1")
        wish, until = self._variants.wish(pairs, _path(scope), query, fields, now)
        more: dict[str, Any] = {}  # Any: fields of ReadRequest
        if wish.variant is not None:
            more = {"variant": wish.variant, "negotiate": wish.negotiate, "accept": fields.get("accept")}
        return parse_read(
            exchange,
            id,
            now,
            version=parameters.get("v"),
            download=parameters.get("download", "0").lower() not in FALSE_WORDS,
            vary=self._variants.vary(pairs),
            until=until,
            **more,
        )

    async def _read(self, asked: ReadRequest) -> Answer:
        return await self._serving().read(asked)

    def _prepare(self, scope: Scope, asked: ReadRequest, answer: Answer, more: Headers) -> None:
        request, subject = asked, answer.subject
        target: bytes = scope["lightfast.target"]
        if subject is None or not request.is_plain:
            return
        path, _, query = target.partition(b"?")
        if not path.startswith(b"/") or b"%" in path or not path.endswith(f"/images/{request.id}".encode()):
            return
        version = f"v={request.version}" if request.version else ""
        if subject.wanted is None and request.variant is None and query != version.encode():
            return  # an original has two URLs; what else a query may say, there is no end of
        if request.version not in (None, subject.source.etag):
            return
        serving = self._serving()
        heads = serving.heads(request, subject)
        if heads is None:
            return
        choice = choice_of(scope) if request.vary != VARY else None
        tier = serving.tier
        place = Place(subject.key, tier.memory, tier.link, self._answering.reads)
        self._answering.keep(scope, heads, more, place, choice)


def _path(scope: Scope) -> str:
    """The path as it was sent."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw.decode("latin-1")
