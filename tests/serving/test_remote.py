"""The client of a server meets servers that are no Lightfast."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lightfast.cli import run
from lightfast.console import Bar
from lightfast.errors import SettingsError
from lightfast.remote import RemoteError, RemoteImages

PROBLEM = {"content-type": "application/problem+json"}
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/images": (200, {"content-type": "text/html"}, b"<h1>Hello</h1>"),
    "/images/page": (200, {"content-type": "text/html"}, b"<h1>Hello</h1>"),
    "/images/moved": (301, {"location": "https://elsewhere.example/"}, b""),
    "/images/odd": (404, PROBLEM, b"{not json"),
    "/images/endless": (404, PROBLEM, b" " * 1_000_000),
    "/images/escapes": (400, PROBLEM, rb'{"detail": "a\u001b[31m\nb"}'),
    "/images/cut": (200, {"content-type": "image/png", "content-length": "1000"}, b"only this"),
    "/images/broken/info": (200, {"content-type": "application/json"}, b'{"id": "broken"}'),
}


class Stranger(BaseHTTPRequestHandler):
    """Answers as in the table, whatever it is asked."""

    def do_GET(self) -> None:
        status, headers, body = ANSWERS[self.path.partition("?")[0]]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keep standard error clean."""


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("page", "text/html"),
        ("moved", "https://elsewhere.example/"),
        ("odd", "404"),
        ("endless", "404"),
        ("cut", "does not answer"),
    ],
)
def test_image_of_a_stranger(stranger: str, id: str, expected: str) -> None:
    with RemoteImages(stranger, None) as images, Bar() as bar, pytest.raises(RemoteError, match=expected):
        images.get(id, bar)


def test_descriptions_of_a_stranger(stranger: str) -> None:
    with RemoteImages(stranger, None) as images:
        with pytest.raises(RemoteError, match="Lightfast server"):
            images.list(None, 10)
        with pytest.raises(RemoteError, match="Lightfast server"):
            images.info("broken")


def test_stranger_steers_no_terminal(stranger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["get", "escapes", "--server", stranger]) == 1
    assert capsys.readouterr().err == "lightfast: a\\x1b[31m b\n"


def test_file_stays_when_the_answer_is_cut(stranger: str, tmp_path: Path) -> None:
    file = tmp_path / "kept.png"
    file.write_bytes(b"before")
    assert run(["get", "cut", "-o", str(file), "--server", stranger]) == 1
    assert file.read_bytes() == b"before"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://a", "http://", "http://me:secret@a", "http://a/?q=1", "http://a:port", "/images"]
)
def test_url_that_is_no_server(url: str) -> None:
    with pytest.raises(SettingsError):
        RemoteImages(url, None)


@pytest.mark.parametrize("token", ["two\nlines", "schlüssel"])
def test_token_that_can_not_be_sent(token: str) -> None:
    with pytest.raises(SettingsError) as caught:
        RemoteImages("http://127.0.0.1:1", token)
    assert token not in str(caught.value)
