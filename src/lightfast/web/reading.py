"""The ASGI endpoint for GET and HEAD of an image: parse once, let ``serving`` decide, send."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from lightfast.errors import InvalidRequest, LightfastError
from lightfast.http.caching import CachePolicy
from lightfast.http.conditional import Conditions
from lightfast.http.digest import wanted
from lightfast.http.fields import Fields, combine
from lightfast.model import ID_PATTERN, Clock, is_valid_id
from lightfast.serving import Answer, Headers, ReadRequest, Serving
from lightfast.tally import Reads, Tier
from lightfast.web.answers import HotAnswers
from lightfast.web.cors import CorsPolicy
from lightfast.web.errors import problem_of
from lightfast.web.methods import OtherMethods

IMAGE_METHODS = "GET, HEAD, PUT, DELETE, OPTIONS"
MAX_QUERY = 2048
CHUNK = 256 * 1024
"""Partial content goes out in pieces of this many bytes, so that a slow reader holds no copy of more."""

FALSE_WORDS = frozenset({"0", "false", "no"})


class Reading:
    """Answers requests for one image. ``serving`` is called per request, because it exists only while the app runs."""

    def __init__(
        self, serving: Callable[[], Serving], policy: CachePolicy, cors: CorsPolicy, clock: Clock, reads: Reads
    ) -> None:
        self._serving = serving
        self._policy = policy
        self._cors = cors
        self._clock = clock
        self._reads = reads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        fields = combine(scope["headers"])
        if method == "OPTIONS":
            await _send(Answer(204, [("allow", IMAGE_METHODS), *self._options(fields)]), send)
            return
        cors = self._cors.headers(fields.get("origin"))
        if method not in ("GET", "HEAD"):
            await OtherMethods(IMAGE_METHODS)(scope, receive, send)
            return
        try:
            request = parse_read(scope, fields, self._clock())
            answer = await self._serving().read(request)
        except LightfastError as error:
            problem = problem_of(error, self._policy)
            self._reads.count(problem.status_code, Tier.NONE, len(problem.body))
            for name, value in cors:
                problem.headers.append(name, value)
            await problem(scope, receive, send)
            return
        self._reads.count(answer.status, answer.tier, sum(map(len, answer.body)))
        if answer.body and "lightfast.sending" in scope:
            scope["lightfast.sending"](answer.body[0])
        await _send(Answer(answer.status, answer.headers + cors, answer.body), send)
        if answer.tier is Tier.MEMORY and "lightfast.hot" in scope:
            self._prepare(scope, request)

    def _prepare(self, scope: Scope, request: ReadRequest) -> None:
        """Have the next plain requests for this target answered by the hot path, if this was one of its two URLs."""
        target: bytes = scope["lightfast.target"]
        url = f"/images/{request.id}" + (f"?v={request.version}" if request.version else "")
        if not (request.is_plain and target.startswith(b"/") and target.endswith(url.encode())):
            return
        if any(mark in target[: -len(url)] for mark in b"?#%"):
            return  # a path of the app may stand in front, but nothing that there is no end of
        heads = self._serving().heads(request)
        if heads is None or request.version not in (None, heads.entry.meta.etag):
            return
        answers: HotAnswers = scope["lightfast.hot"]
        more = [("server-timing", "hot"), *self._cors.headers(None)]
        tier = self._serving().tier
        answers.keep(target, request.id, tier, self._reads, heads, more, self._cors.names_origins)

    def _options(self, fields: Fields) -> Headers:
        origin = fields.get("origin")
        # Fetch standard: what makes OPTIONS a preflight is that it names the method that is to follow.
        preflight = "access-control-request-method" in fields
        return self._cors.preflight_headers(origin) if preflight else self._cors.headers(origin)


def parse_read(scope: Scope, fields: dict[str, str], now: float) -> ReadRequest:
    """The request as a value. Raises ``InvalidRequest``."""
    id = scope["path_params"]["id"]
    if not is_valid_id(id):
        raise InvalidRequest(f"This can't be the id of an image; one matches {ID_PATTERN}.")
    query = scope["query_string"]
    if len(query) > MAX_QUERY:
        raise InvalidRequest(f"The query is longer than {MAX_QUERY} bytes.")
    parameters = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
    wish = fields.get("want-repr-digest")
    return ReadRequest(
        id=id,
        conditions=Conditions.parse(fields, now),
        head=scope["method"] == "HEAD",
        version=parameters.get("v"),
        download=parameters.get("download", "0").lower() not in FALSE_WORDS,
        range=fields.get("range"),
        if_range=fields.get("if-range"),
        digest=wanted(wish) if wish is not None else None,
    )


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
