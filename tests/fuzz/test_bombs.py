"""What is refused costs next to nothing, and what is within the limits no more than they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.fuzz.bombs import REFUSED, WITHIN
from tests.fuzz.campaign import CHEAP_MEMORY, CHEAP_SECONDS
from tests.fuzz.mutations import Sample
from tests.fuzz.supervisor import Order, Worker

_SLACK = 4
"""How many times as long it may take where other programs want the caches and cores, too. It is CPU time."""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One that has no place for temporary files."""
    worker = Worker(TMPDIR=str(tmp_path_factory.mktemp("worker") / "missing"))
    worker.run(Order(Sample("warm-up", b""), ("upload", "w64-webp")))
    yield worker
    worker.close()


def cost(worker: Worker, content: bytes, *stages: str) -> list[dict[str, Any]]:
    answer = worker.run(Order(Sample("a bomb", content), stages))
    assert isinstance(answer, list), answer
    assert not any(result["wrong"] for result in answer), answer
    return answer


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_costs_nearly_nothing(worker: Worker, name: str) -> None:
    results = cost(worker, REFUSED[name](), "upload", "w64-webp")
    assert results[-1]["outcome"] in ("InvalidImage", "UnsupportedMediaType")
    for result in results:
        assert result["cpu"] < CHEAP_SECONDS * _SLACK
        assert result["memory"] < CHEAP_MEMORY


@pytest.mark.parametrize("name", ["gif 50 MP", "gif 50 MP, 400 frames", "jpeg 50 MP, 3000 scans of runs"])
def test_what_is_small_and_large_at_once_is_not_decoded(worker: Worker, name: str) -> None:
    (result,) = cost(worker, WITHIN[name](), "w64-webp")
    assert "limit" in result["message"] or "parts" in result["message"]
    assert result["memory"] < CHEAP_MEMORY


@pytest.mark.parametrize(
    ("name", "decoded"), [("webp 250², 400 small frames", 250 * 250 * 400 * 4), ("gif 250², 400 frames", 0)]
)
def test_an_animation_is_transformed_frame_by_frame(worker: Worker, name: str, decoded: int) -> None:
    (result,) = cost(worker, WITHIN[name](), "w64-webp")
    assert result["outcome"] == "made"
    assert result["memory"] < decoded + CHEAP_MEMORY


def test_nothing_is_written_to_temporary_files(worker: Worker) -> None:
    (result,) = cost(worker, WITHIN["webp 380², 190 small frames"](), "w64-webp")
    assert result["outcome"] == "made"


def test_a_webp_that_is_not_made_smaller_while_it_is_decoded_has_a_limit_of_memory(worker: Worker) -> None:
    thumbnail, *whole = cost(worker, WITHIN["webp 50 MP, lossless"](), "w64-webp", "rect-jpg", "trim-webp")
    assert thumbnail["outcome"] == "made"
    assert all("needs about" in result["message"] for result in whole)


def test_what_is_decoded_to_find_its_border_is_not_kept_while_it_is_decoded_again(worker: Worker) -> None:
    thumbnail, trimmed = cost(worker, WITHIN["png 50 MP, interlaced"](), "w64-webp", "trim-webp")
    assert trimmed["outcome"] == "made"
    assert trimmed["memory"] < thumbnail["memory"] + CHEAP_MEMORY


@pytest.mark.parametrize("stage", ["crop-png", "fill-webp", "tilt-png", "turn-pjpg", "rect-jpg"])
def test_what_is_long_and_thin_is_not_made_huge_on_the_way(worker: Worker, stage: str) -> None:
    (result,) = cost(worker, WITHIN["png 1 × 65535"](), stage)
    assert result["outcome"] == "made"
    assert result["memory"] < CHEAP_MEMORY
