"""What Lightfast says of itself at ``/metrics``."""

from __future__ import annotations

import re

from benchmarks.client import Client


def total(port: int, name: str) -> float:
    """The value of a metric now. Raises ``RuntimeError`` where there is none."""
    with Client(port) as client:
        return added(bytes(client.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").body).decode(), name)


def added(text: str, name: str) -> float:
    """The value of a metric over all its labels."""
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    if not found:
        raise RuntimeError(f"the metrics do not have {name}")
    return sum(map(float, found))
