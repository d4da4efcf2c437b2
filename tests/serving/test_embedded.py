"""Lightfast inside FastAPI apps: the examples as they are, and apps of every shape."""

from __future__ import annotations

import asyncio
import html
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from tests.support import etag_of, free_port

from lightfast import Lightfast, LightfastError, SettingsError

EXAMPLES = Path(__file__).parents[2] / "examples"

Paint = Callable[..., bytes]
StartExample = Callable[..., tuple[httpx2.Client, subprocess.Popen[bytes]]]


def launch(name: str, port: int, directory: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Run ``examples/{name}.py`` by uvicorn as its docstring says; its output goes to ``{name}.log``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LIGHTFAST_")}
    with (directory / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--app-dir", EXAMPLES, "--port", str(port), f"{name}:app"],
            stdout=log,
            stderr=log,
            cwd=directory,
            env=kept | environment,
        )


@pytest.fixture
def start_example(tmp_path: Path) -> Iterator[StartExample]:
    with httpx2.Client(timeout=30) as client:
        started: list[subprocess.Popen[bytes]] = []

        def start(name: str) -> tuple[httpx2.Client, subprocess.Popen[bytes]]:
            port = free_port()
            process = launch(name, port, tmp_path, LIGHTFAST_STORE=f"sqlite:///{tmp_path}/images.db")
            started.append(process)
            client.base_url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    client.get("/docs")
                except httpx2.TransportError:
                    time.sleep(0.02)
                else:
                    return client, process
            raise AssertionError((tmp_path / f"{name}.log").read_text())

        yield start
        for process in started:
            process.kill()
            process.wait()


@asynccontextmanager
async def running(app: FastAPI, root_path: str = "") -> AsyncIterator[httpx2.AsyncClient]:
    """Serve ``app`` by uvicorn on a port of its own, on this event loop."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, root_path=root_path, log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    deadline = time.monotonic() + 30
    while not server.started and not serving.done() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.001)  # uvicorn has a flag and no event
    assert server.started, "the app did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


def app_with(images: Lightfast, prefix: str = "") -> FastAPI:
    app = FastAPI(lifespan=images.lifespan)
    app.include_router(images.router, prefix=prefix)
    return app


# The examples


def test_the_first_example_stores_from_both_kinds_of_endpoint_and_shows_what_it_stored(
    start_example: StartExample,
) -> None:
    client, _ = start_example("fastapi_app")
    painting = client.post("/paintings?seed=7").json()["url"]
    first, second = (client.post(f"/sketches?seed={seed}").json()["url"] for seed in (1, 2))
    assert first != second
    assert second.startswith("/images/sketch?v=")

    answer = client.get(painting)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert painting.endswith(f"?v={etag_of(answer.content)}")
    assert client.get("/images/sketch").headers["cache-control"] == "no-cache", "it was replaced"

    page = client.get("/").text
    versions = [url.partition("?")[2] for url in (painting, second, first)]
    assert [version in page for version in versions] == [True, True, False]
    offered = re.findall(r"/images/[^ \"]*", html.unescape(page))
    assert len(offered) > 2
    assert {client.get(url).headers["content-type"] for url in offered} == {"image/webp"}


def test_the_second_example_keeps_its_own_lifespan_and_routes(start_example: StartExample, tmp_path: Path) -> None:
    client, process = start_example("own_lifespan")
    leading = client.get("/logo")
    assert leading.status_code == 302
    assert leading.headers["location"].startswith("/media/images/logo?v=")
    logo = client.get(leading.headers["location"])
    assert logo.headers["content-type"] == "image/webp"
    assert "immutable" in logo.headers["cache-control"]
    assert client.get("/images/logo").text == "logo is not kept by Lightfast"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) in (0, 130, -signal.SIGINT)
    assert "The logo was shown 1 times." in (tmp_path / "own_lifespan.log").read_text()


def test_an_unusable_store_ends_the_start_and_says_why(tmp_path: Path) -> None:
    store = tmp_path / "missing" / "images.db"
    process = launch("fastapi_app", free_port(), tmp_path, LIGHTFAST_STORE=f"sqlite:///{store}")
    assert process.wait(timeout=30) == 3, "what uvicorn exits with where an application can't start"
    log = (tmp_path / "fastapi_app.log").read_text()
    assert f"The store {str(store)!r} can't be used: its directory does not exist." in log


# Prefixes


@pytest.mark.parametrize("prefix", ["", "/media", "/assets/v1"])
async def test_urls_carry_the_prefix_and_the_version_and_work(prefix: str, picture: Paint) -> None:
    images, data = Lightfast("memory://"), picture(seed=3)
    etag = etag_of(data)
    async with running(app_with(images, prefix)) as client:
        info = await images.put(data, id="a")
        assert info.url == await images.url("a") == f"{prefix}/images/a?v={etag}"
        answer = await client.get(info.url)
        assert answer.content == data
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        put = await client.put(f"{prefix}/images/b", content=data)
        assert put.headers["location"] == put.json()["url"] == f"{prefix}/images/b?v={etag}"
        assert (await client.get(f"{prefix}/images/b/info")).json()["url"] == put.json()["url"]
        listed = (await client.get(f"{prefix}/images")).json()["images"]
        assert [image["url"] for image in listed] == [info.url, put.json()["url"]]


async def test_a_router_inside_a_router(picture: Paint) -> None:
    images = Lightfast("memory://")
    outer = APIRouter(prefix="/api")
    outer.include_router(images.router, prefix="/media")
    app = FastAPI(lifespan=images.lifespan)
    app.include_router(outer)
    async with running(app) as client:
        info = await images.put(picture(), id="a")
        assert info.url.startswith("/api/media/images/a?v=")
        assert (await client.get(info.url)).status_code == 200


async def test_public_url_goes_before_every_path_and_names_what_a_proxy_strips(picture: Paint) -> None:
    images = Lightfast("memory://", public_url="https://example.com/shop/media/")
    async with running(app_with(images, "/media"), root_path="/shop") as client:
        put = await client.put("/media/images/a", content=picture())
        etag = put.headers["etag"].strip('"')
        assert put.headers["location"] == f"https://example.com/shop/media/images/a?v={etag}"
        assert (await client.get(f"/media/images/a?v={etag}")).headers["cache-control"].endswith("immutable")


async def test_two_instances_in_one_app_know_nothing_of_each_other(picture: Paint) -> None:
    first, second = Lightfast("memory://"), Lightfast("memory://")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for images in (first, second):
                await stack.enter_async_context(images.lifespan(app))
            yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(first.router, prefix="/one")
    app.include_router(second.router, prefix="/two")
    async with running(app) as client:
        one = await first.put(picture(seed=1), id="a")
        assert (await client.get("/two/images/a")).status_code == 404
        two = await second.put(picture(seed=2), id="a")
        assert one.url.startswith("/one/images/a?v=")
        assert two.url.startswith("/two/images/a?v=")
        assert (await client.get(one.url)).content == picture(seed=1)
        assert (await client.get(two.url)).content == picture(seed=2)
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert {"/one/images/{id}", "/two/images/{id}"} <= paths.keys()


# In the company of an app's own


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/images/nobody", {}, 404),
        ("GET", "/images/nobody/info", {}, 404),
        ("DELETE", "/images/nobody", {}, 404),
        ("GET", "/images/.hidden", {}, 400),
        ("GET", "/images?limit=0", {}, 400),
        ("GET", "/images/a", {"if-match": '"other"'}, 412),
        ("GET", "/images/a", {"range": "bytes=9999999-"}, 416),
        ("PUT", "/images/a", {"if-none-match": "*"}, 412),
        ("PUT", "/images/b", {"content-type": "image/png"}, 422),
        ("PATCH", "/images/a", {}, 405),
    ],
)
async def test_errors_are_problems_whatever_the_app_does_with_its_own(
    method: str, path: str, headers: dict[str, str], status: int, picture: Paint
) -> None:
    images = Lightfast("memory://")
    app = app_with(images)

    @app.exception_handler(Exception)
    async def catch_all(request: object, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("the app's own words", 500)

    async with running(app) as client:
        await images.put(picture(), id="a")
        body = picture(seed=2) if path == "/images/a" and method == "PUT" else None
        answer = await client.request(method, path, headers=headers, content=body)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
        assert (await client.get("/nowhere")).json() == {"detail": "Not Found"}, "the app's own answer"


async def test_the_apps_document_has_our_routes_beside_its_own() -> None:
    app = app_with(Lightfast("memory://"), "/media")

    @app.get("/mine")
    async def mine() -> str:
        return "mine"

    async with running(app) as client:
        document = (await client.get("/openapi.json")).json()
    methods = {path: set(operations) for path, operations in document["paths"].items()}
    assert methods == {
        "/mine": {"get"},
        "/media/images": {"get", "post"},
        "/media/images/{id}": {"get", "put", "delete"},
        "/media/images/{id}/info": {"get"},
        "/media/images/{id}/preview": {"get"},
        "/media/placeholders/{name}": {"get"},
    }
    operations = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == len(set(operations))
    assert "image/png" in document["paths"]["/media/images/{id}"]["get"]["responses"]["200"]["content"]


async def test_a_plain_endpoint_stores_while_the_loop_serves(picture: Paint) -> None:
    images = Lightfast("memory://")
    app = app_with(images)

    @app.post("/paint")
    def paint(seed: int) -> str:
        return images.sync.put(picture(seed=seed)).url

    async with running(app) as client:
        answers = await asyncio.gather(*(client.post("/paint", params={"seed": seed}) for seed in range(20)))
        for seed, answer in enumerate(answers):
            assert (await client.get(answer.json())).content == picture(seed=seed)


# Without a lifespan, without a store


async def test_without_the_lifespan_every_use_says_what_to_do(picture: Paint, caplog: pytest.LogCaptureFixture) -> None:
    images = Lightfast("memory://")
    app = FastAPI()
    app.include_router(images.router)
    for use in (images.put(picture()), images.get("a"), images.info("a"), images.url("a"), images.list()):
        with pytest.raises(LightfastError, match=r"give the app lifespan=images\.lifespan"):
            await use
    async with running(app) as client:
        for answer in (await client.get("/images/a"), await client.put("/images/a", content=picture())):
            assert answer.status_code == 500
            assert answer.headers["content-type"] == "application/problem+json"
    assert "lifespan=images.lifespan" in caplog.text, "whoever runs the app reads it in the log"


async def test_an_unusable_store_is_a_settings_error(tmp_path: Path) -> None:
    for store, words in (
        (f"sqlite:///{tmp_path}/missing/images.db", "its directory does not exist"),
        (f"sqlite:///{tmp_path}", "it is a directory"),
    ):
        images = Lightfast(store)
        for _ in range(2):  # a failure leaves nothing behind that would hide it the next time
            with pytest.raises(SettingsError, match=words):
                await images.open()
        with pytest.raises(SettingsError, match=words):
            await asyncio.to_thread(images.sync.get, "a")


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ("s3://bucket", "'s3' is no kind of store"),
        ("sqlite:images.db", "a SQLite store is sqlite:///relative.db"),
        ("redis://localhost/images", "the number of a database"),
        ("redis://localhost:port/0", "can't be used"),
    ],
)
def test_a_store_url_that_names_no_store(store: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Lightfast(store)


async def test_a_store_that_does_not_answer_is_a_503_and_the_app_starts_all_the_same() -> None:
    images = Lightfast(f"redis://127.0.0.1:{free_port()}/0")
    async with running(app_with(images)) as client:
        answer = await client.get("/images/a")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
