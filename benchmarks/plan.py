"""How much is measured, and what is made of the measurements."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.processes import CORES

Result = dict[str, Any]
"""What goes into a JSON file."""

Advance = Callable[[str], None]
"""Says what comes next, after another step is done."""

LIBRARIES = ("uvicorn", "uvloop", "httptools", "fastapi", "starlette", "redis", "orjson", "pybase64")


@dataclass(frozen=True, slots=True)
class Plan:
    """``quick`` shows that everything works, in a minute or two; its figures mean little."""

    rounds: int = 7
    seconds: int = 2
    """Of each run of the load generator."""
    quick: bool = False

    def times(self, count: int) -> int:
        """``count`` repetitions, or a few if it must be quick."""
        return max(3, count // 20) if self.quick else count


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and number of ``values``."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {"median": _short(middle), "q1": _short(low), "q3": _short(high), "count": len(values)}


def tail(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile, largest and number of ``values``."""
    ranked = sorted(values)
    last = ranked[min(len(ranked) - 1, round(len(ranked) * 0.99))]
    return {
        "p50": _short(statistics.median(ranked)),
        "p99": _short(last),
        "max": _short(ranked[-1]),
        "count": len(values),
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def machine() -> Result:
    """What it runs on, without names and paths."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": cpu,
        "cores": len(CORES),
        "memory_gib": round(memory / 2**20, 1),
        "virtual": any(" hypervisor" in line for line in _lines("/proc/cpuinfo") if line.startswith("flags")),
        "send_buffer_bytes": int("".join(_lines("/proc/sys/net/core/wmem_max")) or 0),
        "congestion_control": "".join(_lines("/proc/sys/net/ipv4/tcp_congestion_control")),
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "load_before": _short(os.getloadavg()[0]),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
