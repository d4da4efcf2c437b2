"""Resident memory after the cache has turned over ten times with pictures of mixed sizes.

A cache may keep large contents in memory files (memfd). Such pages are memory of the process, but count in its resident
set only where they are mapped and touched. So what is compared with the accounted bytes is the anonymous and
file-backed resident set plus every byte that its memory files hold.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from benchmarks import contestants, processes
from benchmarks.client import Client, ask_together
from benchmarks.headers import VISITORS, request
from benchmarks.pictures import picture
from benchmarks.plan import Advance, Plan, Result

SMALLEST, LARGEST = 7_000, 4_000_000
SHAPES = 48
"""Different sizes, evenly spread on a logarithmic scale."""
POOL = 2.5
"""How much larger than the cache all pictures together are."""
TURNOVERS = 10
CONNECTIONS = 8
OVERWRITES = 0.02
"""Share of the rounds in which a picture is replaced by one of another size."""
BOUNDS = ("50MiB", "512MiB")
STORES = ("sqlite", "valkey")

SETTLING = 2.5
"""Seconds in which the server gives back what it does not need. The peak is taken before."""


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that a process holds."""

    resident: int
    """VmRSS, as tools show it."""
    anonymous: int
    of_files: int
    shared: int
    """Touched pages of mapped memory files, a part of ``resident``."""
    memory_files: int

    @property
    def honest(self) -> int:
        return self.anonymous + self.of_files + max(self.memory_files, self.shared)


def cases(plan: Plan) -> list[tuple[str, str]]:
    return [(store, bound) for bound in (BOUNDS[:1] if plan.quick else BOUNDS) for store in STORES]


def turnovers(plan: Plan) -> int:
    return 2 if plan.quick else TURNOVERS


def steps(plan: Plan) -> int:
    return len(cases(plan)) * (1 + turnovers(plan))


def run(plan: Plan, advance: Advance) -> Result:
    shapes = [picture(round(SMALLEST * (LARGEST / SMALLEST) ** (at / (SHAPES - 1)))) for at in range(SHAPES)]
    return {
        "what": "bytes held after turnovers of the memory cache, sizes log-uniform from 7 KB to 4 MB",
        "turnovers": turnovers(plan),
        "cases": [turn_over(store, bound, shapes, turnovers(plan), advance) for store, bound in cases(plan)],
    }


def turn_over(store: str, bound: str, shapes: Sequence[bytes], turns: int, advance: Advance) -> Result:
    limit = int(bound.removesuffix("MiB")) << 20
    chance = Random(1)
    with serving(store, bound) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port, 2 * LARGEST)) for _ in range(CONNECTIONS)]
        idle = idle_after_one(server, clients[0], shapes[-1])
        advance(f"{store}, {bound}: filling the store")
        count = math.ceil(POOL * limit / (sum(map(len, shapes)) / len(shapes)))
        ids = [f"picture{number}.png" for number in range(count)]
        contestants.upload(server.port, {id: chance.choice(shapes) for id in ids})
        loaded, peak = 0, 0
        for turn in range(1, turns + 1):
            advance(f"{store}, {bound}: turnover {turn}")
            while loaded < turn * limit:
                loaded += look(clients, chance.choices(ids, k=CONNECTIONS), chance)
                if chance.random() < OVERWRITES:
                    contestants.upload(server.port, {chance.choice(ids): chance.choice(shapes)})
            peak = max(peak, held(server.pid).honest)
        time.sleep(SETTLING)
        after, accounted = held(server.pid), accounted_bytes(clients[0])
    return {
        "store": store,
        "bound_bytes": limit,
        "pictures": count,
        "accounted_bytes": accounted,
        "idle": asdict(idle) | {"honest": idle.honest},
        "after": asdict(after) | {"honest": after.honest},
        "peak_honest": peak,
        "ratio": round((after.honest - idle.honest) / accounted, 4),
        "ratio_of_vmrss": round((after.resident - idle.resident) / accounted, 4),
    }


def idle_after_one(server: processes.Process, client: Client, content: bytes) -> Held:
    """What the process holds when it has stored one picture, made its preview, served it and forgotten it: libraries
    are loaded and buffers are there from then on, however many pictures follow."""
    contestants.upload(server.port, {"first.png": content})
    for _ in range(3):
        client.ask(request("first.png", VISITORS[0]))
    client.ask(b"DELETE /images/first.png HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(SETTLING)
    return held(server.pid)


def look(clients: Sequence[Client], ids: Sequence[str], chance: Random) -> int:
    """Ask for several pictures at once; the bytes that came into the cache by it."""
    answers = ask_together(clients, [request(id, chance.choice(VISITORS)) for id in ids])
    stored = 0
    for answer in answers:
        if answer.status != 200:
            raise RuntimeError(f"an answer is {answer.status}")
        stored += len(answer.body) if "; stored" in answer.headers["cache-status"] else 0
    return stored


@contextmanager
def serving(store: str, bound: str) -> Iterator[processes.Process]:
    with ExitStack() as stack:
        if store == "valkey":
            url = f"redis://127.0.0.1:{stack.enter_context(processes.valkey())}/0"
        else:
            url = f"sqlite:///{stack.enter_context(processes.directory())}/images.db"
        yield stack.enter_context(processes.serve(url, "--memory", bound))


def held(pid: int) -> Held:
    text = Path(f"/proc/{pid}/status").read_text()
    sizes = {name: int(kib) << 10 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    files: dict[int, int] = {}  # by inode: a file may have several descriptors
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(descriptor.readlink()).startswith("/memfd:"):
                status = descriptor.stat()
                files[status.st_ino] = status.st_blocks * 512
        except FileNotFoundError:  # closed meanwhile
            continue
    return Held(sizes["VmRSS"], sizes["RssAnon"], sizes["RssFile"], sizes["RssShmem"], sum(files.values()))


def accounted_bytes(client: Client) -> int:
    answer = client.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    found = re.search(r"^lightfast_memory_bytes (\S+)$", bytes(answer.body).decode(), re.MULTILINE)
    if found is None:
        raise RuntimeError("the metrics do not say what the cache holds")
    return int(float(found[1]))
