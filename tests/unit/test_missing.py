from __future__ import annotations

import pytest

from lightfast.cache.missing import MissingIds


@pytest.mark.parametrize(("now", "known"), [(100.0, True), (100.9, True), (101.0, False), (200.0, False)])
def test_an_id_is_missing_for_its_time(now: float, known: bool) -> None:
    missing = MissingIds(ttl=1)
    missing.add("a", 100.0)
    assert missing.contains("a", now) is known
    assert not missing.contains("b", now)


@pytest.mark.parametrize("ttl", [0.1, 0.7, 1.1])
def test_rounding_never_makes_an_id_known_too_late(ttl: float) -> None:
    missing = MissingIds(ttl)
    for step in range(1000):
        now = 1_790_000_000 + step * 0.37
        missing.add("a", now)
        assert missing.contains("a", now)


def test_a_clock_set_back_does_not_make_it_last_longer() -> None:
    missing = MissingIds(ttl=5)
    missing.add("a", 1000.0)
    assert not missing.contains("a", 10.0)
    missing.add("b", 1000.0)
    missing.add("c", 10.0)
    assert missing.contains("c", 11.0)
    assert len(missing) == 1


def test_an_id_can_be_discarded_and_all_cleared() -> None:
    missing = MissingIds(ttl=5)
    for id in "abc":
        missing.add(id, 0.0)
    missing.discard("a")
    missing.discard("never there")
    assert [missing.contains(id, 1.0) for id in "abc"] == [False, True, True]
    missing.clear()
    assert len(missing) == 0


def test_the_oldest_goes_first() -> None:
    missing = MissingIds(ttl=50, max_entries=3)
    for now, id in enumerate("abcad"):
        missing.add(id, float(now))
        assert len(missing) <= 3
    assert [missing.contains(id, 5.0) for id in "abcd"] == [True, False, True, True]


def test_the_expired_make_room() -> None:
    missing = MissingIds(ttl=2)
    for now in range(100):
        missing.add(f"id-{now}", float(now))
        assert len(missing) <= 2
    assert not missing.contains("id-99", 200.0)
    assert not missing.contains("id-98", 200.0)
    assert len(missing) == 0, "looking is enough to drop it"


@pytest.mark.parametrize("missing", [MissingIds(ttl=0), MissingIds(ttl=5, max_entries=0)])
def test_nothing_is_remembered_where_so_set(missing: MissingIds) -> None:
    missing.add("a", 1.0)
    assert not missing.contains("a", 1.0)
    assert len(missing) == 0


@pytest.mark.parametrize(("ttl", "max_entries"), [(-1.0, 1), (float("nan"), 1), (1.0, -1)])
def test_negative_limits_are_refused(ttl: float, max_entries: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        MissingIds(ttl, max_entries)
