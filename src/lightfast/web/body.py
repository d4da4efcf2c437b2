"""Reads the body of a write: counted against limits while it comes, then unpacked into image bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from lightfast.errors import BrokenRecord, InvalidRequest, Overloaded, TooLarge, TooSlow
from lightfast.http.digest import verify_content_digest
from lightfast.sniff import media_type_essence
from lightfast.stores.records import unpack_json

T = TypeVar("T")

WRAPPING = 64 * 1024
"""Bytes that a multipart or JSON body may have beside the image."""

PATIENCE = 30.0
"""Seconds that the next piece of a body may take."""

INLINE_LIMIT = 64 * 1024
"""Bytes of a body that are decoded or hashed on the event loop; longer ones in a thread."""

UPLOADS_AT_ONCE = 8
"""How many uploads of the largest size may be in memory at the same time, in all."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The bytes of an image and the media type that the sender names, if any."""

    content: bytes
    declared: str | None


class Uploads:
    """Reads uploads of at most ``max_bytes`` each, holding a bounded number of bytes in all."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._room = UPLOADS_AT_ONCE * max_bytes

    @asynccontextmanager
    async def raw(self, request: Request) -> AsyncIterator[Upload]:
        """The body is the image. Raises ``TooLarge``, ``TooSlow``, ``InvalidRequest``, ``Overloaded``.

        The room that it takes is given back at the end, when the image is where it should be.
        """
        async with self._body(request, self._max_bytes) as body:
            yield Upload(body, request.headers.get("content-type"))

    @asynccontextmanager
    async def any_form(self, request: Request) -> AsyncIterator[Upload]:
        """The body is the image, a multipart form with ``file``, or JSON with ``base64_data``. As ``raw``."""
        match media_type_essence(request.headers.get("content-type", "")):
            case "multipart/form-data":
                async with self._body(request, self._max_bytes + WRAPPING) as body:
                    yield await _unpack_multipart(request, body)
            case "application/json":
                async with self._body(request, self._max_bytes * 4 // 3 + WRAPPING) as body:
                    yield await _aside(len(body), partial(_unpack_json, body))
            case _:
                async with self.raw(request) as upload:
                    yield upload

    @asynccontextmanager
    async def _body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared) > limit:
            raise TooLarge(self._max_bytes)
        chunks: list[bytes] = []
        held = 0
        try:
            async for chunk in _in_time(request.stream()):
                held += len(chunk)
                self._room -= len(chunk)
                if held > limit:
                    raise TooLarge(self._max_bytes)
                if self._room < 0:
                    raise Overloaded("Too many large uploads are under way.")
                chunks.append(chunk)
            body = b"".join(chunks)
            chunks.clear()
            digest = request.headers.get("content-digest")
            if digest is not None:
                await _aside(len(body), partial(verify_content_digest, digest, body))
            yield body
        finally:
            self._room += held


async def _in_time(chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """``chunks``, as long as one comes now and then. Raises ``TooSlow``."""
    while True:
        try:
            async with asyncio.timeout(PATIENCE):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise TooSlow(PATIENCE) from None
        yield chunk


async def _aside(size: int, work: Callable[[], T]) -> T:
    """Do ``work`` on ``size`` bytes here if that is quick, else in a thread."""
    return work() if size <= INLINE_LIMIT else await asyncio.to_thread(work)


def _unpack_json(body: bytes) -> Upload:
    try:
        content, declared = unpack_json(body)
    except BrokenRecord as error:
        raise InvalidRequest(
            f'The JSON body can\'t be read: {error.reason}. Expected {{"base64_data": "…", "mime_type": "image/png"}}.'
        ) from error
    return Upload(content, declared)


async def _unpack_multipart(request: Request, body: bytes) -> Upload:
    parser = MultiPartParser(request.headers, _once(body), max_files=1, max_fields=16)
    try:
        form = await parser.parse()
    except (MultiPartException, LookupError, UnicodeError) as error:
        reason = str(getattr(error, "message", error)).rstrip(".")
        raise InvalidRequest(f"The multipart body can't be read: {reason}.") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InvalidRequest("The multipart body needs a part named 'file' with a file name and the image's bytes.")
        return Upload(await file.read(), file.content_type)
    finally:
        await form.close()


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
