"""What the pages for users say in tables is what the code takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightfast.settings import Settings
from lightfast.spec import PARAMETERS

ROOT = Path(__file__).parents[2]
WORDS = {"fit", "crop", "flip", "trim", "fm", "lossless", "auto", "ar"}
"""Parameters whose values are written out."""
RANGE = re.compile(r"(?<![:\d.])(-?[\d.]+) to (-?[\d.]+)(?![:\d])")


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """The cells of the first table below a heading, without its head."""
    table = (ROOT / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n|")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def parameters() -> Iterator[tuple[str, str]]:
    """Each parameter with what its values may be."""
    for names, values, *_ in rows("docs/variants.md", "Parameters"):
        yield from ((name, values) for name in re.findall(r"`([^`]+)`", names))


def takes(name: str, text: str) -> bool:
    try:
        PARAMETERS[name].read(text)
    except ValueError:
        return False
    return True


def test_every_parameter_is_described_once() -> None:
    names = [name for name, _ in parameters()]
    assert sorted(names) == sorted([*PARAMETERS, "preset"])


@pytest.mark.parametrize(("name", "values"), [it for it in parameters() if RANGE.search(it[1])])
def test_ranges_are_those_that_are_taken(name: str, values: str) -> None:
    found = RANGE.search(values)
    assert found is not None
    low, high = found.groups()
    assert takes(name, low)
    assert takes(name, high)
    assert not takes(name, str(float(low) - 1) if "-" in low else f"-{low}1")
    assert not takes(name, str(int(float(high)) + 1))


@pytest.mark.parametrize(("name", "values"), [it for it in parameters() if it[0] in WORDS])
def test_words_are_those_that_are_taken(name: str, values: str) -> None:
    words = re.findall(r"`([^`]+)`", values)
    assert words
    assert all(takes(name, word) for word in words)
    if name in ("fit", "fm"):
        assert PARAMETERS[name].allowed == "one of " + ", ".join(words)


def test_every_setting_is_described_once() -> None:
    names = [
        name for first, *_ in rows("README.md", "Settings") for name in re.findall(r"`LIGHTFAST_([A-Z_]+)`", first)
    ]
    assert sorted(names) == sorted(name.upper() for name in Settings.model_fields)
