"""The checker of histories finds every kind of fault, and none in histories that are right."""

from __future__ import annotations

import math

import pytest
from tests.faults.history import Fault, History, Read, Rules, Write

RULES = Rules(grace=0.05, detection=2.0, recovery=2.0, stale_bound=10)
FIRST = Write("id", "first", 1.0, 1.1)
SECOND = Write("id", "second", 2.0, 2.1)
AWAY = Fault("cut", 1.5, 6.0)
SILENT = Fault("blackhole", 1.5, 6.0, silent=True)


def got(etag: str, begun: float, *, connection: int = 1, age: int | None = None, digest: str | None = None) -> Read:
    return Read("id", connection, begun, begun + 0.01, 200, etag, digest or etag, age)


def missing(begun: float, connection: int = 1) -> Read:
    return Read("id", connection, begun, begun + 0.01, 404)


def refused(begun: float, status: int = 503) -> Read:
    return Read("id", 1, begun, begun + 0.01, status)


def rules_broken(*events: Write | Read | Fault) -> list[str]:
    history = History(
        [event for event in events if isinstance(event, Write)],
        [event for event in events if isinstance(event, Read)],
        [event for event in events if isinstance(event, Fault)],
    )
    return [violation.rule for violation in history.violations(RULES)]


@pytest.mark.parametrize(
    ("rule", "events"),
    [
        ("torn", (FIRST, got("first", 1.5, digest="other"))),
        ("unknown", (FIRST, got("never written", 1.5))),
        ("unknown", (FIRST, Write("other", "its", 1.0, 1.1), got("its", 1.5))),
        ("old", (FIRST, SECOND, got("first", 2.16))),
        ("old", (FIRST, SECOND, Write("id", "third", 2.0, None), got("first", 2.16))),
        ("old", (FIRST, missing(1.2))),
        ("old", (Write("id", None, 0.5, 0.6, 0), FIRST, missing(1.2))),
        ("old", (Write("id", "short", 0.1, 0.2, 0.3), FIRST, missing(1.2))),
        ("old", (FIRST, SECOND, SILENT, got("first", 4.2))),
        ("gone", (FIRST, Write("id", None, 2.0, 2.1, 0), got("first", 2.16))),
        ("gone", (Write("id", "short", 1.0, 1.1, 0.5), got("short", 1.7))),
        ("gone", (FIRST, Write("id", None, 2.0, 2.1, 0.5), got("first", 2.7))),
        ("backwards", (FIRST, SECOND, got("second", 2.11), got("first", 2.13))),
        ("backwards", (FIRST, Write("id", None, 2.0, 2.1, 0), missing(2.11), got("first", 2.13))),
        ("backwards", (FIRST, got("first", 1.11), missing(1.13))),
        ("backwards", (FIRST, Write("id", "perhaps", 2.0, None), got("perhaps", 3.0), got("first", 3.1))),
        ("backwards", (FIRST, Write("id", None, 2.0, None, 0), missing(3.1), got("first", 3.2))),
        ("stale", (FIRST, got("first", 1.5, age=0))),
        ("stale", (FIRST, AWAY, got("first", 8.1, age=7))),
        ("age", (FIRST, Fault("cut", 1.5, 20), got("first", 13, age=11))),
        ("old", (FIRST, SECOND, AWAY, got("first", 5.2, age=2))),
        ("refused", (FIRST, refused(1.5))),
        ("refused", (FIRST, AWAY, refused(2.0, 500))),
    ],
)
def test_a_fault_is_found(rule, events):
    assert rules_broken(*events) == [rule]


@pytest.mark.parametrize(
    "events",
    [
        (FIRST, SECOND, missing(0.5), got("first", 1.2), got("second", 2.2)),
        (FIRST, SECOND, got("first", 2.14)),
        (FIRST, SECOND, got("second", 2.11), got("first", 2.13, connection=2)),
        (FIRST, SECOND, got("second", 1.995)),
        (FIRST, Write("id", "meanwhile", 1.05, 1.2), got("first", 3.0), got("meanwhile", 3.1), got("first", 3.2)),
        (FIRST, Write("id", "perhaps", 2.0, None), got("first", 3.0), got("perhaps", 9.0)),
        (FIRST, Write("id", None, 2.0, None, 0), got("first", 3.0), missing(3.1)),
        (Write("id", "short", 1.0, 1.1, 0.5), got("short", 1.6), missing(1.61)),
        (Write("id", "short", 1.0, 1.1, 0.5), missing(1.5)),
        (FIRST, Write("id", None, 2.0, 2.1, 0.5), got("first", 2.6), missing(2.61)),
        (FIRST, Write("id", None, 1.2, 1.3, 0.9), SECOND, got("second", 2.2)),
        (FIRST, SECOND, AWAY, got("first", 4.9, age=2), refused(5.0), got("second", 5.1)),
        (FIRST, SECOND, AWAY, got("second", 4.0), got("first", 4.5, age=2)),
        (FIRST, SECOND, SILENT, got("first", 4.0)),
        (missing(1.0), missing(math.pi)),
    ],
)
def test_nothing_is_found_where_all_is_right(events):
    assert rules_broken(*events) == []
