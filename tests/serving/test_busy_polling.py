"""The hot path says when it has answered: a loop that has much to do then polls instead of sleeping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.serving.conftest import paint
from tests.support import wait_until

from lightfast.web import busy_polling
from lightfast.web.answers import answers_of


def test_a_hit_may_begin_it_and_it_ends(start_here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy_polling, "PRESSED", -1)  # any load is much
    monkeypatch.setattr(busy_polling, "PATIENCE", 0.2)
    server = start_here()
    polling = answers_of(server._server.config).polling
    with server.client() as client:
        client.put("/images/a", content=paint(100, 100))

        def polls() -> bool:
            assert client.get("/images/a").status_code == 200
            return polling.is_polling

        wait_until(polls)
        wait_until(lambda: not polling.is_polling)
        assert client.get("/images/a").headers["server-timing"] == "hot"
