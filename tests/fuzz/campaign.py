"""Which images are tried, and what is done with each: decided by a seed and a number alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.fuzz.mutations import Mutator, Sample
from tests.fuzz.supervisor import DEADLINE, Order
from tests.fuzz.worker import STAGES, UPLOAD

CHEAP_SECONDS = 0.05
CHEAP_MEMORY = 50 << 20
"""What a decompression bomb may cost: seconds of CPU, and bytes."""

_ALWAYS = (UPLOAD, "w64-webp", "preview")
_SOMETIMES = tuple(name for name in STAGES if name not in _ALWAYS)
_HURRY = 0.05
"""Seconds: a deadline that falls into the middle of whatever takes long."""


def orders(samples: Sequence[Sample], seed: int, count: int, start: int = 0) -> Iterator[Order]:
    """``count`` mutations of ``samples``. In their names: the seed and the number, to make one again."""
    mutator = Mutator(samples, seed)
    for number in range(start, start + count):
        mutant = mutator.make(number)
        yield _order(Sample(f"{seed}/{number} {mutant.name}", mutant.content), random.Random(f"{seed}:{number}"))


def as_they_are(samples: Sequence[Sample]) -> Iterator[Order]:
    for sample in samples:
        yield Order(sample, (*_ALWAYS, *_SOMETIMES))


def _order(sample: Sample, chance: random.Random) -> Order:
    deadline = _HURRY if chance.random() < 0.1 else DEADLINE
    return Order(sample, (*_ALWAYS, *chance.sample(_SOMETIMES, 2)), deadline)
