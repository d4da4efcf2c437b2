"""A Lightfast server, seen from a client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar

import httpx2
import orjson
from pydantic import TypeAdapter, ValidationError

from lightfast.errors import LightfastError, SettingsError, TooLarge
from lightfast.model import Info, Listing
from lightfast.sniff import media_type_essence

T = TypeVar("T")

MAX_IMAGE = 1024 * 1024 * 1024
"""Bytes; the server has a limit of its own, this one protects the client."""
MAX_DESCRIPTION = 16 * 1024 * 1024
PIECE = 64 * 1024
TIMEOUT = httpx2.Timeout(30, connect=5)
"""Seconds: between two pieces of an answer, and for connecting."""

_INFO = TypeAdapter(Info)
_LISTING = TypeAdapter(Listing)


class RemoteError(LightfastError):
    """The server refused, can't be reached, or is none of Lightfast."""


class Watcher(Protocol):
    """Is told how far a transfer is."""

    def expect(self, size: int) -> None:
        """``size`` bytes will be moved."""

    def moved(self, size: int) -> None:
        """``size`` more bytes have been moved."""


class RemoteImages:
    """The images of the server at ``url``, whose writing and listing may need ``token``.

    Raises ``SettingsError`` for what can't be the URL of a server or a token; every method raises ``RemoteError``.
    """

    max_bytes = MAX_IMAGE

    def __init__(self, url: str, token: str | None) -> None:
        self._base = _parse(url)
        headers = {"accept-encoding": "identity", "user-agent": "lightfast"}
        if token is not None:
            if not (token.isascii() and token.isprintable()):
                raise SettingsError("the write token has characters that can't be sent in a header")
            headers["authorization"] = f"Bearer {token}"
        self._client = httpx2.Client(base_url=self._base, headers=headers, timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._client.close()

    def put(self, data: bytes, *, id: str | None, ttl: str | None, watcher: Watcher) -> Info:
        """Store ``data``; without ``id`` under one that nobody can guess. ``ttl`` as ``units.parse_duration`` reads."""

        def pieces() -> Iterator[bytes]:
            for start in range(0, len(data), PIECE):
                piece = data[start : start + PIECE]
                yield piece
                watcher.moved(len(piece))

        method, path = ("POST", "images") if id is None else ("PUT", f"images/{id}")
        length = {"content-length": str(len(data))}
        params = {} if ttl is None else {"ttl": ttl}
        with self._exchange(method, path, params=params, content=pieces(), headers=length) as answer:
            return self._absolute(self._decode(_INFO, answer))

    def get(self, id: str, watcher: Watcher) -> tuple[bytes, str]:
        """The content and the media type of the current version."""
        with self._exchange("GET", f"images/{id}") as answer:
            media_type = media_type_essence(answer.headers.get("content-type", ""))
            if not media_type.startswith("image/"):
                raise RemoteError(f"{self._base} answers with {media_type or 'something'}, which is no image.")
            length = answer.headers.get("content-length", "")
            watcher.expect(int(length) if length.isascii() and length.isdigit() else 0)
            return _read(answer, MAX_IMAGE, watcher), media_type

    def info(self, id: str) -> Info:
        """Describe an image."""
        with self._exchange("GET", f"images/{id}/info") as answer:
            return self._absolute(self._decode(_INFO, answer))

    def delete(self, id: str) -> None:
        """Remove an image."""
        with self._exchange("DELETE", f"images/{id}"):
            pass

    def list(self, cursor: str | None, limit: int) -> Listing:
        """One page from ``cursor`` (``None`` = from the start) on."""
        params = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
        with self._exchange("GET", "images", params=params) as answer:
            page = self._decode(_LISTING, answer)
        return Listing(tuple(self._absolute(info) for info in page.images), page.cursor)

    # Any: what httpx2 takes as content, headers and parameters.
    @contextmanager
    def _exchange(self, method: str, path: str, **request: Any) -> Iterator[httpx2.Response]:
        try:
            with self._client.stream(method, path, **request) as answer:
                if not answer.is_success:
                    raise RemoteError(self._explain(answer))
                yield answer
        except httpx2.HTTPError as error:
            raise RemoteError(f"{self._base} does not answer: {str(error) or type(error).__name__}.") from error

    def _explain(self, answer: httpx2.Response) -> str:
        if answer.has_redirect_location:
            return f"{self._base} redirects to {answer.headers['location']}; give the URL of the server itself."
        if media_type_essence(answer.headers.get("content-type", "")) == "application/problem+json":
            try:
                problem = orjson.loads(_read(answer, PIECE))
            except (orjson.JSONDecodeError, TooLarge):
                problem = None
            if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
                return str(problem["detail"])
        return f"{self._base} answers {answer.status_code} {answer.reason_phrase}, unlike a Lightfast server."

    def _decode(self, adapter: TypeAdapter[T], answer: httpx2.Response) -> T:
        try:
            return adapter.validate_json(_read(answer, MAX_DESCRIPTION))
        except (ValidationError, TooLarge) as error:
            message = f"{self._base} answers {answer.status_code} with something else than a Lightfast server would."
            raise RemoteError(message) from error

    def _absolute(self, info: Info) -> Info:
        try:
            return replace(info, url=str(self._base.join(info.url)))
        except httpx2.InvalidURL as error:
            raise RemoteError(f"{self._base} names {info.url!r} as the URL of an image, which is none.") from error


def _parse(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise SettingsError(f"{url!r} can't be the URL of a server: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query or parsed.fragment:
        raise SettingsError(
            f"{url!r} can't be the URL of a server; one is http://127.0.0.1:8000 or https://host/prefix"
        )
    return parsed


def _read(answer: httpx2.Response, limit: int, watcher: Watcher | None = None) -> bytes:
    pieces, size = [], 0
    for piece in answer.iter_bytes(PIECE):
        size += len(piece)
        if size > limit:
            raise TooLarge(limit)
        if watcher is not None:
            watcher.moved(len(piece))
        pieces.append(piece)
    return b"".join(pieces)
