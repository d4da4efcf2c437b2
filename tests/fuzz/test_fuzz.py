"""Mutations of painted images, for a few seconds; `make fuzz` is the long form (``long_run.py``)."""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
from pathlib import Path

import pytest
from tests.fuzz import supervisor
from tests.fuzz.campaign import as_they_are, orders
from tests.fuzz.containers import cut, kind_of, seal
from tests.fuzz.corpora import painted
from tests.fuzz.mutations import MUTATIONS, Mutator, Sample
from tests.fuzz.supervisor import Order, run
from tests.fuzz.worker import in_use, kept

SAMPLES = painted()
SECONDS = 1.0
"""Of mutations."""
FEWEST = 20
"""Mutations, however long they take."""
SEED = 1


def test_mutations_are_made_into_pictures_or_refused_with_a_reason(tmp_path: Path) -> None:
    end = time.monotonic() + SECONDS
    tries = itertools.chain(
        orders(SAMPLES, SEED, FEWEST), itertools.takewhile(lambda _: time.monotonic() < end, _more())
    )
    tally = run(tries, workers=2, found=tmp_path)
    assert not tally.findings, "\n\n".join(f"{it.what}: {it.name}\n{it.details}" for it in tally.findings)
    assert tally.images >= FEWEST
    assert tally.made
    assert tally.refusals["InvalidImage"]


def _more() -> itertools.chain[Order]:
    return itertools.chain.from_iterable(orders(SAMPLES, SEED, 1000, start) for start in itertools.count(FEWEST, 1000))


def test_a_number_makes_the_same_mutation_whatever_was_made_before() -> None:
    one, other = Mutator(SAMPLES, 7), Mutator(SAMPLES[::-1], 7)
    assert one.make(5) == other.make(5)
    one.make(6)
    assert one.make(5) == other.make(5)
    assert one.make(5) != Mutator(SAMPLES, 8).make(5)


def test_every_mutation_has_its_share() -> None:
    names = " ".join(Mutator(SAMPLES, SEED).make(number).name for number in range(200))
    assert all(name in names for name in MUTATIONS)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_an_image_is_the_sum_of_its_parts(sample: Sample) -> None:
    kind = kind_of(sample.content)
    assert kind
    parts = cut(sample.content, kind)
    assert len(parts) > 1
    assert seal(parts, kind) == sample.content


def _instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deed: str) -> None:
    """A worker that does ``deed`` to each image."""
    program = tmp_path / "worker.py"
    program.write_text(f"import os, sys, time\nwhile line := sys.stdin.buffer.readline():\n    {deed}\n")
    monkeypatch.setattr(supervisor, "_WORKER", program)


@pytest.mark.parametrize(
    ("deed", "what", "details"),
    [
        ("os.abort()", "crash", "ended with -6"),
        ("sys.exit('a reason')", "crash", "a reason"),
        ("time.sleep(999)", "hang", "killed"),
        ("kept = bytearray(300 << 20); time.sleep(999)", "memory", "killed"),
    ],
)
def test_what_ends_a_worker_is_found_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deed: str, what: str, details: str
) -> None:
    _instead(monkeypatch, tmp_path, deed)
    monkeypatch.setattr(supervisor, "_KILL", 200 << 20)
    monkeypatch.setattr(supervisor, "GRACE", 60.0 if what == "memory" else 0.3)
    order = Order(Sample("it", b"hostile"), ("upload",), 0.1)
    tally = run([order, order], workers=1, found=tmp_path / "found")
    assert [finding.what for finding in tally.findings] == [what] * 2
    assert details in tally.findings[0].details
    assert tally.findings[0].file.read_bytes() == b"hostile"
    assert what in tally.findings[0].file.with_suffix(".json").read_text()


def test_what_a_stage_must_not_raise_or_cost_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supervisor, "MEMORY", -1)
    tally = run(as_they_are([Sample("text", b"no image")]), workers=1, found=tmp_path)
    assert {finding.what for finding in tally.findings} == {"memory"}
    assert tally.refusals == {"UnsupportedMediaType": 2}


def test_what_a_worker_keeps_between_two_stages_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supervisor, "KEPT", 1 << 20)
    tally = run(as_they_are([Sample("text", b"no image")]), workers=1, found=tmp_path)
    assert "in use before" in tally.findings[0].details


def test_what_a_thread_is_about_to_free_is_not_kept() -> None:
    most = in_use() + (16 << 20)
    held = [ctypes.create_string_buffer(64 << 20)]
    assert kept(most, seconds=0) > most
    threading.Timer(0.05, held.clear).start()
    assert kept(most, seconds=10) <= most
