"""A real Chromium, a Lightfast server that logs what it is asked, and an app of another origin that shows pictures."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
import pyvips
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from tests.support import free_port

LIGHTFAST = Path(sys.executable).parent / "lightfast"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whoever wants another machine gets an error instead of an answer.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PATIENCE = 30


@dataclass
class Images:
    """A ``lightfast serve`` process and its access log."""

    port: int
    log: Path
    client: httpx2.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, id: str, content: bytes) -> str:
        """Store an image; its URL with the version."""
        return self.url + str(self.client.put(f"/images/{id}", content=content).raise_for_status().json()["url"])

    def bare(self, id: str) -> str:
        return f"{self.url}/images/{id}"

    def asked(self, id: str) -> list[tuple[str, int]]:
        """Method and status of every request for the image that was made so far, but for PUT."""
        # What was sent before this one is logged before it, so nothing is overlooked.
        mark = f"/{secrets.token_hex(8)}"
        self.client.get(mark)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
            if any(line.get("path") == mark for line in lines):
                made = [line for line in lines if line.get("path") == f"/images/{id}" and line["method"] != "PUT"]
                return [(line["method"], line["status"]) for line in made]
            time.sleep(0.01)
        raise AssertionError(f"the access log does not show {mark}")


@dataclass
class Site:
    """An app that is no part of Lightfast, of an origin of its own."""

    port: int
    pages: dict[str, str] = field(default_factory=dict)

    def page(self, body: str) -> str:
        """Publish a page; its URL."""
        path = f"/{secrets.token_hex(8)}"
        self.pages[path] = f"<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>App</title>{body}"
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    directory = tmp_path_factory.mktemp("images")
    log = directory / "server.log"
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIGHTFAST_")}
    command = [LIGHTFAST, "serve", "--port", str(port), "--store", f"sqlite:///{directory}/images.db", "--log", "json"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=directory, env=environment)
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
        try:
            _wait_for(client, process)
            yield Images(port, log, client)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _wait_for(client: httpx2.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.get("/healthz")
        except httpx2.TransportError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    pages: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """The app keeps no log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Site(server.server_address[1], pages)
        server.shutdown()
        thread.join()


# Not for the whole session: while it is open, the thread has a running event loop, and async tests can't have theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """Somebody who was never here before: a browser with nothing in its cache."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    yield context
    context.close()


def paint(
    colour: tuple[int, int, int] = (200, 30, 60), width: int = 320, height: int = 200, suffix: str = ".png"
) -> bytes:
    """A picture of one colour."""
    plain = pyvips.Image.black(width, height, bands=3) + list(colour)
    return bytes(plain.cast("uchar").copy(interpretation="srgb").write_to_buffer(suffix))


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    return paint


@pytest.fixture
def id() -> str:
    return secrets.token_hex(8)
