"""What a real browser asks for when somebody looks at the same pictures again: counted in the server's access log."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import BrowserContext, sync_playwright

from benchmarks import contestants, processes
from benchmarks.client import Client
from benchmarks.plan import Result

VIEWS = 3
PATIENCE = 30
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
DECODED = "() => Promise.all([...document.images].map(picture => picture.decode()))"
IDS = ("first.png", "second.png", "third.png")


def views(content: bytes) -> Result:
    """How many requests for pictures each view of a page with three concepts made, under bare URLs."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        store, log = f"sqlite:///{directory}/images.db", directory / "log"
        with processes.serve(store, log="json", output=log) as server, page(server.port) as url:
            contestants.upload(server.port, dict.fromkeys(IDS, content))
            with sync_playwright() as playwright:
                program = contestants.find("chromium")
                chromium = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
                context = chromium.new_context()
                counts = [visit(context, url, server.port, log) for _ in range(VIEWS)]
                version = chromium.version
                chromium.close()
    return {"pictures": len(IDS), "requests_by_view": counts, "chromium": version}


def visit(context: BrowserContext, url: str, port: int, log: Path) -> int:
    """Open the page in a new tab until its pictures are decoded; the requests for pictures that this made."""
    before = requests(port, log)
    tab = context.new_page()
    tab.goto(url)
    tab.evaluate(DECODED)
    return requests(port, log) - before


def requests(port: int, log: Path) -> int:
    """Requests for pictures so far. What was sent before our own marker is logged before it."""
    mark = f"/marker-{time.monotonic_ns()}"
    with Client(port) as client:
        client.ask(f"GET {mark} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        paths = [line["path"] for line in lines(log) if line.get("method") == "GET"]
        if mark in paths:
            return sum(path.startswith("/images/") for path in paths)
        time.sleep(0.01)
    raise RuntimeError("the access log does not show a request that was answered")


def lines(log: Path) -> Iterator[dict[str, str]]:
    for line in log.read_text().splitlines():
        if line.startswith("{"):
            yield json.loads(line)


@contextmanager
def page(port: int) -> Iterator[str]:
    """The URL of a page with three pictures of the server on ``port``."""
    pictures = "".join(f'<img src="http://127.0.0.1:{port}/images/{id}" width="320">' for id in IDS)
    body = f"<!doctype html><link rel=icon href=data:,><title>Concepts</title>{pictures}".encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()
