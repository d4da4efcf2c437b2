"""The ASGI endpoint for GET and HEAD of an image: parse once, let ``serving`` decide, send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from lightfast.errors import InvalidRequest, LightfastError
from lightfast.http.conditional import Conditions
from lightfast.http.digest import wanted
from lightfast.http.fields import Fields, combine
from lightfast.model import ID_PATTERN, Clock, is_valid_id
from lightfast.serving import VARY, Answer, Headers, ReadRequest, Serving
from lightfast.spec import parse_query
from lightfast.tally import Tier
from lightfast.web.answering import Answering, choice_of
from lightfast.web.answers import Place
from lightfast.web.wishes import Pairs, VariantPolicy

IMAGE_METHODS = "GET, HEAD, PUT, DELETE, OPTIONS"
MAX_QUERY = 2048

FALSE_WORDS = frozenset({"0", "false", "no"})


class Reading:
    """Answers requests for one image. ``serving`` is called per request, because it exists only while the app runs."""

    def __init__(
        self, serving: Callable[[], Serving], answering: Answering, variants: VariantPolicy, clock: Clock
    ) -> None:
        self._serving = serving
        self._answering = answering
        self._variants = variants
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = combine(scope["headers"])
        if await self._answering.other_method(IMAGE_METHODS, scope, fields, receive, send):
            return
        request: ReadRequest | None = None
        pairs = self._parameters(scope["query_string"])
        vary = self._variants.vary(pairs or [])

        async def read() -> Answer:
            nonlocal request
            if pairs is None:
                raise InvalidRequest(f"The query is longer than {MAX_QUERY} bytes, or has too many parameters.")
            request = self._parse(scope, fields, pairs, vary)
            return await self._serving().read(request)

        hints = self._variants.headers(pairs or [])
        problem_headers = [("vary", vary), *hints] if vary != VARY else hints
        answer = await self._answering.answer(read(), hints, problem_headers, scope, fields, receive, send)
        if answer is not None and request is not None and answer.tier is Tier.MEMORY and "lightfast.hot" in scope:
            self._prepare(scope, request, answer, hints)

    def _parameters(self, query: bytes) -> Pairs | None:
        """The parameters of the query; ``None`` if it can't be read."""
        if len(query) > MAX_QUERY:
            return None
        try:
            return self._variants.parameters(parse_query(query.decode("latin-1")))
        except LightfastError:
            return None

    def _parse(self, scope: Scope, fields: dict[str, str], pairs: Pairs, vary: str) -> ReadRequest:
        """The request as a value. Raises ``InvalidRequest`` and ``Forbidden``."""
        id = scope["path_params"]["id"]
        if not is_valid_id(id):
            raise InvalidRequest(f"This can't be the id of an image; one matches {ID_PATTERN}.")
        if not pairs:
            return parse_read(scope, fields, id, self._clock())
        now, parameters = self._clock(), dict(pairs)
        query = scope["query_string"].decode("latin-1")
        wish, until = self._variants.wish(pairs, _path(scope), query, fields, now)
        more: dict[str, Any] = {}  # Any: fields of ReadRequest
        if wish.variant is not None:
            more = {"variant": wish.variant, "negotiate": wish.negotiate, "accept": fields.get("accept")}
        return parse_read(
            scope,
            fields,
            id,
            now,
            version=parameters.get("v"),
            download=parameters.get("download", "0").lower() not in FALSE_WORDS,
            vary=vary,
            until=until,
            **more,
        )

    def _prepare(self, scope: Scope, request: ReadRequest, answer: Answer, more: Headers) -> None:
        """Have the next plain requests for this target answered by the hot path, if there is an end of such targets."""
        subject = answer.subject
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


def parse_read(scope: Scope, fields: Fields, id: str, now: float, **more: Any) -> ReadRequest:
    """What the head of a request says of any picture; ``more`` are further fields of ``ReadRequest`` (so ``Any``)."""
    wish = fields.get("want-repr-digest")
    return ReadRequest(
        id=id,
        conditions=Conditions.parse(dict(fields), now),
        head=scope["method"] == "HEAD",
        range=fields.get("range"),
        if_range=fields.get("if-range"),
        digest=wanted(wish) if wish is not None else None,
        **more,
    )


def _path(scope: Scope) -> str:
    """The path as it was sent."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw.decode("latin-1")
