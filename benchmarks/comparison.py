"""Thumbnails side by side: each server makes the same of the same, at a quality that looks the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import processes, resizers
from benchmarks.bursts import AT_ONCE, Figures, burst, fetch, settle
from benchmarks.plan import Advance, Plan, Result, spread
from benchmarks.processes import Process
from benchmarks.resizers import Resizer
from benchmarks.sources import PHOTO, PNG, WIDTH, copies, decoding, likeness, source

COPIES = {PNG: 48, PHOTO: 32}
QUALITY = 80
"""Lightfast's for WebP, if none is asked for."""
ALIKE = 0.005
"""By how much the SSIM of two thumbnails may differ."""


@dataclass(frozen=True, slots=True)
class Entrant:
    resizer: Resizer
    server: Process
    directory: Path

    def publish(self, case: str, count: int, edition: int = 0) -> list[str]:
        """Have it hold copies of a source, and rest; their ids."""
        pictures = copies(case, count, edition)
        self.resizer.publish(self.server, self.directory, pictures)
        settle(self.server)
        return list(pictures)


@dataclass(frozen=True, slots=True)
class Match:
    """What a server is asked for, and what it then gives."""

    quality: int
    ssim: float
    bytes: int


def steps(plan: Plan) -> int:
    return len(COPIES) * (1 + plan.rounds)


def compare(plan: Plan, advance: Advance) -> Result:
    present = [one for one in resizers.ALL if one.missing is None]
    cases: dict[str, Result] = {}
    with entered(present) as entrants:
        for case, count in COPIES.items():
            advance(f"{case}: looking for qualities that look the same")
            matches = matched(entrants, case)
            figures: dict[str, list[Figures]] = {one.resizer.name: [] for one in entrants}
            for round in range(plan.rounds):
                advance(f"{case}, round {round + 1}")
                turn = round % len(entrants)
                for entrant in entrants[turn:] + entrants[:turn]:
                    name = entrant.resizer.name
                    # New bytes each time: whatever was kept of the last round is of no use.
                    ids = entrant.publish(case, max(AT_ONCE, count // 4) if plan.quick else count, round + 1)
                    asked = [entrant.resizer.request(id, matches[name].quality) for id in ids]
                    figures[name].append(burst(entrant.server, asked))
            cases[case] = {
                "bytes": len(source(case)),
                "decoding": decoding(case),
                "contestants": summary(matches, figures),
            }
    return {
        "width": WIDTH,
        "at_once": AT_ONCE,
        "rounds": plan.rounds,
        "alike": ALIKE,
        "missing": {one.name: one.missing for one in resizers.ALL if one.missing},
        "versions": {one.name: resizers.versions(one) for one in present},
        "cases": cases,
    }


def summary(matches: Mapping[str, Match], figures: Mapping[str, list[Figures]]) -> Result:
    return {
        name: asdict(match)
        | {kind: spread([asdict(one)[kind] for one in figures[name]]) for kind in ("rate", "p50", "cpu")}
        for name, match in matches.items()
    }


def matched(entrants: list[Entrant], case: str) -> dict[str, Match]:
    """The quality of each, by the SSIM of ours. Raises ``RuntimeError`` where none looks the same."""
    found: dict[str, Match] = {}
    for entrant in entrants:
        (id,) = entrant.publish(case, 1)

        def made(quality: int, entrant: Entrant = entrant, id: str = id) -> Match:
            thumbnail = fetch(entrant.server.port, entrant.resizer.request(id, quality))
            return Match(quality, likeness(case, thumbnail), len(thumbnail))

        ours = found.get(resizers.ALL[0].name)
        match = made(QUALITY) if ours is None else nearest(made, ours.ssim)
        if ours is not None and abs(match.ssim - ours.ssim) > ALIKE:
            raise RuntimeError(f"no quality of {entrant.resizer.name} has an SSIM of {ours.ssim:.4f}: {match}")
        found[entrant.resizer.name] = match
    return found


def nearest(made: Callable[[int], Match], wanted: float) -> Match:
    """The match whose SSIM is nearest to ``wanted``, if SSIM grows with the quality, as it nearly does."""
    low, high = 1, 99  # what 100 means differs
    tried: list[Match] = []
    while low <= high:
        middle = (low + high) // 2
        tried.append(made(middle))
        if tried[-1].ssim < wanted:
            low = middle + 1
        else:
            high = middle - 1
    return min(tried, key=lambda one: abs(one.ssim - wanted))


@contextmanager
def entered(present: list[Resizer]) -> Iterator[list[Entrant]]:
    with ExitStack() as stack:
        entrants = []
        for resizer in present:
            directory = stack.enter_context(processes.directory()) / "pictures"
            directory.mkdir()
            entrants.append(Entrant(resizer, stack.enter_context(resizer.start(directory)), directory))
        yield entrants
