"""Load on one server: wrk on a core of its own, with the heads of real browsers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import LOAD_CORE, Process

SCRIPT = Path(__file__).with_name("wrk.lua")
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of wrk gave."""

    rate: float
    """Requests per second."""
    p50: float
    p99: float
    """Milliseconds."""
    cpu: float
    """Microseconds of the server's processor for each request."""


def press(server: Process, heads: Sequence[bytes], seconds: int, *, ids: bool = False) -> Figures:
    """Let wrk send ``heads`` in turn for so many seconds. Raises ``RuntimeError`` where anything fails."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "heads"
        file.write_bytes(b"".join(heads))
        for longer in (1, 3, 9):  # the slowest may not finish one request for each connection in the first
            before = server.cpu_seconds()
            result = _run(server.port, file, seconds * longer, ids)
            used = server.cpu_seconds() - before
            if result["failed"]:
                raise RuntimeError(f"{result['failed']} requests failed")
            if result["requests"] >= CONNECTIONS:
                return Figures(
                    rate=result["requests"] / result["seconds"],
                    p50=result["p50"],
                    p99=result["p99"],
                    cpu=used / result["requests"] * 1e6,
                )
    raise RuntimeError("the server answers no requests")


def _run(port: int, heads: Path, seconds: int, ids: bool) -> dict[str, float]:
    command = ["taskset", "--cpu-list", str(LOAD_CORE), "wrk", "--threads", "1", "--latency", "--timeout", "60s"]
    options = ["--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--script", str(SCRIPT)]
    target = [f"http://127.0.0.1:{port}/", "--", str(heads), *(["ids"] if ids else [])]
    finished = subprocess.run([*command, *options, *target], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return result
