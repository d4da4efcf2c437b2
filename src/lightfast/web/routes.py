"""The router that an app includes: reading as plain ASGI, writing through FastAPI."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.routing import APIRoute
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lightfast.http.caching import CachePolicy
from lightfast.model import Clock
from lightfast.web import schema
from lightfast.web.body import Uploads
from lightfast.web.host import HostCheck
from lightfast.web.placeholders import PATTERN, ReadingPlaceholders
from lightfast.web.previews import ReadingPreviews
from lightfast.web.reading import Reading
from lightfast.web.writing import Id, Images, add_write_routes, problem_route


def image_router(
    reading: Reading,
    previews: ReadingPreviews,
    placeholders: ReadingPlaceholders,
    images: Images,
    uploads: Uploads,
    *,
    policy: CachePolicy,
    token: str | None,
    clock: Clock,
    read_name: str,
) -> APIRouter:
    """Build the router. ``read_name`` names the route of one image, for ``url_path_for(read_name, id=…)``."""
    router = APIRouter(route_class=problem_route(policy), tags=["images"])
    read = HostCheck(reading)
    router.routes.append(_documented(read)("/images/{id}", _read_image, methods=["GET"], name=read_name, **schema.READ))
    add_write_routes(router, images, uploads, token, clock)
    for path, endpoint, described, said in (
        ("/images/{id}/preview", HostCheck(previews), _read_preview, schema.PREVIEW),
        ("/placeholders/{name}", HostCheck(placeholders), _read_placeholder, schema.PLACEHOLDER),
    ):
        router.routes.append(_documented(endpoint)(path, described, methods=["GET"], **said))
        router.routes.append(Route(path, endpoint, include_in_schema=False))
    # All other methods of an image, HEAD and OPTIONS among them. Behind the routes for PUT and DELETE.
    router.routes.append(Route("/images/{id}", read, name=f"{read_name}_any", include_in_schema=False))
    return router


def _documented(endpoint: ASGIApp) -> type[APIRoute]:
    """A route that the OpenAPI document describes like any other, but that goes to ``endpoint`` as plain ASGI."""

    class AsgiRoute(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            await endpoint(scope, receive, send)

    return AsgiRoute


def _read_image(
    id: Id,
    v: Annotated[str | None, Query(description="The version (ETag) that the URL is of")] = None,
    download: Annotated[str, Query(description="Answer as an attachment, unless it is 0, false or no")] = "0",
) -> None:
    """The image, whole or in ranges, under the conditions of the request (RFC 9110). HEAD works too."""


def _read_preview(
    id: Id, v: Annotated[str | None, Query(description="The version (ETag) that the URL is of")] = None
) -> None:
    """What stands for the image until it is there: ThumbHash, BlurHash, colour, a tiny WebP as data URL."""


def _read_placeholder(
    name: Annotated[str, Path(pattern=f"^{PATTERN}$", description="Width, height and format, such as 1200x630.webp")],
    text: Annotated[str, Query(max_length=100, description="A label")] = "",
    bg: Annotated[
        str, Query(description="Background: a colour in hex digits or a CSS name; by the seed if empty")
    ] = "",
    fg: Annotated[str, Query(description="Colour of the label")] = "",
    seed: Annotated[str, Query(max_length=64, description="Another text gives other colours")] = "",
) -> None:
    """A soft picture to show where there is none yet; the same URL always gives the same bytes. HEAD works too."""
