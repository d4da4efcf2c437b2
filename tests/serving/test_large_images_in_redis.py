"""Large images come out of Redis whole, on the event loop that serves them, and leave their connection as it was."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import pyvips
from tests.support import wait_until

from lightfast.stores.redis_replies import MAX_KEPT

Start = Callable[..., Any]


def noise(side: int) -> bytes:
    image = pyvips.Image.gaussnoise(side, side, mean=128, sigma=60, seed=1).cast("uchar")
    return bytes(image.copy(interpretation="b-w").write_to_buffer(".png", compression=1))


@pytest.mark.parametrize("side", [300, 1800])
def test_they_are_read_again_and_again(
    start_here: Start, valkey_url: str, side: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_here(store=valkey_url, memory="64KiB", previews=False)
    content = noise(side)
    with server.client() as client, ThreadPoolExecutor(4) as threads:
        assert client.put("/images/a", content=content).status_code == 201
        answers = list(threads.map(lambda at: client.get(f"/images/a{'/info' if at % 2 else ''}"), range(40)))
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.content for answer in answers[::2]} == {content}
    assert "Fatal error" not in caplog.text


def test_their_connections_keep_nothing_of_them(start_here: Start, valkey_url: str) -> None:
    server = start_here(store=valkey_url, memory="64KiB", previews=False)
    content = noise(2400)
    assert len(content) > MAX_KEPT
    with server.client() as client, ThreadPoolExecutor(4) as threads:
        assert client.put("/images/a", content=content).status_code == 201

        def read() -> None:
            list(threads.map(lambda at: client.get("/images/a"), range(12)))

        read()
        tracemalloc.start()
        try:
            read()
            wait_until(lambda: tracemalloc.get_traced_memory()[0] < len(content) / 2)
            assert tracemalloc.get_traced_memory()[1] > len(content)
        finally:
            tracemalloc.stop()
