"""The sizes that the benchmark of the hit ratio draws."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.traces import SHAPES, SIZES, sizes, trace


def test_sizes_have_the_quantiles_of_the_table() -> None:
    drawn = sizes(np.random.default_rng(1), 200_000)
    assert np.quantile(drawn, list(SIZES)) == pytest.approx(list(SIZES.values()), rel=0.05)
    assert drawn.min() == min(SIZES.values())
    assert drawn.max() <= max(SIZES.values())


def test_between_two_quantiles_logarithms_are_linear() -> None:
    drawn = sizes(np.random.default_rng(1), 200_000)
    assert np.quantile(drawn, 0.625) == pytest.approx((SIZES[0.50] * SIZES[0.75]) ** 0.5, rel=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_trace_is_its_seed_s(shape: str) -> None:
    assert trace(shape, 1_000, seed=7) == trace(shape, 1_000, seed=7)
    assert trace(shape, 1_000, seed=7).sizes != trace(shape, 1_000, seed=8).sizes
