"""Pictures that are in memory already: requests per second, latency and processor time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import contestants, headers
from benchmarks.client import Answer, Client
from benchmarks.contestants import Contestant
from benchmarks.load import CONNECTIONS, Figures, press
from benchmarks.pictures import picture
from benchmarks.plan import Advance, Plan, Result, spread
from benchmarks.processes import Process

PICTURES = {
    "picture_7k.webp": (7_000, ".webp"),
    "picture_46k.webp": (46_000, ".webp"),
    "picture_445k.png": (445_000, ".png"),
    "picture_1700k.png": (1_700_000, ".png"),
}
HOT = ("lightfast", "lightfast-in-app")
SETTLING = 10.0
"""Seconds that a server may take until it answers a picture from memory, on its hot path if it has one."""
FAST = (*HOT, "nginx", "varnish")


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    id: str
    revalidates: bool = False
    visitors: tuple[tuple[tuple[str, str], ...], ...] = (headers.CHROME,)
    ids: bool = False
    """Whether each request carries an X-Request-Id of its own."""
    only: tuple[str, ...] | None = None

    def includes(self, contestant: Contestant) -> bool:
        return (contestant.validates or not self.revalidates) and (self.only is None or contestant.name in self.only)


CASES = (
    Case("7 KB", "picture_7k.webp"),
    Case("46 KB", "picture_46k.webp"),
    Case("445 KB", "picture_445k.png"),
    Case("1.7 MB", "picture_1700k.png"),
    Case("304", "picture_46k.webp", revalidates=True),
    Case("7 KB, four header sets in turn", "picture_7k.webp", visitors=headers.VISITORS, only=FAST),
    Case("7 KB, X-Request-Id", "picture_7k.webp", ids=True, only=FAST),
)


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contestant that runs, with the ETag it gives each picture."""

    contestant: Contestant
    servers: Mapping[str, Process]
    etags: Mapping[str, str]

    def press(self, case: Case, seconds: int) -> Figures:
        etag = self.etags[case.id] if case.revalidates else None
        heads = [headers.request(case.id, visitor, etag=etag) for visitor in case.visitors]
        try:
            return press(self.servers[case.id], heads, seconds, ids=case.ids)
        except RuntimeError as error:
            raise RuntimeError(f"{self.contestant.name}, {case.name}: {error}") from error


def steps(plan: Plan) -> int:
    present = [one for one in contestants.ALL if contestants.missing(one.programs) is None]
    return plan.rounds * sum(case.includes(one) for case in CASES for one in present)


def run(plan: Plan, advance: Advance) -> Result:
    present = [one for one in contestants.ALL if contestants.missing(one.programs) is None]
    bodies = {id: picture(*wanted) for id, wanted in PICTURES.items()}
    figures: dict[tuple[str, str], list[Figures]] = {}
    with entered(present, bodies) as entrants:
        for round in range(plan.rounds):
            for case in CASES:
                included = [one for one in entrants if case.includes(one.contestant)]
                # Nobody is always the first, nor always behind the same other.
                turn = round % len(included)
                for entrant in included[turn:] + included[:turn]:
                    advance(f"{case.name}: {entrant.contestant.name}, round {round + 1}")
                    found = entrant.press(case, plan.seconds)
                    figures.setdefault((case.name, entrant.contestant.name), []).append(found)
    return {
        "what": "pictures that are in memory, full browser headers, one core for the server",
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "connections": CONNECTIONS,
        "missing": {one.name: line for one in contestants.ALL if (line := contestants.missing(one.programs))},
        "cases": {case.name: _summary(case, figures, bodies) for case in CASES},
    }


def _summary(case: Case, figures: Mapping[tuple[str, str], list[Figures]], bodies: Mapping[str, bytes]) -> Result:
    found = {name: rounds for (of, name), rounds in figures.items() if of == case.name}
    in_order = [one.name for one in contestants.ALL if one.name in found]
    return {
        "bytes": 0 if case.revalidates else len(bodies[case.id]),
        "contestants": {
            name: {
                figure: spread([asdict(one)[figure] for one in found[name]]) for figure in ("rate", "p50", "p99", "cpu")
            }
            for name in in_order
        },
    }


@contextmanager
def entered(present: list[Contestant], bodies: Mapping[str, bytes]) -> Iterator[list[Entrant]]:
    """All of ``present`` at work, each checked."""
    with ExitStack() as stack:
        entrants = []
        for contestant in present:
            directory = Path(stack.enter_context(TemporaryDirectory()))
            servers = stack.enter_context(contestant.start(bodies, directory))
            etags = {id: check(contestant, servers[id], id, content) for id, content in bodies.items()}
            entrants.append(Entrant(contestant, servers, etags))
        yield entrants


def check(contestant: Contestant, server: Process, id: str, content: bytes) -> str:
    """See that it sends the right bytes from memory and validates if it says so; its ETag. Raises ``RuntimeError``."""
    with Client(server.port) as client:
        whole = settled(contestant, client, headers.request(id))
        if whole.status != 200 or whole.body != content:
            raise RuntimeError(f"{contestant.name} answers {whole.status} or other bytes for {id}")
        etag = whole.headers.get("etag", "")
        if contestant.validates:
            again = settled(contestant, client, headers.request(id, etag=etag), headers.request(id))
            if again.status != 304:
                raise RuntimeError(f"{contestant.name} answers {again.status} to a revalidation: {again.headers}")
        return etag


def settled(contestant: Contestant, client: Client, request: bytes, whole: bytes | None = None) -> Answer:
    """The answer once the picture is where it will be answered from. Raises ``RuntimeError`` if it never is.

    ``whole`` asks for the bytes, where ``request`` may be answered without them and so would not bring them there.
    """
    deadline = time.monotonic() + SETTLING
    while time.monotonic() < deadline:
        answer = client.ask(request)
        if contestant.name in HOT:
            there = answer.is_hot
        elif contestant.name == "varnish":
            there = len(answer.headers.get("x-varnish", "").split()) == 2
        else:
            there = True
        if there:
            return answer
        if whole is not None:
            client.ask(whole)
    raise RuntimeError(f"{contestant.name} does not answer from memory: {answer.headers}")
