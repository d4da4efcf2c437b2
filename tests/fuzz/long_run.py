"""The long form, which `make fuzz` runs and `make test` does not: images of other projects as they are, thousands of
mutations of them, and what bombs cost.

``LIGHTFAST_FUZZ_COUNT`` mutations of seed ``LIGHTFAST_FUZZ_SEED``, from number ``LIGHTFAST_FUZZ_START`` on: to see one
again, ask for it alone.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from tests.fuzz.bombs import REFUSED, WITHIN, Bomb
from tests.fuzz.campaign import as_they_are, orders
from tests.fuzz.corpora import fetched, painted
from tests.fuzz.mutations import Sample
from tests.fuzz.supervisor import FOUND, MEMORY, Order, Tally, Worker, run

from lightfast.imaging.pool import cores

COUNT = int(os.environ.get("LIGHTFAST_FUZZ_COUNT", "20000"))
SEED = int(os.environ.get("LIGHTFAST_FUZZ_SEED", "1"))
START = int(os.environ.get("LIGHTFAST_FUZZ_START", "0"))

CONSOLE = Console(width=120, soft_wrap=True)
_KINDS = ("crash", "hang", "memory", "error")


def test_thousands_of_mutations() -> None:
    try:
        samples = [*painted(), *fetched()]
    except RuntimeError as error:
        pytest.fail(f"make fuzz: {error}", pytrace=False)
    whole = samples if START == 0 else []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=CONSOLE,
    ) as progress:
        bar = progress.add_task(f"seed {SEED}", total=len(whole) + COUNT)
        tries = itertools.chain(as_they_are(whole), orders(samples, SEED, COUNT, START))
        tally = run(tries, workers=cores(), done=lambda: progress.advance(bar))
    _tell(tally, len(whole))
    assert not tally.findings


def test_what_bombs_cost() -> None:
    worker = Worker()
    try:
        worker.run(Order(Sample("warm-up", b""), ("upload", "w64-webp")))
        refused = _costs(worker, REFUSED, "Bombs that are refused: at most 50 ms and 50 MiB")
        within = _costs(worker, WITHIN, "Within the limits: bounded by these")
    finally:
        worker.close()
    CONSOLE.print(refused, within)


def _tell(tally: Tally, whole: int) -> None:
    refusals = ", ".join(f"{name} {count}" for name, count in tally.refusals.most_common())
    mib, peak = tally.memory[0] >> 20, tally.memory[1]
    CONSOLE.print(
        f"{tally.images} images ({whole} as they are, {tally.images - whole} mutations of seed {SEED}), "
        f"{tally.stages} stages: {tally.made} made; {refusals}\n"
        + ", ".join(f"{_plural(kind)} {tally.count(kind)}" for kind in _KINDS)
        + f"\nmost memory  {mib} MiB of {MEMORY >> 20}: {peak}"
        f"\nmost kept    {tally.kept >> 20} MiB of the C heap between two stages"
        f"\nmost CPU     {tally.slowest[0]:.2f} s: {tally.slowest[1]}"
        f"\nlatest end   {tally.latest[0]:.2f} s after its deadline: {tally.latest[1]}",
        highlight=False,
        markup=False,
    )
    for finding in tally.findings:
        CONSOLE.print(f"{finding.what}: {finding.name}\n{finding.details}\nkept as {finding.file}", markup=False)
    if tally.findings:
        CONSOLE.print(f"{len(tally.findings)} findings in {FOUND}", markup=False)


def _plural(kind: str) -> str:
    return {"crash": "crashes", "hang": "hangs", "memory": "over the memory limit", "error": "other errors"}[kind]


def _costs(worker: Worker, bombs: Mapping[str, Bomb], title: str) -> Table:
    table = Table("", "bytes", "upload, ms", "thumbnail", "ms", "MiB", title=title)
    for name, bomb in bombs.items():
        content = bomb()
        answer = worker.run(Order(Sample(name, content), ("upload", "w64-webp")))
        assert isinstance(answer, list), f"{name}: {answer}"
        upload, thumbnail = answer
        assert not any(result["wrong"] for result in answer), f"{name}: {answer}"
        assert thumbnail["memory"] < MEMORY, name
        numbers = (f"{upload['cpu'] * 1000:.0f}", thumbnail["outcome"], f"{thumbnail['cpu'] * 1000:.0f}")
        table.add_row(name, str(len(content)), *numbers, str(thumbnail["memory"] >> 20))
    return table
