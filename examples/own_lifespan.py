"""An app that has a lifespan and routes of its own, and serves its images under ``/media``.

    .venv/bin/uvicorn --app-dir examples own_lifespan:app

``http://127.0.0.1:8000/logo`` leads to the picture that was painted at start, ``/docs`` shows all routes.
Pictures are kept in ``lightfast.db``, or where ``LIGHTFAST_STORE`` says (``redis://localhost:6379/0``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pyvips
from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from lightfast import Lightfast

images = Lightfast()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    """Whatever the app needs; inside ``images.lifespan`` it can use the images already, and still at the end."""
    async with images.lifespan(app) as state:
        await images.put(paint_logo(), id="logo", ttl=0)
        app.state.visits = 0
        yield state
        print(f"The logo was shown {app.state.visits} times.")


app = FastAPI(title="Own lifespan", lifespan=lifespan)
app.include_router(images.router, prefix="/media")


def paint_logo() -> bytes:
    """Rings in false colours, as WebP."""
    rings = pyvips.Image.zone(256, 256)
    return bytes(((rings + 1) * 127.5).cast("uchar").falsecolour().write_to_buffer(".webp", Q=85))


@app.get("/logo")
async def logo(request: Request) -> RedirectResponse:
    """Leads to the current version; that URL may be kept for ever, this one not at all."""
    request.app.state.visits += 1
    return RedirectResponse(await images.url("logo"), 302, headers={"cache-control": "no-store"})


@app.get("/images/{name}")
async def own_images_route(name: str) -> Response:
    """An older route of the app, which the images under ``/media`` leave alone."""
    return Response(f"{name} is not kept by Lightfast", media_type="text/plain")
