"""FastAPI routes for everything but reading the pictures: PUT, POST, DELETE, list, info."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import ClientDisconnect

from lightfast.errors import InvalidRequest, LightfastError, Missing, Unauthorized
from lightfast.http.caching import CachePolicy
from lightfast.http.conditional import write_precondition
from lightfast.http.fields import combine
from lightfast.model import ID_PATTERN, Clock, Info, Listing, Precondition
from lightfast.units import parse_duration
from lightfast.web import schema
from lightfast.web.body import Upload, Uploads
from lightfast.web.errors import problem_of
from lightfast.web.methods import other_methods

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


class Images(Protocol):
    """What the routes need of Lightfast."""

    async def publish(
        self, data: bytes, *, id: str | None, ttl: float | None, media_type: str | None, precondition: Precondition
    ) -> tuple[Info, bool]:
        """Store an image; its description and whether the id named nothing before."""

    async def delete(self, id: str, *, precondition: Precondition) -> bool: ...

    async def info(self, id: str) -> Info | None: ...

    async def list(self, cursor: str | None, limit: int) -> Listing: ...


Id = Annotated[str, Path(pattern=f"^{ID_PATTERN}$", description="1 to 128 of A-Z a-z 0-9 . _ -, no dot in front")]
Ttl = Annotated[str | None, Query(max_length=32, **schema.TTL)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Images per page")]
Cursor = Annotated[str | None, Query(max_length=8192, description="The cursor that the previous page gave")]

_bearer = HTTPBearer(auto_error=False, description="The server's write token, if it has one")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def problem_route(policy: CachePolicy) -> type[APIRoute]:
    """A route class that answers every error of ours with a problem body, whatever app the route is included in."""

    class ProblemRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_problems(request: Request) -> Response:
                try:
                    return await handle(request)
                except LightfastError as error:
                    return problem_of(error, policy)
                except RequestValidationError as error:
                    return problem_of(InvalidRequest(_explain(error)), policy)
                except ClientDisconnect:
                    return Response(status_code=400)  # nobody is there to read it

            return handle_problems

    return ProblemRoute


def write_guard(token: str | None) -> Callable[..., None]:
    """A dependency that lets through only requests with the bearer token, if there is one."""

    def authorize(credentials: Credentials) -> None:
        if token is None:
            return
        # A header value reaches us as Latin-1, one character for each byte that was sent.
        given = credentials.credentials.encode("latin-1") if credentials is not None else b""
        if not secrets.compare_digest(given, token.encode()):
            raise Unauthorized("Writing and listing need the header 'Authorization: Bearer' with the write token.")

    return authorize


def add_write_routes(router: APIRouter, images: Images, uploads: Uploads, token: str | None, clock: Clock) -> None:
    """Add the routes to ``router``, whose route class answers the errors."""
    guarded = [Depends(write_guard(token))]

    def precondition(request: Request) -> Precondition:
        return write_precondition(combine(request.headers.raw), clock())

    async def publish(request: Request, id: str | None, ttl: str | None, read: Reader) -> Response:
        wanted = precondition(request)
        seconds = _seconds(ttl)
        if "content-range" in request.headers:
            # RFC 9110 §14.5: a part must not be stored as if it were the whole.
            raise InvalidRequest("Content-Range is not understood in a write: send the whole image.")
        async with read(request) as upload:
            info, created = await images.publish(
                upload.content, id=id, ttl=seconds, media_type=upload.declared, precondition=wanted
            )
        return schema.stored_response(info, created)

    @router.put("/images/{id}", dependencies=guarded, **schema.PUT)
    async def put_image(request: Request, id: Id, ttl: Ttl = None) -> Response:
        """Store the body as this image, replacing what the id named before."""
        return await publish(request, id, ttl, uploads.raw)

    @router.post("/images", dependencies=guarded, **schema.POST)
    async def post_image(request: Request, ttl: Ttl = None) -> Response:
        """Store an image under a new id that nobody can guess."""
        return await publish(request, None, ttl, uploads.any_form)

    @router.delete("/images/{id}", dependencies=guarded, **schema.DELETE)
    async def delete_image(request: Request, id: Id) -> Response:
        """Remove this image."""
        if not await images.delete(id, precondition=precondition(request)):
            raise Missing(id)
        return Response(status_code=204)

    @router.get("/images/{id}/info", **schema.INFO)
    async def image_info(id: Id, response: Response) -> Info:
        """Describe this image."""
        info = await images.info(id)
        if info is None:
            raise Missing(id)
        response.headers["cache-control"] = "no-store"
        return info

    @router.get("/images", dependencies=guarded, **schema.LIST)
    async def list_images(response: Response, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> Listing:
        """Describe all images, page by page. A page may be short, or even empty, and still have a cursor."""
        response.headers["cache-control"] = "no-store"
        return await images.list(cursor, limit)

    router.add_api_route("/images/{id}/info", image_info, methods=["HEAD"], include_in_schema=False)
    router.add_api_route("/images", list_images, methods=["HEAD"], dependencies=guarded, include_in_schema=False)
    router.routes.append(other_methods("/images/{id}/info", "GET, HEAD, OPTIONS"))
    router.routes.append(other_methods("/images", "GET, HEAD, POST, OPTIONS"))


Reader = Callable[[Request], AbstractAsyncContextManager[Upload]]


def _seconds(ttl: str | None) -> float | None:
    if ttl is None:
        return None
    try:
        return parse_duration(ttl)
    except ValueError as error:
        raise InvalidRequest(f"The parameter 'ttl': {error}") from error


def _explain(error: RequestValidationError) -> str:
    return "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
