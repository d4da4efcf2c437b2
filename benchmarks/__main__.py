"""``python -m benchmarks [PART …]``: measure, write ``results/*.json``, render the tables and plots from them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import contestants, render
from benchmarks.plan import Plan, machine
from benchmarks.processes import CORES, LOAD_CORE

PARTS = {
    "mission": "the table of the mission: one picture of 1 MB",
    "throughput": "pictures that are in memory, against every peer",
    "cold": "the first request of a picture",
    "stampede": "1,000 clients for one cold picture",
    "hit_ratio": "SIEVE against other policies",
    "memory": "resident memory after ten turnovers",
    "coherence": "from a foreign write to the first fresh answer",
    "variants": "thumbnails, against IPX and Thumbor",
}
ROUNDS = 7
RESULTS = Path(__file__).parent / "results"
DRAFTS = Path(__file__).parent / "quick"

console = Console(stderr=True)


def main() -> None:
    arguments = parse()
    if sys.platform != "linux" or len(CORES) < 2:
        sys.exit("benchmarks: Linux and two cores are needed, one for the server and one for the load")
    plan = Plan(rounds=arguments.rounds, seconds=arguments.seconds, quick=arguments.quick)
    for program, package in contestants.PACKAGES.items():
        if contestants.find(program) is None:
            console.print(f"{program} is missing; what needs it is left out. As root: apt-get install {package}")
    directory = DRAFTS if arguments.quick else RESULTS
    directory.mkdir(exist_ok=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    failed = False
    for part in [] if arguments.render else arguments.parts or PARTS:
        try:
            measure(part, plan, directory)
        except Exception as error:  # noqa: BLE001
            # The other parts took long enough not to lose them.
            console.print(f"{part} could not be measured: {error}")
            failed = True
    render.write(directory)
    console.print(f"Tables and plots are in {os.path.relpath(render.home(directory))}")
    sys.exit(failed)


def measure(part: str, plan: Plan, directory: Path) -> None:
    module = import_module(f"benchmarks.{part}")
    columns = (TextColumn(f"[bold]{part}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    described = (TimeRemainingColumn(), TextColumn("{task.description}"))
    around = machine()
    with Progress(*columns, *described, console=console) as progress:
        task = progress.add_task("starting", total=module.steps(plan))
        begun = False

        def advance(coming: str) -> None:
            nonlocal begun
            progress.update(task, description=coming, advance=1 if begun else 0)
            begun = True

        found = module.run(plan, advance)
        progress.update(task, description="done", advance=1)
    text = json.dumps({"machine": around, **found}, indent=1)
    (directory / f"{part}.json").write_text(f"{text}\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parts = "; ".join(f"{name}: {what}" for name, what in PARTS.items())
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []], help=f"{parts}. None: all.")
    parser.add_argument(
        "--rounds", type=int, help=f"rounds in which the servers take turns ({ROUNDS} or more; throughput and variants)"
    )
    parser.add_argument("--seconds", type=int, help="seconds of each run of the load generator (2)")
    parser.add_argument("--quick", action="store_true", help="only see that all works; results go to quick/")
    parser.add_argument("--render", action="store_true", help="only render tables and plots from the results there are")
    arguments = parser.parse_args()
    if not arguments.quick and arguments.rounds is not None and arguments.rounds < ROUNDS:
        parser.error(f"--rounds: {ROUNDS} at least, for medians that mean something; --quick takes fewer")
    arguments.rounds = arguments.rounds or (2 if arguments.quick else ROUNDS)
    arguments.seconds = arguments.seconds or (1 if arguments.quick else 2)
    return arguments


if __name__ == "__main__":
    main()
