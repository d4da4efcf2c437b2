"""Bodies on their way: counted while they come, refused early, slow, broken off, and too many at once."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import time

import pytest

LIMIT = 1024 * 1024
HEAD = "PUT /images/{id} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n"


def padded(content, size):
    """A PNG may be followed by anything."""
    return content + b"\0" * (size - len(content))


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def answer_to(connection):
    """Status and body of the next answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", 0)):
        body += connection.recv(65536)
    return int(head.split()[1]), body


def test_exactly_the_limit_is_accepted_and_one_byte_more_is_not(small, fresh_id, picture):
    with small.client() as client:
        for extra, expected in ((0, 201), (1, 413)):
            content = padded(picture(), LIMIT + extra)
            path = f"/images/{fresh_id}-{extra}"
            assert client.put(path, content=content).status_code == expected
            assert client.put(f"{path}-chunked", content=iter([content])).status_code == expected
            assert client.post("/images", content=content).status_code == expected
            assert client.post("/images", files={"file": ("a.png", content)}).status_code == expected
            encoded = base64.b64encode(content).decode()
            assert client.post("/images", json={"base64_data": encoded}).status_code == expected
        assert client.get(path).status_code == client.get(f"{path}-chunked").status_code == 404


@pytest.mark.parametrize("expect", ["", "\r\nExpect: 100-continue"])
def test_too_much_is_refused_before_it_is_sent(small, expect):
    for method, path in (("PUT", "/images/a"), ("POST", "/images")):
        with connect(small) as connection:
            framing = f"Content-Length: {30 * LIMIT}{expect}"
            connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
            status, body = answer_to(connection)
            assert status == 413
            problem = json.loads(body)
            assert str(LIMIT) in problem["detail"]
            assert problem["title"] == "Content Too Large"


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=b", "application/json"])
def test_a_chunked_body_is_refused_where_it_passes_the_limit(small, kind):
    with connect(small) as connection:
        head = f"POST /images HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        connection.settimeout(0.001)
        sent, answer = 0, b""
        # It never ends by itself: the answer comes while it is being sent.
        while not answer and sent < 30 * LIMIT:
            try:
                connection.sendall(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")
                sent += 0x10000
                answer = connection.recv(65536)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 413")
        assert sent <= 8 * LIMIT


def test_a_client_that_sends_everything_before_it_reads_gets_its_answer(small, fresh_id, picture):
    with small.client() as client:
        for size in (2 * LIMIT, 8 * LIMIT, 24 * LIMIT):
            content = padded(picture(), size)
            for body in (content, iter([content])):
                answer = client.put(f"/images/{fresh_id}", content=body)
                assert answer.status_code == 413
                assert answer.json()["status"] == 413
        assert client.get(f"/images/{fresh_id}").status_code == 404
    # A client that gives up when it can't send any more.
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("PUT", f"/images/{fresh_id}", body=padded(picture(), 24 * LIMIT))
            answer = connection.getresponse()
            assert answer.status == 413
            assert json.loads(answer.read())["status"] == 413
            assert answer.headers["connection"] == "close"


def test_a_refusal_for_another_reason_reads_the_rest_too(start_lightfast, picture):
    server = start_lightfast(write_token="secret")
    with server.client() as client:
        for _ in range(3):
            answer = client.put("/images/a", content=padded(picture(), 4 * LIMIT))
            assert answer.status_code == 401
            assert client.get("/healthz").status_code == 200


def test_a_client_is_told_to_continue(server, client, fresh_id, picture):
    content = picture()
    with connect(server) as connection:
        framing = f"Expect: 100-continue\r\nConnection: close\r\nContent-Length: {len(content)}"
        connection.sendall(HEAD.format(id=fresh_id, framing=framing).encode())
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(content)
        assert answer_to(connection)[0] == 201
    assert client.get(f"/images/{fresh_id}").content == content


def test_a_slow_body_is_waited_for_and_seen_by_nobody_before_it_is_whole(server, client, fresh_id, picture):
    content = picture(8, 8)
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = HEAD.format(id=fresh_id, framing=f"Content-Length: {len(content)}").encode()
        for at, byte in enumerate(head + content):
            connection.sendall(bytes([byte]))
            if at % 100 == 0:
                assert client.get(f"/images/{fresh_id}").status_code == 404
        assert answer_to(connection)[0] == 201
    assert client.get(f"/images/{fresh_id}").content == content


def logged_since(server, length):
    return server.log.read_text()[length:].splitlines()


@pytest.mark.parametrize("framing", ["Content-Length: 9000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("farewell", ["close", "reset"])
def test_a_client_that_vanishes_in_the_middle_leaves_nothing(server, client, sample, picture, framing, farewell):
    path = sample.path
    client.get(path)
    length = len(server.log.read_text())
    with connect(server) as connection:
        connection.sendall(HEAD.format(id=sample.id, framing=framing).encode())
        part = picture(seed=2)[:5000]
        connection.sendall(part if "Length" in framing else b"1388\r\n" + part + b"\r\n")
        if farewell == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    deadline = time.monotonic() + 10
    while not logged_since(server, length) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.get(path).content == sample.content
    lines = [line for line in logged_since(server, length) if '"GET"' not in line]
    assert len(lines) == 1
    assert json.loads(lines[0])["method"] == "PUT"


def crowd(server, client, content):
    """Eight uploads that lack their last byte, one more, and then the last bytes: the statuses of all."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(server)) for _ in range(8)]
        for number, connection in enumerate(held):
            connection.sendall(HEAD.format(id=f"h{number}", framing=f"Content-Length: {LIMIT}").encode())
            connection.sendall(content[:-1])
        for _ in range(50):  # the server reads what is there meanwhile
            client.get("/healthz")
        refused = client.put("/images/a", content=content)
        held.pop().close()
        for connection in held:
            connection.sendall(content[-1:])
        return refused, [answer_to(connection)[0] for connection in held]


def test_uploads_hold_a_bounded_number_of_bytes_in_all(small, picture):
    content, deadline = padded(picture(), LIMIT), time.monotonic() + 20
    with small.client() as client:
        # Where the ninth came before the others were read, it took the room of one of them.
        while (outcome := crowd(small, client, content))[0].status_code != 503 or outcome[1] != [201] * 7:
            assert time.monotonic() < deadline
            for number in range(8):
                client.delete(f"/images/h{number}")
        assert int(outcome[0].headers["retry-after"]) > 0
        while (answer := client.put("/images/b", content=content)).status_code == 503:
            assert time.monotonic() < deadline
        assert answer.status_code == 201
        assert client.get("/images/h7").status_code == 404


@pytest.mark.parametrize("pieces", [1, 2])
def test_an_upgrade_asked_for_in_vain_leaves_the_body_a_body(server, client, sample, fresh_id, pieces):
    content = b"DELETE /images/%b HTTP/1.1\r\nHost: x\r\n\r\n" % sample.id.encode()
    head = (
        f"PUT /images/{fresh_id} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n"
        f"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with connect(server) as connection:
        for piece in [head.encode() + content] if pieces == 1 else [head.encode(), content]:
            connection.sendall(piece)
        assert answer_to(connection)[0] == 415  # it is no image, and nothing else either
        assert connection.recv(1) == b""
    assert client.get(f"/images/{sample.id}").status_code == 200


def test_an_image_comes_with_an_upgrade_asked_for_in_vain(server, client, fresh_id, picture):
    content = picture(40, 30)
    head = HEAD.format(id=fresh_id, framing=f"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: {len(content)}")
    with connect(server) as connection:
        connection.sendall(head.encode() + content)
        assert answer_to(connection)[0] == 201
    assert client.get(f"/images/{fresh_id}").content == content


def test_trailers_are_no_headers(server, fresh_id, picture):
    content = picture(40, 30)
    chunked = b'%x\r\n%b\r\n0\r\nIf-Match: "other"\r\nContent-Type: image/jpeg\r\n\r\n' % (len(content), content)
    with connect(server) as connection:
        connection.sendall(HEAD.format(id=fresh_id, framing="Transfer-Encoding: chunked").encode() + chunked)
        assert answer_to(connection)[0] == 201


def test_millions_of_values_in_json_are_refused_without_being_made(server, client):
    body = b'{"a":[' + b"[]," * (8 * LIMIT) + b'[]],"base64_data":"AA=="}'
    idle = server.resident_bytes()
    answer = client.post("/images", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "values" in answer.json()["detail"]
    assert server.resident_bytes() - idle < 4 * len(body)
