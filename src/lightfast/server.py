"""The server: its application, uvicorn's set-up, workers and signals."""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import math
import multiprocessing
import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import uvicorn
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lightfast import __version__
from lightfast.app import Lightfast
from lightfast.assembly import make_store
from lightfast.errors import SettingsError
from lightfast.heap import share_one_heap, trimmed
from lightfast.settings import Settings, load_settings
from lightfast.units import MAX_DURATION, format_size
from lightfast.web.access_log import AccessLog, console_log_config, json_log_config
from lightfast.web.admission import Admission
from lightfast.web.date import DateHeader
from lightfast.web.errors import Problem
from lightfast.web.front import Front
from lightfast.web.host import HostCheck
from lightfast.web.hot import HotProtocol
from lightfast.web.metrics import SharedSamples, render
from lightfast.web.operating import operating_router
from lightfast.workers import run

DESCRIPTION = "Stores and serves images: three cache levels, exact HTTP, never stale."
METRICS_DIRECTORY = "LIGHTFAST_INTERNAL_METRICS_DIRECTORY"
"""Tells the workers of one server where they share their numbers."""

NOT_FOUND = "There is nothing at this path. Images are at /images/{id}; /docs describes everything."

PR_SET_PDEATHSIG = 1  # Linux, <sys/prctl.h>


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application that ``lightfast serve`` runs; ``None`` takes the settings from the environment."""
    if multiprocessing.parent_process() is not None:
        _end_with_parent()
    settings = settings or load_settings()
    images = Lightfast(**settings.model_dump())
    directory = os.environ.get(METRICS_DIRECTORY)
    shared = SharedSamples(Path(directory)) if directory else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        publishing = shared.published(images.samples, alone=settings.workers == 1) if shared else nullcontext()
        async with images.lifespan(app) as state, publishing, trimmed(images.allocations):
            yield state

    def metrics() -> bytes:
        mine = images.samples()
        if shared is None:
            return render(mine)
        shared.publish(mine)  # what is told now must not be told less if this process dies
        return render([*mine, *shared.of_others()])

    app: FastAPI = FastAPIOffline(
        redoc_url=None,
        title="Lightfast",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.include_router(images.router)
    app.include_router(operating_router(images.ping, images.link_state, metrics))
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Exception, _unexpected_problem)
    app.add_middleware(Front, reading=images.reading)
    app.add_middleware(HostCheck)
    app.add_middleware(Admission, limit=settings.max_requests)
    app.add_middleware(DateHeader)
    if settings.log != "off":
        app.add_middleware(AccessLog, log_format=settings.log, share_of_hits=settings.log_hits)
    return app


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests under way. Raises ``SettingsError``."""
    check_exposure(settings)
    share_one_heap()
    _raise_descriptor_limit()
    asyncio.run(_check_store(settings))
    with TemporaryDirectory(prefix="lightfast-") as directory:
        _export(settings)
        os.environ[METRICS_DIRECTORY] = directory
        # Once uvicorn has finished it raises the signal that stopped it again: the end of work done is no failure.
        signal.signal(signal.SIGTERM, _end)
        config = partial(_uvicorn_config, settings)
        run(config, announcement=_memory_in_all(settings), can_reload=not settings.store.startswith("memory:"))


def _memory_in_all(settings: Settings) -> str:
    each, total = format_size(settings.memory), format_size(settings.memory * settings.workers)
    if settings.workers == 1:
        return f"The memory cache holds up to {each}"
    return f"The memory caches hold up to {total}: {settings.workers} workers with {each} each"


def _uvicorn_config(settings: Settings) -> uvicorn.Config:
    level = "info" if settings.log != "off" else "warning"
    return uvicorn.Config(
        "lightfast.server:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=HotProtocol,
        ws="none",
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=json_log_config() if settings.log == "json" else console_log_config(level.upper()),
        log_level=level,
        timeout_keep_alive=math.ceil(settings.keep_alive) or round(MAX_DURATION),
        timeout_graceful_shutdown=max(1, round(settings.shutdown_grace)),
    )


def _raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as it may give itself. A connection has two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _end_with_parent() -> None:
    """Have a worker end when its supervisor is killed; nobody else would tell it to."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def check_exposure(settings: Settings) -> None:
    """Refuse to listen to the network when anybody who can connect could write. Raises ``SettingsError``."""
    if settings.write_token is None and not _is_loopback(settings.host):
        raise SettingsError(
            f"without a write token anybody who reaches {settings.host} could store and delete images: set "
            "LIGHTFAST_WRITE_TOKEN (for example to the output of 'openssl rand -hex 32'), or listen on 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _check_store(settings: Settings) -> None:
    # Opened once before the server starts, so that an unusable store is one clear line instead of a traceback.
    store = make_store(settings)
    await store.open()
    await store.close()


def _export(settings: Settings) -> None:
    """Hand the settings to worker processes, which read them from the environment."""
    for name, value in settings.model_dump().items():
        if value is not None:
            os.environ[f"LIGHTFAST_{name.upper()}"] = _as_text(value)


def _as_text(value: object) -> str:
    match value:
        case tuple():
            return ",".join(map(str, value))
        case dict():
            return " ".join(f"{name}?{query}" for name, query in value.items())
        case float():
            return f"{value:.9f}"  # never with an exponent, which no duration has
        case other:
            return str(other)


async def _http_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    detail = NOT_FOUND if error.status_code == 404 else str(error.detail)
    return Problem(error.status_code, detail, (error.headers or {}).items())


async def _unexpected_problem(request: Request, error: Exception) -> Response:
    # Uvicorn closes the connection after an error that it sees; a client that isn't told would try to use it again.
    return Problem(500, "The server could not answer this request.", [("connection", "close")])
