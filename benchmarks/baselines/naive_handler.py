"""What many apps have today: pictures as base64 in JSON in Redis, decoded again for every request.

    REDIS_URL=redis://localhost:6379/0 .venv/bin/uvicorn --app-dir benchmarks/baselines naive_handler:app

Lightfast reads these records as they are, so it can stand beside such an app, and then instead of its read
handler, without a migration. The tests and benchmarks run this app as the peer.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio
from fastapi import FastAPI, HTTPException, Request, Response

TTL_SECONDS = 7200

store = redis.asyncio.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379/0"))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await store.aclose()


app = FastAPI(title="Naive handler", lifespan=lifespan)


@app.put("/images/{id}", status_code=204)
async def save_image(id: str, request: Request) -> None:
    record = {
        "base64_data": base64.b64encode(await request.body()).decode(),
        "mime_type": request.headers["content-type"],
    }
    await store.set(f"image:{id}", json.dumps(record), ex=TTL_SECONDS)


@app.get("/images/{id}")
async def image(id: str) -> Response:
    value = await store.get(f"image:{id}")
    if value is None:
        raise HTTPException(404, "No such image")
    record = json.loads(value)
    content = base64.b64decode(record["base64_data"])
    return Response(content, media_type=record["mime_type"], headers={"cache-control": "public, max-age=3600"})
