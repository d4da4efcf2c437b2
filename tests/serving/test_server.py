"""The server as a process: whom it refuses to serve, how it stops, what it logs, and errors nobody foresaw."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from tests.support import free_port, wait_until

pytestmark = pytest.mark.own_core

LIGHTFAST = Path(sys.executable).parent / "lightfast"
PATIENCE = 20


def serve(directory, *options):
    command = [str(LIGHTFAST), "serve", "--store", "memory://", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=directory, timeout=PATIENCE, check=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])  # noqa: S104
def test_without_a_token_only_the_loopback_is_listened_to(tmp_path, host):
    refused = serve(tmp_path, "--host", host, "--port", str(free_port()))
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert len(refused.stderr.splitlines()) == 1
    assert "LIGHTFAST_WRITE_TOKEN" in refused.stderr
    assert host in refused.stderr


def test_what_may_be_listened_to(start_lightfast):
    for given in ({"host": "0.0.0.0", "write_token": "secret"}, {"host": "localhost"}):  # noqa: S104
        assert httpx2.get(f"{start_lightfast(**given).url}/readyz").status_code == 200


def test_a_port_that_is_taken_is_one_clear_line(server, tmp_path):
    refused = serve(tmp_path, "--port", str(server.port), "--log", "off")
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert str(server.port) in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def listens(server):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
        return True
    return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stopping_finishes_the_requests_under_way(start_lightfast, picture, how):
    server = start_lightfast()
    large = picture() + b"\0" * 20_000_000
    with server.client() as client:
        client.put("/images/large", content=large)
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, PATIENCE) as upload, socket.create_connection(address, PATIENCE) as download:
        content = picture(seed=2)
        head = f"PUT /images/late HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(content)}\r\n\r\n"
        upload.sendall(head.encode())
        assert upload.recv(100).startswith(b"HTTP/1.1 100")
        upload.sendall(content[:100])
        download.sendall(b"GET /images/large HTTP/1.1\r\nHost: x\r\n\r\n")
        received = download.recv(1000)
        server.process.send_signal(how)
        wait_until(lambda: not listens(server))
        upload.sendall(content[100:])
        assert upload.recv(65536).startswith(b"HTTP/1.1 201")
        received += b"".join(iter(lambda: download.recv(1 << 20), b""))
        assert received.endswith(large)
    assert server.process.wait(PATIENCE) == 0
    assert "Traceback" not in server.log.read_text()
    with start_lightfast().client() as client:
        assert client.get("/images/late").content == content


def test_a_request_that_never_ends_is_cut_after_the_grace(start_lightfast):
    server = start_lightfast(shutdown_grace="1s")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as upload:
        upload.sendall(b"PUT /images/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
        assert upload.recv(100).startswith(b"HTTP/1.1 100")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_line_of_the_json_log_is_json(start_lightfast, picture, workers):
    server = start_lightfast(workers=workers)
    with server.client() as client:
        client.put("/images/a", content=picture())
        client.get("/images/a", headers={"If-None-Match": "*"})
        client.get("/images/a?token=secret")
        client.get("/images/missing")
        client.get("/images/%0Aevil%22%1b[31m%F0%9F%8E%A8%FF")
        client.patch("/images")
    assert server.exchange(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert server.exchange(b"GET /images/a HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    requests = [line for line in lines if line["event"] == "request" and line["path"] != "/healthz"]
    keys = {"event", "level", "timestamp", "method", "path", "status", "bytes", "ms", "cache", "client"}
    assert all(line.keys() == keys for line in requests)
    assert [(line["method"], line["path"], line["status"]) for line in requests] == [
        ("PUT", "/images/a", 201),
        ("GET", "/images/a", 304),
        ("GET", "/images/a", 200),
        ("GET", "/images/missing", 404),
        ("GET", '/images/\nevil"\x1b[31m🎨\ufffd', 400),
        ("PATCH", "/images", 405),
        ("GET", "/images/a", 400),
    ]
    assert requests[2]["bytes"] == len(picture())
    assert requests[2]["client"] == "127.0.0.1"
    assert requests[2]["cache"] == "fwd=uri-miss; stored"
    assert "secret" not in server.log.read_text()


def test_the_console_log_is_one_line_for_each_request_whatever_its_path(start_lightfast):
    server = start_lightfast(log="console")
    with server.client() as client:
        client.get("/images/a%0Afaked%1b[31m")
    assert server.stop() == 0
    (line,) = [line for line in server.log.read_text().splitlines() if "faked" in line]
    assert "status=400" in line
    assert "\x1b" not in line


def test_no_log_is_silent(start_lightfast, picture):
    server = start_lightfast(log="off")
    with server.client() as client:
        client.put("/images/a", content=picture())
        for path in ("/images/a", "/images/missing", "/nothing", "/images/.bad"):
            client.get(path)
    assert server.stop() == 0
    assert server.log.read_bytes() == b""


BROKEN = """
import sys
import uvicorn
from lightfast.server import create_app
from lightfast.settings import load_settings
from lightfast.web.access_log import json_log_config
app = create_app(load_settings(store="memory://", log="json"))
app.add_api_route("/broken", lambda: 1 / 0)
uvicorn.run(app, port=int(sys.argv[1]), http="httptools", access_log=False, log_config=json_log_config())
"""


def test_an_error_nobody_foresaw_is_a_problem_that_tells_nothing(start_script):
    server = start_script(BROKEN)
    with server.client() as client:
        answer = client.get("/broken")
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 500
        assert answer.headers["connection"] == "close"
        assert "division" not in answer.text
        assert client.get("/healthz").status_code == 200
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    (logged,) = [line for line in lines if line.get("path") == "/broken"]
    assert logged["status"] == 500
    assert any("ZeroDivisionError" in line.get("exception", "") for line in lines)


def test_an_upgrade_in_vain_that_comes_while_the_server_ends_leaves_the_body_a_body(start_lightfast, picture):
    server = start_lightfast(store="memory://", log="off")
    content = picture()

    def listens():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return True
        return False

    with socket.create_connection(("127.0.0.1", server.port), 20) as upload:
        upload.sendall(b"PUT /images/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Le")
        with server.client() as client:
            client.get("/healthz")  # the head's beginning has been read
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens())
        upload.sendall(b"ngth: %d\r\n\r\n" % len(content) + content)
        assert upload.recv(65536).startswith(b"HTTP/1.1 201 ")
