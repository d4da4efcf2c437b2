"""Workers: they share a port, are restarted when they die, and reload without a failed request."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Callable
from http.client import HTTPConnection, RemoteDisconnected
from typing import Any

import httpx2
import psutil
import pytest
from tests.support import wait_until

pytestmark = pytest.mark.own_core

Paint = Callable[..., bytes]
Start = Callable[..., Any]

PATIENCE = 30


def workers_of(server: Any) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(command_of(child))]


def command_of(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


class Load:
    """Clients that ask for one picture all the time, each on a connection that it keeps while the server does."""

    def __init__(self, server: Any, content: bytes, clients: int = 6) -> None:
        self.port, self.content = server.port, content
        self.answered = [0] * clients
        self.failures: list[str] = []
        self.renewed = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        while not self._stop.is_set():
            try:
                # Every other client takes the full path.
                connection.request("GET", "/images/a", headers={"Range": "bytes=0-"} if number % 2 else {})
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, RemoteDisconnected) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                return
            if answer.status not in (200, 206) or content != self.content:
                self.failures.append(f"{answer.status}, {len(content)} bytes")
            if answer.getheader("connection") == "close":
                self.renewed += 1  # http.client connects anew
            self.answered[number] += 1
        connection.close()

    def go_on(self, requests: int = 50) -> None:
        """Wait until each client has been answered so many times more."""
        goals = [answered + requests for answered in self.answered]
        wait_until(lambda: self.failures or all(now >= goal for now, goal in zip(self.answered, goals, strict=True)))
        assert self.failures == []


@pytest.fixture
def content(picture: Paint) -> bytes:
    return picture(200, 150)


def put(server: Any, content: bytes) -> None:
    with server.client() as client:
        assert client.put("/images/a?ttl=0", content=content).status_code in (200, 201)


def test_two_workers_share_the_port_and_the_start_says_what_they_may_hold(start_lightfast: Start) -> None:
    server = start_lightfast(workers="2", memory="30MiB")
    wait_until(lambda: len(workers_of(server)) == 2)
    assert "60 MiB" in server.log.read_text()
    assert "2 workers with 30 MiB each" in server.log.read_text()
    assert server.stop() == 0
    wait_until(lambda: not workers_of_pid(server.process.pid))


def workers_of_pid(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children()
    return []


def test_a_lone_server_says_what_it_may_hold(start_lightfast: Start) -> None:
    assert "up to 30 MiB" in start_lightfast(memory="30MiB").log.read_text()


def total_requests(server: Any) -> float:
    found = re.findall(
        r'^lightfast_requests_total\{status="200".*\} (\S+)', httpx2.get(f"{server.url}/metrics").text, re.M
    )
    return sum(map(float, found))


def test_a_killed_worker_is_replaced_and_the_numbers_never_fall(start_lightfast: Start, content: bytes) -> None:
    server = start_lightfast(workers="2", log="off")
    put(server, content)
    seen = [0.0]

    def ask(times: int) -> None:
        for _ in range(times):
            assert httpx2.get(f"{server.url}/images/a").content == content
        seen.append(total_requests(server))
        assert seen[-1] >= seen[-2]

    before = {worker.pid for worker in wait_until(lambda: len(workers_of(server)) == 2 and workers_of(server))}
    ask(20)
    assert wait_until(lambda: total_requests(server) == 20)  # what a worker counts, the others know within a second
    for worker in workers_of(server)[:1]:
        worker.kill()
    # The one that is left answers; a connection to the dead one may be in the queue that they share.
    now = wait_until(lambda: len(workers_of(server)) == 2 and {one.pid for one in workers_of(server)} != before)
    assert now
    for _ in range(5):
        ask(5)
    assert wait_until(lambda: total_requests(server) == 45)


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_fails_no_request(start_lightfast: Start, content: bytes, workers: int) -> None:
    server = start_lightfast(workers=str(workers), log="off")
    put(server, content)
    before = {server.process.pid} if workers == 1 else {worker.pid for worker in wait_until(lambda: workers_of(server))}
    with Load(server, content) as load:
        load.go_on()
        for _ in range(2):
            server.process.send_signal(signal.SIGHUP)
            before = wait_until(lambda old=before: load.failures or replacements(server, old, workers))
            load.go_on()
    assert load.failures == []
    assert load.renewed > 0
    assert server.stop() == 0


def replacements(server: Any, before: set[int], workers: int) -> set[int]:
    """The workers, once none of those before is left."""
    now = {worker.pid for worker in workers_of(server)}
    return now if len(now) == workers and not now & before else set()


def test_an_idle_connection_is_closed_cleanly_by_a_reload(start_lightfast: Start, content: bytes) -> None:
    server = start_lightfast(log="off")
    put(server, content)
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/images/a")
    assert connection.getresponse().read() == content
    server.process.send_signal(signal.SIGHUP)
    assert connection.sock.recv(1) == b""  # an end, no reset
    connection.close()
    put(server, content)
    assert server.stop() == 0


def test_what_only_this_process_holds_is_not_thrown_away_by_sighup(start_lightfast: Start, content: bytes) -> None:
    server = start_lightfast(store="memory://")
    put(server, content)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP" in server.log.read_text())
    assert httpx2.get(f"{server.url}/images/a").content == content
    assert server.stop() == 0
