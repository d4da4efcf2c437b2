"""The ASGI endpoint for previews: ``/images/{id}/preview``, as JSON."""

from __future__ import annotations

from lightfast.serving import Answer, ReadRequest
from lightfast.web.answering import Exchange, ReadingEndpoint, checked_id, parse_read


class ReadingPreviews(ReadingEndpoint[ReadRequest]):
    """Answers requests for a preview."""

    def _parse(self, exchange: Exchange) -> ReadRequest:
        id = checked_id(exchange.scope["path_params"]["id"])
        version = dict(exchange.parameters).get("v")
        return parse_read(exchange, id, self._clock(), preview=True, version=version)

    async def _read(self, asked: ReadRequest) -> Answer:
        return await self._serving().read(asked)
