"""Sends what ``serving`` answers, as plain ASGI: the answer or the problem, counted, with CORS, and kept for later."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.types import Receive, Scope, Send

from lightfast.errors import InvalidRequest, LightfastError
from lightfast.http.caching import CachePolicy
from lightfast.http.conditional import Conditions
from lightfast.http.digest import wanted
from lightfast.http.fields import Fields, combine
from lightfast.model import ID_PATTERN, Clock, is_valid_id
from lightfast.serving import Answer, Headers, Heads, ReadRequest, Serving
from lightfast.spec import parse_query
from lightfast.tally import Reads, Tier
from lightfast.web.answers import HotAnswers, Place
from lightfast.web.cors import CorsPolicy
from lightfast.web.errors import problem_of
from lightfast.web.methods import OtherMethods
from lightfast.web.plain import CHOOSING, Choice

Asked = TypeVar("Asked")

Pairs = Sequence[tuple[str, str]]
"""Decoded parameters in their order."""

MAX_QUERY = 2048
"""Bytes."""

CHUNK = 256 * 1024
"""Partial content goes out in pieces of this many bytes, so that a slow reader holds no copy of more."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as ASGI gives it, with its fields combined and the parameters of its query decoded."""

    scope: Scope
    receive: Receive
    send: Send
    fields: dict[str, str]
    parameters: Pairs = ()


class Answering:
    """Sends answers and problems for every endpoint of pictures, counts them, and keeps what may be answered again."""

    def __init__(self, policy: CachePolicy, cors: CorsPolicy, reads: Reads) -> None:
        self.cors = cors
        self.reads = reads
        self._policy = policy

    async def answer(
        self, work: Coroutine[Any, Any, Answer], more: Headers, problem_headers: Headers, exchange: Exchange
    ) -> Answer | None:
        """Send what ``work`` answers, with the headers ``more``; ``None`` where it was a problem, which goes with
        ``problem_headers``."""
        scope, receive, send = exchange.scope, exchange.receive, exchange.send
        cors = self.cors.headers(exchange.fields.get("origin"))
        try:
            answer = await work
        except LightfastError as error:
            problem = problem_of(error, self._policy)
            self.reads.count(problem.status_code, Tier.NONE, len(problem.body))
            for name, value in [*problem_headers, *cors]:
                problem.headers.append(name, value)
            await problem(scope, receive, send)
            return None
        self.reads.count(answer.status, answer.tier, sum(map(len, answer.body)))
        if answer.body and "lightfast.sending" in scope:
            scope["lightfast.sending"](answer.body[0])
        await _send(Answer(answer.status, answer.headers + more + cors, answer.body), send)
        return answer

    async def answer_other(self, allowed: str, exchange: Exchange) -> None:
        """Answer what is neither GET nor HEAD. ``allowed`` are the methods of the path."""
        if exchange.scope["method"] == "OPTIONS":
            await _send(Answer(204, [("allow", allowed), *self._options(exchange.fields)]), exchange.send)
        else:
            await OtherMethods(allowed)(exchange.scope, exchange.receive, exchange.send)

    def keep(self, scope: Scope, heads: Heads, more: Headers, place: Place, choice: Choice | None) -> None:
        """Have the next plain requests for this target answered by the hot path."""
        answers: HotAnswers = scope["lightfast.hot"]
        more = [("server-timing", "hot"), *more, *self.cors.headers(None)]
        answers.keep(scope["lightfast.target"], place, heads, more, self.cors.names_origins, choice)

    def _options(self, fields: Fields) -> Headers:
        origin = fields.get("origin")
        # Fetch standard: what makes OPTIONS a preflight is that it names the method that is to follow.
        preflight = "access-control-request-method" in fields
        return self.cors.preflight_headers(origin) if preflight else self.cors.headers(origin)


class ReadingEndpoint(Generic[Asked]):
    """The way of a GET or HEAD of anything that is a picture, or stands for one: what differs is asked of subclasses.

    ``serving`` is called per request, because it exists only while the app runs.
    """

    methods = "GET, HEAD, OPTIONS"

    def __init__(self, serving: Callable[[], Serving], answering: Answering, clock: Clock) -> None:
        self._serving = serving
        self._answering = answering
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = combine(scope["headers"])
        if scope["method"] not in ("GET", "HEAD"):
            await self._answering.answer_other(self.methods, Exchange(scope, receive, send, fields))
            return
        try:
            parameters = parse_parameters(scope["query_string"])
        except InvalidRequest as error:
            await self._respond(Exchange(scope, receive, send, fields), error)
        else:
            await self._respond(Exchange(scope, receive, send, fields, parameters))

    async def _respond(self, exchange: Exchange, refusal: InvalidRequest | None = None) -> None:
        asked: Asked | None = None

        async def read() -> Answer:
            nonlocal asked
            if refusal is not None:
                raise refusal
            asked = self._parse(exchange)
            return await self._read(asked)

        more, problem_headers = self._headers(exchange)
        answer = await self._answering.answer(read(), more, problem_headers, exchange)
        if answer is None or asked is None or answer.tier is not Tier.MEMORY or "lightfast.hot" not in exchange.scope:
            return
        self._prepare(exchange.scope, asked, answer, more)

    def _headers(self, exchange: Exchange) -> tuple[Headers, Headers]:
        """What goes with every answer, and with every problem; told before the request is known to be right."""
        return [], []

    def _parse(self, exchange: Exchange) -> Asked:
        """The request as a value. Raises ``LightfastError``."""
        raise NotImplementedError

    async def _read(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def _prepare(self, scope: Scope, asked: Asked, answer: Answer, more: Headers) -> None:
        """Have the next plain requests for this target answered by the hot path, if there is an end of such targets."""


def parse_read(exchange: Exchange, id: str, now: float, **more: Any) -> ReadRequest:
    """What the head of a request says of any picture; ``more`` are further fields of ``ReadRequest`` (so ``Any``)."""
    fields = exchange.fields
    wish = fields.get("want-repr-digest")
    return ReadRequest(
        id=id,
        conditions=Conditions.parse(fields, now),
        head=exchange.scope["method"] == "HEAD",
        range=fields.get("range"),
        if_range=fields.get("if-range"),
        digest=wanted(wish) if wish is not None else None,
        **more,
    )


def parse_parameters(query: bytes) -> list[tuple[str, str]]:
    """The parameters of a query. Raises ``InvalidRequest``."""
    if len(query) > MAX_QUERY:
        raise InvalidRequest(f"The query is longer than {MAX_QUERY} bytes.")
    return parse_query(query.decode("latin-1"))


def checked_id(id: str) -> str:
    """``id``, if it can be that of an image. Raises ``InvalidRequest``."""
    if not is_valid_id(id):
        raise InvalidRequest(f"This can't be the id of an image; one matches {ID_PATTERN}.")
    return id


def choice_of(scope: Scope) -> Choice:
    """What chooses a representation, in the words of the hot path."""
    return tuple((name, value) for name, value in scope["headers"] if name in CHOOSING)


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    for piece in answer.body:
        if isinstance(piece, bytes):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            continue
        for start in range(0, len(piece), CHUNK):
            await send({"type": "http.response.body", "body": bytes(piece[start : start + CHUNK]), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
