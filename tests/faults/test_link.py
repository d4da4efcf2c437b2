"""What each state of the link to the store costs and promises, seen from outside."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import shutil
import socket
import subprocess
import sys
import threading
import time

import httpx2
import pytest
from tests.faults.recorder import another
from tests.support import etag_of, free_port, wait_until

from lightfast.stores.redis_feed import HEARTBEAT

HITS = 100_000
PIPELINED = 10_000
"""Hits that take the full path."""
ENTRIES = 10_000
BATCH = 100
PNG_END = b"IEND\xaeB`\x82"


def link_state(client):
    answer = client.get("/readyz")
    return answer.json()["link"] if answer.status_code == 200 else "store-away"


def pipeline(port, ids):
    """GET every id over one connection, many at once; all must be 200."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for start in range(0, len(ids), BATCH):
            some = ids[start : start + BATCH]
            connection.sendall(
                b"".join(b"GET /images/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % id.encode() for id in some)
            )
            got, whole, rest = 0, 0, b""
            while got < len(some):
                rest += connection.recv(1 << 20)
                while (end := rest.find(b"\r\n\r\n")) >= 0:
                    head = rest[:end].lower()
                    assert head.startswith(b"http/1.1 200"), head
                    whole = end + 4 + int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    if len(rest) < whole:
                        break
                    rest, got = rest[whole:], got + 1


def abreast(port, ids, hits):
    """GET the ids in turn, so many in all, each over one of ``BATCH`` connections that wait for each other."""
    requests = itertools.cycle([b"GET /images/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % id.encode() for id in ids])
    with contextlib.ExitStack() as stack:
        connect = functools.partial(socket.create_connection, ("127.0.0.1", port), timeout=60)
        connections = [stack.enter_context(connect()) for _ in range(BATCH)]
        for _ in range(hits // BATCH):
            for connection in connections:
                connection.sendall(next(requests))
            for connection in connections:
                answer = connection.recv(65536)
                while not answer.endswith(PNG_END):
                    answer += connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200"), answer


def grown(server, before):
    after = server.commands_processed()
    return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}


@pytest.fixture
def behind_proxy(start_lightfast, proxy):
    """A server whose store can be taken away."""

    def start(**settings):
        return start_lightfast(store=proxy.url, log="off", **settings)

    return start


def test_a_hit_costs_the_store_nothing(breakable, start_lightfast, small_picture, capsys):
    server = start_lightfast(store=breakable.url, log="off")
    with server.client() as client:
        ids = [str(number) for number in range(10)]
        for id in ids:
            assert client.put(f"/images/{id}", content=another(small_picture)).status_code == 201
        pipeline(server.port, ids)
        before, begun = breakable.commands_processed(), time.monotonic()
        pipeline(server.port, ids * (PIPELINED // len(ids)))
        abreast(server.port, ids, HITS - PIPELINED)
        seconds, asked = time.monotonic() - begun, grown(breakable, before)
    with capsys.disabled():
        sys.stdout.write(f"\n{HITS} hits in {seconds:.1f} s: store commands {asked}, all of them heartbeats\n")
    assert set(asked) <= {"ping"}
    assert asked.get("ping", 0) <= seconds / HEARTBEAT + 2


def test_a_new_link_asks_for_nothing_and_copies_are_verified_once_each(breakable, proxy, behind_proxy, small_picture):
    server = behind_proxy()
    ids = [f"image-{number}" for number in range(ENTRIES)]
    words = [("HSET", f"image:{id}", *hash_of(small_picture)) for id in ids]
    send_all(breakable, words)
    pipeline(server.port, ids)
    with server.client() as client:
        before = breakable.commands_processed()
        proxy.cut()
        wait_until(lambda: b"lightfast_link_losses_total 1.0" in client.get("/metrics").content)
        wait_until(lambda: link_state(client) == "linked")
        relinked = grown(breakable, before)
        assert not {"hmget", "hstrlen", "get", "type"} & set(relinked)

        before = breakable.commands_processed()
        readers = [threading.Thread(target=pipeline, args=(server.port, ids)) for _ in range(2)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        asked = grown(breakable, before)
        assert asked["hstrlen"] == ENTRIES  # one for the version of each, however many asked
        assert "get" not in asked  # and the bytes of none


def test_the_log_names_every_change_of_the_link(breakable, start_lightfast):
    server = start_lightfast(store=breakable.url)
    with server.client() as client:
        breakable.kill()
        wait_until(lambda: link_state(client) == "store-away")
        breakable.start()
        wait_until(lambda: link_state(client) == "linked")
    said = [line["event"] for line in map(json.loads, server.log.read_text().splitlines()) if "link:" in line["event"]]
    changes = [event.removeprefix("link: ").partition(" (")[0] for event in said]
    assert changes[:2] == ["linked -> unlinked", "unlinked -> store-away"]
    assert changes[-1].endswith("-> linked")


def hash_of(content):
    fields = {"content": content, "etag": etag_of(content), "size": len(content), "media_type": "image/png"}
    return [word for name, value in fields.items() for word in (name, value)]


def send_all(server, commands):
    """Many commands at once; none may fail."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        file = connection.makefile("rb")
        for start in range(0, len(commands), 500):
            some = commands[start : start + 500]
            for command in some:
                parts = [word if isinstance(word, bytes) else str(word).encode() for word in command]
                wire = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
                connection.sendall(b"*%d\r\n%b" % (len(parts), wire))
            for _ in some:
                assert not file.readline().startswith(b"-")


def test_nobody_waits_for_a_store_that_is_silent(proxy, behind_proxy, small_picture):
    server = behind_proxy()
    with server.client() as client:
        assert link_state(client) == "linked"
        took, problems = [], []

        def ask(number):
            begun = time.monotonic()
            answer = httpx2.get(f"{server.url}/images/cold-{number}", timeout=10)
            took.append(time.monotonic() - begun)
            problems.append((answer.status_code, answer.headers.get("retry-after"), answer.json()["status"]))

        proxy.blackhole()
        asking = []
        for number in range(15):
            asking.append(threading.Thread(target=ask, args=(number,)))
            asking[-1].start()
            time.sleep(0.1)  # they are spread over the time in which the silence is found
        for thread in asking:
            thread.join()
        assert set(problems) == {(503, "1", 503)}
        assert max(took) < 1.5
        assert max(took[-3:]) < 0.3
        begun = time.monotonic()
        assert client.put("/images/cold", content=small_picture).status_code == 503
        assert client.delete("/images/cold").status_code == 503
        assert client.get("/images").status_code == 503
        ready = client.get("/readyz")
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
        assert "store-away" in ready.json()["detail"]
        assert time.monotonic() - begun < 0.5


def test_a_stale_answer_says_so_and_only_for_so_long(breakable, proxy, behind_proxy, small_picture):
    server = behind_proxy(stale_if_error="3")
    content = another(small_picture)
    with server.client() as client:
        client.put("/images/warm", content=content)
        assert client.get("/images/warm?v=" + etag_of(content)).status_code == 200
        gone, away = time.monotonic(), None
        proxy.blackhole()
        while (answer := client.get("/images/warm?v=" + etag_of(content))).status_code == 200:
            since = time.monotonic() - gone
            if "age" in answer.headers:
                away = away or since
                assert answer.content == content
                assert answer.headers["cache-status"] == "lightfast; hit; detail=stale-store-away"
                assert answer.headers["cache-control"] == "no-cache"
                assert since - 2 <= int(answer.headers["age"]) <= since + 1
            assert since < 10
        assert away is not None
        assert away < 2.0
        assert 2.5 <= since < 4.5
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        unmodified = client.get("/images/warm", headers={"if-none-match": f'"{etag_of(content)}"'})
        assert unmodified.status_code == 503

        proxy.heal()
        wait_until(lambda: link_state(client) == "linked")
        before = breakable.commands_processed()
        answer = client.get("/images/warm")
        assert (answer.status_code, answer.headers["cache-status"]) == (200, "lightfast; hit")
        assert "age" not in answer.headers
        assert grown(breakable, before).keys() & {"hstrlen", "get"} == {"hstrlen"}


def test_acknowledged_writes_stay_and_others_happen_whole_or_not_at_all(breakable, proxy, behind_proxy, small_picture):
    server = behind_proxy()
    with server.client() as client:
        for turn in range(6):
            old, new = another(small_picture), another(small_picture)
            assert client.put(f"/images/{turn}", content=old).status_code == 201
            proxy.delay(0.0, 0.001 * turn)  # so that the links break at another command each time
            writer = threading.Thread(target=client.put, args=(f"/images/{turn}",), kwargs={"content": new})
            writer.start()
            time.sleep(0.002 * turn)
            proxy.refuse()
            writer.join()
            proxy.heal()
            wait_until(lambda: link_state(client) == "linked")
            answer = client.get(f"/images/{turn}")
            assert answer.status_code == 200
            assert answer.content in (old, new)
            assert answer.headers["etag"] == f'"{etag_of(answer.content)}"'


def test_a_full_store_takes_nothing_and_gives_everything(breakable, start_lightfast, small_picture):
    server = start_lightfast(store=breakable.url, log="off")
    with server.client() as client:
        assert client.put("/images/first", content=small_picture).status_code == 201
        breakable.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        breakable.command("CONFIG", "SET", "maxmemory", "1")
        full = client.put("/images/second", content=another(small_picture))
        assert_problem(full, 507, "no room")
        assert client.get("/images/first").content == small_picture
        assert client.get("/images/second").status_code == 404
        breakable.command("CONFIG", "SET", "maxmemory", "0")
        assert client.put("/images/second", content=another(small_picture)).status_code == 201


def test_a_replica_is_read_and_refuses_writes(breakable, start_breakable, start_lightfast, small_picture):
    breakable.command("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    replica = start_breakable("--replicaof", "127.0.0.1", str(breakable.port))
    wait_until(lambda: "master_link_status:up" in replica.command("INFO", "replication"))
    source = start_lightfast(store=breakable.url, log="off")
    server = start_lightfast(store=replica.url, log="off")
    with server.client() as client, source.client() as writer:
        writer.put("/images/one", content=small_picture)
        wait_until(lambda: client.get("/images/one").status_code == 200)
        assert_problem(client.put("/images/one", content=another(small_picture)), 503, "replica")
        newer = another(small_picture)
        writer.put("/images/one", content=newer)
        wait_until(lambda: client.get("/images/one").content == newer)


def test_without_the_right_to_follow_every_hit_is_verified(breakable, start_lightfast, small_picture):
    breakable.command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
    url = breakable.url.replace("redis://", "redis://limited:secret@")
    server = start_lightfast(store=url, log="off")
    with server.client() as client:
        assert link_state(client) == "unlinked"
        client.put("/images/one", content=small_picture)
        client.get("/images/one")
        before = breakable.commands_processed()
        for _ in range(5):
            assert client.get("/images/one").headers["cache-status"] == "lightfast; hit"
        asked = grown(breakable, before)
        assert asked["hstrlen"] == 5
        assert "get" not in asked


def test_a_full_disk(tmp_path, small_picture):
    port = free_port()
    space = tmp_path / "disk"
    space.mkdir()
    serve = f"mount -t tmpfs -o size=2m none {space} && exec {shutil.which('lightfast', path=sys.exec_prefix + '/bin')}"
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*unshare, f"mount -t tmpfs none {space}"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    options = f"serve --port {port} --store sqlite:///{space}/images.db --log off"
    process = subprocess.Popen([*unshare, f"{serve} {options}"])
    try:
        client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
        wait_until(lambda: answers(client))
        stored = {}
        for number in range(100):
            content = small_picture + bytes(100_000) + b"%d" % number
            answer = client.put(f"/images/{number}", content=content)
            if answer.status_code != 201:
                break
            stored[number] = content
        assert_problem(answer, 507, "no room")
        assert len(stored) > 3
        for number, content in stored.items():
            got = client.get(f"/images/{number}")
            assert got.content == content
        client.close()
    finally:
        process.kill()
        process.wait()


def answers(client):
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def assert_problem(answer, status, words):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
