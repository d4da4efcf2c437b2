"""The ASGI endpoint for previews: ``/images/{id}/preview``, as JSON."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from lightfast.errors import InvalidRequest
from lightfast.http.fields import combine
from lightfast.model import ID_PATTERN, Clock, is_valid_id
from lightfast.serving import Answer, Serving
from lightfast.spec import parse_query
from lightfast.web.answering import Answering
from lightfast.web.reading import MAX_QUERY, parse_read

METHODS = "GET, HEAD, OPTIONS"


class ReadingPreviews:
    """Answers requests for a preview. ``serving`` is called per request: it exists only while the app runs."""

    def __init__(self, serving: Callable[[], Serving], answering: Answering, clock: Clock) -> None:
        self._serving = serving
        self._answering = answering
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = combine(scope["headers"])
        if await self._answering.other_method(METHODS, scope, fields, receive, send):
            return

        async def read() -> Answer:
            id, query = scope["path_params"]["id"], scope["query_string"]
            if not is_valid_id(id) or len(query) > MAX_QUERY:
                raise InvalidRequest(f"The id of an image matches {ID_PATTERN}, and a query is short.")
            version = dict(parse_query(query.decode("latin-1"))).get("v")
            request = parse_read(scope, fields, id, self._clock(), preview=True, version=version)
            return await self._serving().read(request)

        await self._answering.answer(read(), [], [], scope, fields, receive, send)
