"""``/metrics`` in the text format of Prometheus, added up over the workers.

Names and units by https://prometheus.io/docs/practices/naming. A worker's numbers are a flat list of samples; those of
several workers are added sample by sample, which is right for counters, for histograms, and for the gauges here
(bytes, entries, workers in a state).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import TypeAdapter, ValidationError

from lightfast.tally import Histogram

PUBLISH_INTERVAL = 1.0
"""Seconds. A scrape may be answered with numbers of the other workers that are this old."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number (or histogram) of one worker. ``labels`` in the order of their names."""

    name: str
    kind: str
    """``counter``, ``gauge`` or ``histogram``."""
    help: str
    labels: tuple[tuple[str, str], ...]
    values: tuple[float, ...]
    """One value; of a histogram the counts by bound, then the sum."""
    bounds: tuple[float, ...] = ()


_SAMPLES = TypeAdapter(list[Sample])


def counter(name: str, help: str, value: float, **labels: str) -> Sample:
    return Sample(name, "counter", help, tuple(labels.items()), (value,))


def gauge(name: str, help: str, value: float, **labels: str) -> Sample:
    return Sample(name, "gauge", help, tuple(labels.items()), (value,))


def histogram(name: str, help: str, histogram: Histogram, **labels: str) -> Sample:
    return Sample(
        name, "histogram", help, tuple(labels.items()), (*histogram.counts, histogram.sum), tuple(histogram.bounds)
    )


def render(samples: Iterable[Sample]) -> bytes:
    """The exposition of ``samples``; those of the same name and labels are added up."""
    registry = CollectorRegistry()
    registry.register(_Samples(_added_up(samples)))
    return generate_latest(registry)


class SharedSamples:
    """What the workers of one server know of each other's numbers: a file for each, in a directory of theirs.

    The counters of a worker that has ended stay; its gauges go with it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mine = directory / f"{os.getpid()}-{time.time_ns()}.json"  # process ids are given again

    @asynccontextmanager
    async def published(self, samples: Callable[[], Sequence[Sample]], *, alone: bool) -> AsyncIterator[None]:
        """Publish what ``samples`` gives every second, unless nobody is there to ask, and once more at the end."""

        async def publish_for_ever() -> None:
            while not alone:
                self.publish(samples())
                await asyncio.sleep(PUBLISH_INTERVAL)

        publishing = asyncio.create_task(publish_for_ever())
        try:
            yield
        finally:
            publishing.cancel()
            await asyncio.wait((publishing,))
            # A process that goes on as the supervisor of its successor is running, but serves no more.
            self.publish(_without_gauges(samples()))

    def publish(self, samples: Sequence[Sample]) -> None:
        """Replace this worker's file, atomically. Where that can't be done, as when the directory was tidied away, the
        others don't hear of it."""
        draft = self._mine.with_suffix(".new")
        with contextlib.suppress(OSError):
            draft.write_bytes(_SAMPLES.dump_json(list(samples)))
            draft.replace(self._mine)

    def of_others(self) -> list[Sample]:
        samples: list[Sample] = []
        for path in self._directory.glob("*.json"):
            if path == self._mine:
                continue
            with contextlib.suppress(OSError, ValidationError):
                theirs = _SAMPLES.validate_json(path.read_bytes())
                samples += theirs if _is_running(int(path.stem.partition("-")[0])) else _without_gauges(theirs)
        return samples


class _Samples(Collector):
    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for sample in self._samples:
            if sample.name not in families:
                families[sample.name] = _FAMILIES[sample.kind](
                    sample.name, sample.help, labels=[name for name, _ in sample.labels]
                )
            _add(families[sample.name], sample)
        return families.values()


_FAMILIES: dict[str, Callable[..., Metric]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _add(family: Metric, sample: Sample) -> None:
    labels = [value for _, value in sample.labels]
    if isinstance(family, HistogramMetricFamily):
        *counts, total = sample.values
        bounds = [*map(str, sample.bounds), "+Inf"]
        cumulative = [sum(counts[: at + 1]) for at in range(len(counts))]
        family.add_metric(labels, list(zip(bounds, cumulative, strict=True)), total)
    elif isinstance(family, CounterMetricFamily | GaugeMetricFamily):
        family.add_metric(labels, sample.values[0])


def _added_up(samples: Iterable[Sample]) -> list[Sample]:
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}
    for sample in samples:
        key = (sample.name, sample.labels)
        before = sums.get(key)
        values = sample.values if before is None else tuple(map(sum, zip(before.values, sample.values, strict=True)))
        sums[key] = Sample(sample.name, sample.kind, sample.help, sample.labels, values, sample.bounds)
    return list(sums.values())


def _without_gauges(samples: Iterable[Sample]) -> list[Sample]:
    return [one for one in samples if one.kind != "gauge"]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
