"""A FastAPI app that paints pictures and lets Lightfast keep and serve them.

    .venv/bin/uvicorn --app-dir examples fastapi_app:app

Then open http://127.0.0.1:8000/, or let it paint one more picture:

    curl -X POST 'http://127.0.0.1:8000/paintings?seed=7'

Pictures are kept in ``lightfast.db``, or where ``LIGHTFAST_STORE`` says (``redis://localhost:6379/0``).
"""

from __future__ import annotations

import asyncio

import pyvips
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from lightfast import Lightfast

images = Lightfast()
app = FastAPI(title="Paintings", lifespan=images.lifespan)
app.include_router(images.router)


def paint(seed: int, size: int) -> bytes:
    """Stands for the generator: clouds in false colours, as PNG."""
    clouds = pyvips.Image.perlin(size, size, cell_size=size // 4, seed=seed)
    return bytes(((clouds + 1) * 127.5).cast("uchar").falsecolour().write_to_buffer(".png"))


@app.post("/paintings", status_code=201)
def make_painting(seed: int = 1) -> dict[str, str]:
    """A generator that blocks runs in a thread, as plain ``def``; so it stores with ``images.sync``."""
    return {"url": images.sync.put(paint(seed, 512)).url}


@app.post("/sketches", status_code=201)
async def make_sketch(seed: int = 1) -> dict[str, str]:
    """The same in async code, under an id of our own that names the latest sketch; gone after ten minutes."""
    picture = await asyncio.to_thread(paint, seed, 128)
    info = await images.put(picture, id="sketch", ttl="10m")
    return {"url": info.url}


@app.get("/", response_class=HTMLResponse)
async def gallery() -> str:
    """Every URL names a version, so browsers keep the pictures; a new sketch has another URL.

    Each browser takes the size that it needs, and shows a blurred preview until it has come.
    """
    listing = await images.list(limit=50)
    pictures = [await images.html(image.id, sizes="512px", alt=image.id) for image in listing.images]
    return f"<!doctype html><title>Paintings</title>{''.join(pictures) or 'Nothing is painted yet.'}"
