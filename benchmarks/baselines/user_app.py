"""A user's app: a route of its own beside Lightfast's, which keeps its pictures where ``LIGHTFAST_STORE`` says."""

from __future__ import annotations

from fastapi import FastAPI

from lightfast import Lightfast

images = Lightfast()
app = FastAPI(title="Atelier", lifespan=images.lifespan)
app.include_router(images.router)


@app.get("/")
async def start() -> dict[str, str]:
    return {"hello": "world"}
