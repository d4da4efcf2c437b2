"""What the hot path keeps ready: no client decides how much that is."""

from __future__ import annotations

import math

from lightfast.cache.entry import Entry
from lightfast.cache.memory import MemoryCache
from lightfast.cache.placeholders import Unchanging
from lightfast.model import Meta
from lightfast.serving import Heads
from lightfast.tally import Reads
from lightfast.web.answers import MAX_DIFFERENT_CHOICES, MAX_LENGTH, HotAnswers, Place
from lightfast.web.plain import Choice
from lightfast.web.upkeep import ConnectionLimits

PLACE = Place("a", MemoryCache(2**20), Unchanging(), Reads())


def kept(answers: HotAnswers, target: bytes, choice: Choice | None) -> bool:
    entry = Entry(Meta("a", "e" * 32, "image/webp", 1, 1, 1, None, False, None), b"x", 0, 0.0)
    answers.keep(target, PLACE, Heads(entry, math.inf, [], []), [], False, choice)
    place = answers.places.get(target)
    return place is not None and (choice is None or choice in (place.choices or {}))


def test_what_clients_write_is_kept_up_to_a_length() -> None:
    answers = HotAnswers(ConnectionLimits(1))
    assert kept(answers, b"/images/a", None)
    assert kept(answers, b"/images/a?w=16", ((b"accept", b"image/webp"),))
    assert not kept(answers, b"/images/a?x=" + b"x" * MAX_LENGTH, None)
    assert not kept(answers, b"/images/a?w=32", ((b"accept", b"a" * 600), (b"accept", b"a" * 600)))


def test_equal_choices_are_kept_once_and_different_ones_up_to_a_number() -> None:
    answers = HotAnswers(ConnectionLimits(1))
    for number in range(3 * MAX_DIFFERENT_CHOICES):
        # Ten of them for each target.
        assert kept(answers, b"/images/a?auto=format&n=%d" % (number // 10), ((b"accept", b"x/%d" % number),))
        held = {id(choice) for place in answers.places.values() for choice in place.choices or {}}
        assert len(held) <= MAX_DIFFERENT_CHOICES
    for target in (b"/1", b"/2"):
        assert kept(answers, target, ((b"accept", b"".join([b"image/", b"webp"])),))
    one, other = (next(iter(answers.places[target].choices or {})) for target in (b"/1", b"/2"))
    assert one is other
