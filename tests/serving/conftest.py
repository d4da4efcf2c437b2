"""A real server process, and pictures to put into it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest
import pyvips
import uvicorn
from tests.support import etag_of, free_port

from lightfast.server import create_app
from lightfast.settings import load_settings
from lightfast.web.hot import HotProtocol

LIGHTFAST = Path(sys.executable).parent / "lightfast"


@dataclass
class Server:
    """A ``lightfast serve`` process."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: object) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=30, **options)

    def exchange(self, request: bytes) -> bytes:
        """Send raw bytes and return all that comes back until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def resident_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout=30)


StartServer = Callable[..., Server]


class ServerHere:
    """What ``lightfast serve`` runs, on a thread of this process: real sockets, and up in no time.

    For tests that need no process of their own to kill, and none that has a memory of its own.
    """

    def __init__(self, directory: Path, **settings: object) -> None:
        given = {"store": f"sqlite:///{directory}/images.db", "log": "off"} | settings
        app = create_app(load_settings(**given))
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=HotProtocol,
                ws="none",
                server_header=False,
                date_header=False,
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=20,
            )
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="lightfast-here")
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline
            time.sleep(0.005)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: object) -> httpx2.Client:
        # Without certificates, which take longer to read than most tests do.
        return httpx2.Client(base_url=self.url, timeout=60, verify=False, **options)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


def server_here(**settings: object) -> Callable[..., Iterator[ServerHere]]:
    """A fixture named ``server``: a ``ServerHere`` for one module, which ``client`` then talks to."""

    @pytest.fixture(scope="module")
    def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerHere]:
        server = ServerHere(tmp_path_factory.mktemp("here"), **settings)
        yield server
        server.stop()

    return server


def _start(directory: Path, **settings: str | bool) -> Server:
    port = free_port()
    given = {"store": f"sqlite:///{directory}/images.db", "log": "json"} | settings
    options = [word for name, value in given.items() for word in _option(name.replace("_", "-"), value)]
    return _launch(directory, [str(LIGHTFAST), "serve", "--port", str(port), *options], port)


def _option(name: str, value: str | bool) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", value]


def _run(directory: Path, code: str) -> Server:
    port = free_port()
    return _launch(directory, [sys.executable, "-c", code, str(port)], port)


def _launch(directory: Path, command: list[str], port: int) -> Server:
    log = directory / f"server-{port}.log"
    chosen = ("LIGHTFAST_", "MALLOC_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(chosen)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=directory, env=environment)
    server = Server(port, process, log)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx2.get(f"{server.url}/healthz")
        except httpx2.TransportError:
            time.sleep(0.02)
        else:
            return server
    server.stop(signal.SIGKILL)
    raise AssertionError(f"the server did not start: {log.read_text()}")


@pytest.fixture
def start_lightfast(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers for this test alone: ``start_lightfast(store="redis://…", memory="10MiB")``."""
    started: list[Server] = []

    def start(**settings: str) -> Server:
        started.append(_start(tmp_path, **settings))
        return started[-1]

    yield start
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.fixture
def start_here(tmp_path: Path) -> Iterator[Callable[..., ServerHere]]:
    """As ``start_lightfast``, each on a thread of this process. Give the settings with their types."""
    started: list[ServerHere] = []

    def start(**settings: object) -> ServerHere:
        started.append(ServerHere(tmp_path, **settings))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def start_script(tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """Starts servers of another make: Python code that listens on port ``sys.argv[1]``."""
    started: list[Server] = []

    def start(code: str) -> Server:
        started.append(_run(tmp_path, code))
        return started[-1]

    yield start
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on the embedded store, shared by tests that use ids of their own."""
    server = _start(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A shared server that accepts images of 1 MiB."""
    server = _start(tmp_path_factory.mktemp("small"), max_upload="1MiB")
    yield server
    assert server.stop() == 0


@pytest.fixture
def client(server: Server | ServerHere) -> Iterator[httpx2.Client]:
    with server.client() as client:
        yield client


def paint(width: int = 64, height: int = 48, seed: int = 1, suffix: str = ".png") -> bytes:
    """A picture, another one for each seed."""
    noise = pyvips.Image.gaussnoise(width, height, mean=128, sigma=40, seed=seed).cast("uchar")
    picture = noise.bandjoin([noise.rot180(), noise.fliphor()]).copy(interpretation="srgb")
    return bytes(picture.write_to_buffer(suffix))


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    return paint


@dataclass(frozen=True)
class Sample:
    """A picture that is stored, and what the server said of it."""

    id: str
    content: bytes
    etag: str
    path: str
    created: httpx2.Response


@pytest.fixture
def fresh_id() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def sample(client: httpx2.Client, fresh_id: str) -> Sample:
    """A PNG of 9 KB that this test alone uses."""
    content = paint()
    path = f"/images/{fresh_id}"
    created = client.put(path, content=content)
    assert created.status_code == 201
    return Sample(fresh_id, content, etag_of(content), path, created)
