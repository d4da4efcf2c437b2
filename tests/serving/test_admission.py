"""As many requests are under way as were allowed; what comes beyond is told to come again."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from tests.support import wait_until

Paint = Callable[..., bytes]
Start = Callable[..., Any]


def test_an_upload_that_is_stuck_takes_its_place_and_gives_it_back(start_lightfast: Start, picture: Paint) -> None:
    server = start_lightfast(store="memory://", log="off", max_requests="1")
    content, late = picture(), picture(seed=2)
    with server.client() as client, socket.create_connection(("127.0.0.1", server.port), 20) as upload:
        assert client.put("/images/a", content=content).status_code == 201
        wait_until(lambda: client.get("/images/a").headers["server-timing"] == "hot")
        head = f"PUT /images/late HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(late)}\r\n\r\n"
        upload.sendall(head.encode())
        assert upload.recv(100).startswith(b"HTTP/1.1 100 ")
        upload.sendall(late[:100])

        refused = {
            "read": client.get("/images/b"),
            "write": client.put("/images/b", content=content),
            "remove": client.delete("/images/a"),
            "list": client.get("/images"),
            "by the full path": client.get("/images/a", headers={"Range": "bytes=0-"}),
        }
        for what, answer in refused.items():
            assert answer.status_code == 503, what
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.json() == {
                "type": "about:blank",
                "title": "Service Unavailable",
                "status": 503,
                "detail": "The server has too many requests under way.",
            }
        for path in ("/healthz", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200
        for _ in range(3):
            hit = client.get("/images/a")
            assert (hit.status_code, hit.headers["server-timing"], hit.content) == (200, "hot", content)

        upload.sendall(late[100:])
        assert upload.recv(65536).startswith(b"HTTP/1.1 201 ")
        # The answer may be here before the place is free.
        wait_until(lambda: client.get("/images/late").status_code == 200)
        assert client.get("/images/late").content == late
        assert client.put("/images/b", content=content).status_code == 201


def test_a_client_that_vanishes_gives_its_place_back(start_lightfast: Start, picture: Paint) -> None:
    server = start_lightfast(store="memory://", log="off", max_requests="1")
    with server.client() as client:
        with socket.create_connection(("127.0.0.1", server.port), 20) as upload:
            upload.sendall(b"PUT /images/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9000\r\n\r\n")
            assert upload.recv(100).startswith(b"HTTP/1.1 100 ")
            assert client.get("/images").status_code == 503
        wait_until(lambda: client.get("/images").status_code == 200)
        assert client.put("/images/a", content=picture()).status_code == 201
