"""Sends what ``serving`` answers, as plain ASGI: the answer or the problem, counted, with CORS, and kept for later."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive, Scope, Send

from lightfast.errors import LightfastError
from lightfast.http.caching import CachePolicy
from lightfast.http.fields import Fields
from lightfast.serving import Answer, Headers, Heads
from lightfast.tally import Reads, Tier
from lightfast.web.answers import HotAnswers, Place
from lightfast.web.cors import CorsPolicy
from lightfast.web.errors import problem_of
from lightfast.web.methods import OtherMethods
from lightfast.web.plain import CHOOSING, Choice

CHUNK = 256 * 1024
"""Partial content goes out in pieces of this many bytes, so that a slow reader holds no copy of more."""


class Answering:
    """What all endpoints that send pictures have in common."""

    def __init__(self, policy: CachePolicy, cors: CorsPolicy, reads: Reads) -> None:
        self.cors = cors
        self.reads = reads
        self._policy = policy

    async def other_method(self, allowed: str, scope: Scope, fields: Fields, receive: Receive, send: Send) -> bool:
        """Answer what is neither GET nor HEAD; whether it was."""
        if scope["method"] in ("GET", "HEAD"):
            return False
        if scope["method"] == "OPTIONS":
            await _send(Answer(204, [("allow", allowed), *self._options(fields)]), send)
        else:
            await OtherMethods(allowed)(scope, receive, send)
        return True

    async def answer(
        self,
        work: Coroutine[Any, Any, Answer],
        more: Headers,
        problem_headers: Headers,
        scope: Scope,
        fields: Fields,
        receive: Receive,
        send: Send,
    ) -> Answer | None:
        """Send what ``work`` answers, with the headers ``more``; ``None`` where it was a problem, which goes with
        ``problem_headers``."""
        cors = self.cors.headers(fields.get("origin"))
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
