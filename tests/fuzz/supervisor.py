"""Keeps worker processes busy with images, and notices what they can't tell themselves: that they crashed or hang."""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import psutil
from tests.fuzz.mutations import Sample
from tests.fuzz.worker import KEPT

FOUND = Path(".fuzz/found")
"""Where images are kept that something was wrong with."""
DEADLINE = 10.0
"""Seconds for a stage, as the server has it by default."""
GRACE = 10.0
"""Seconds within which a stage that was told to stop has to end: an AVIF can't be interrupted."""
MEMORY = 512 * 1024 * 1024
"""Bytes by which one stage may raise the memory of its process: ``Limits.memory`` (320 MiB) for a picture that has to
be decoded as a whole, and what it takes to make another picture of that."""
_KILL = 4 * MEMORY
_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True, slots=True)
class Order:
    """An image, and what is to be done with it."""

    sample: Sample
    stages: tuple[str, ...]
    deadline: float = DEADLINE


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong. ``what``: ``crash``, ``hang``, ``memory`` or ``error``."""

    what: str
    name: str
    file: Path
    details: str


@dataclass(slots=True)
class Tally:
    """What came of all orders. Changed under ``lock`` alone."""

    images: int = 0
    stages: int = 0
    made: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    memory: tuple[int, str] = (0, "")
    """Most bytes, and of what."""
    kept: int = 0
    """Most bytes of the C heap that stayed in use before a stage: those of the libraries, and of what leaks."""
    slowest: tuple[float, str] = (0.0, "")
    """Most seconds of CPU."""
    latest: tuple[float, str] = (0.0, "")
    """Most seconds after the deadline."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> int:
        return sum(finding.what == what for finding in self.findings)


class Worker:
    """One process, started anew where it ended. For one thread."""

    def __init__(self, **environment: str) -> None:
        self._environment = os.environ | environment
        self._errors = TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = self._start()

    def close(self) -> None:
        self._end()
        self._errors.close()

    def run(self, order: Order) -> list[dict[str, Any]] | tuple[str, str]:
        """What the worker answers, or what was wrong with it and its details."""
        content = order.sample.content
        head = {"size": len(content), "stages": order.stages, "deadline": order.deadline}
        pipe = self._process.stdin
        assert pipe
        try:
            pipe.write(json.dumps(head).encode() + b"\n" + content)
            pipe.flush()
        except BrokenPipeError:
            return self._ended()
        return self._answer(time.monotonic() + len(order.stages) * (order.deadline + GRACE))

    def _answer(self, end: float) -> list[dict[str, Any]] | tuple[str, str]:
        pipe = self._process.stdout
        assert pipe
        while not select.select([pipe], [], [], 0.2)[0]:
            wrong = "hang" if time.monotonic() > end else "memory" if self._memory() > _KILL else ""
            if wrong:
                self._end()
                self._process = self._start()
                return wrong, "its process was killed"
        line = pipe.readline()
        answer: list[dict[str, Any]]
        if line.endswith(b"\n"):
            answer = json.loads(line)
            return answer
        return self._ended()

    def _memory(self) -> int:
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def _ended(self) -> tuple[str, str]:
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")[-4000:]
        self._end()
        self._process = self._start()
        return "crash", f"its process ended with {code}\n{said}"

    def _start(self) -> subprocess.Popen[bytes]:
        self._errors.seek(0)
        self._errors.truncate()
        pipe = subprocess.PIPE
        command = [sys.executable, "-X", "faulthandler", str(_WORKER)]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._errors, env=self._environment)

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()


def run(
    orders: Iterable[Order], *, workers: int, found: Path = FOUND, done: Callable[[], None] = lambda: None
) -> Tally:
    """Have all ``orders`` followed. ``done`` is called after each, in any thread, one at a time."""
    tally, source, lock = Tally(), iter(orders), threading.Lock()

    def work() -> None:
        worker = Worker()
        try:
            for order in _shared(source, lock):
                answer = worker.run(order)
                with tally.lock:
                    _add(tally, order, answer, found)
                    done()
        finally:
            worker.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def _shared(source: Iterator[Order], lock: threading.Lock) -> Iterator[Order]:
    while True:
        with lock:
            order = next(source, None)
        if order is None:
            return
        yield order


def _add(tally: Tally, order: Order, answer: list[dict[str, Any]] | tuple[str, str], found: Path) -> None:
    tally.images += 1
    if isinstance(answer, tuple):
        tally.findings.append(_keep(order, *answer, found))
        return
    for result in answer:
        name = f"{result['stage']} of {order.sample.name}"
        tally.stages += 1
        if result["outcome"] == "made":
            tally.made += 1
        else:
            tally.refusals[result["outcome"]] += 1
        tally.memory = max(tally.memory, (result["memory"], name))
        tally.kept = max(tally.kept, result["kept"])
        tally.slowest = max(tally.slowest, (result["cpu"], name))
        late = result["seconds"] - order.deadline
        tally.latest = max(tally.latest, (late, name))
        wrong = [("error", result["wrong"])] if result["wrong"] else []
        if late > GRACE:
            wrong.append(("hang", f"{name}: {result['seconds']:.1f} s"))
        if result["memory"] > MEMORY or result["kept"] > KEPT:
            kept = result["kept"] >> 20
            wrong.append(("memory", f"{name}: {result['memory'] >> 20} MiB, and {kept} in use before"))
        tally.findings += (_keep(order, what, f"{name}\n{details}", found) for what, details in wrong)


def _keep(order: Order, what: str, details: str, found: Path) -> Finding:
    """Write the image and a note beside it, both named by its hash."""
    found.mkdir(parents=True, exist_ok=True)
    file = found / hashlib.sha256(order.sample.content).hexdigest()[:16]
    file.with_suffix(".bin").write_bytes(order.sample.content)
    note = {"what": what, "name": order.sample.name, "stages": order.stages, "deadline": order.deadline}
    file.with_suffix(".json").write_text(json.dumps({**note, "details": details}, indent=1) + "\n")
    return Finding(what, order.sample.name, file.with_suffix(".bin"), details)
