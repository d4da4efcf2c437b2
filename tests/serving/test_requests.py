"""What is asked of a request before its meaning: Host, method, path, version, framing. Raw sockets."""

from __future__ import annotations

import contextlib
import json
import re
import socket

import pytest

ENOUGH = 16 * 1024 * 1024
HEALTH = b"GET /healthz HTTP/1.1\r\n%bConnection: close\r\n\r\n"


def status(answer):
    return int(answer.split(b" ", 2)[1])


def problem(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    found = json.loads(body)
    assert found["status"] == status(answer)
    assert found["title"]
    assert found["detail"]
    return found


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nX: y\r\nhost: b\r\n",
        b"Host:\r\n",
        b"Host: a b\r\n",
        b"Host: a, b\r\n",
        b"Host: http://a\r\n",
        b"Host: a/b\r\n",
        b"Host: user@a\r\n",
        b"Host: a:port\r\n",
        b"Host: a:99999\r\n",
        b"Host: [::1\r\n",
        b"Host: [nonsense]\r\n",
        b"Host: \xff\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"/healthz", b"/images/x", b"/images", b"/nothing"])
def test_a_host_that_is_missing_doubled_or_malformed_is_refused(server, lines, path):
    answer = server.exchange(HEALTH.replace(b"/healthz", path) % lines)
    assert problem(answer)["status"] == 400
    assert b"Host" in answer


@pytest.mark.parametrize("host", [b"a", b"a:80", b"127.0.0.1:8000", b"[::1]:1", b"A.Example:", b"x_y", b"a%20b"])
def test_a_valid_host_is_welcome(server, host):
    assert status(server.exchange(HEALTH % (b"Host: %b\r\n" % host))) == 200


def test_http_1_0_needs_no_host_and_gets_no_chunks(server, sample):
    answer = server.exchange(b"GET %b HTTP/1.0\r\n\r\n" % sample.path.encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) == 200
    assert body == sample.content
    assert b"transfer-encoding" not in head
    assert status(server.exchange(b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")) == 400


def test_a_target_in_absolute_form(server, sample):
    request = b"GET http://other.example%b?v=%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = server.exchange(request % (sample.path.encode(), sample.etag.encode()))
    assert answer.endswith(sample.content)
    assert b"max-age=31536000" in answer


def test_pipelined_requests_are_answered_in_order(server, sample):
    one = b"%b " + sample.path.encode() + b" HTTP/1.1\r\nHost: x\r\n%b\r\n"
    answer = server.exchange(
        one % (b"GET", b"Range: bytes=0-3\r\n")
        + one % (b"HEAD", b"")
        + one % (b"GET", b"If-None-Match: *\r\n")
        + one % (b"GET", b"Connection: close\r\n")
    )
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"206", b"200", b"304", b"200"]
    assert answer.endswith(sample.content)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /images/\xc3\xa4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nHo st: y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA\0: y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"PUT /images/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"PUT /images/x HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nabcde",
        b"PUT /images/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /images/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_a_400_at_most(server, client, request_bytes):
    assert problem(server.exchange(request_bytes))["status"] == 400
    assert client.get("/healthz").status_code == 200


def flood(server, start, more):
    """Send ``start`` and then ``more`` without end; what the server says, and how much it took."""
    answer, sent = b"", 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(start)
            while sent < ENOUGH:
                connection.sendall(more)
                sent += len(more)
        with contextlib.suppress(OSError):
            answer = connection.recv(65536)
    return answer, sent


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET /", b"a" * 65536),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", b"a" * 65536),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n" * 10_000),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\n", b"X: y\r\n" * 10_000),
    ],
)
def test_a_head_without_end_is_cut_off(server, client, start, more):
    answer, sent = flood(server, start, more)
    assert sent < ENOUGH
    # Where an answer is under way there is no place for another one.
    final = answer[answer.rindex(b"HTTP/1.1 ") :]
    assert status(final) in ((431, 200) if start.count(b"GET") == 2 else (431,))
    assert client.get("/healthz").status_code == 200


def test_trailers_without_end_are_cut_off(server, client, fresh_id):
    start = f"PUT /images/{fresh_id} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    _, sent = flood(server, start.encode(), b"X: y\r\n" * 10_000)
    assert sent < ENOUGH
    assert client.get("/healthz").status_code == 200


def test_a_long_head_is_read(server):
    for size in (1000, 30_000, 60_000):
        answer = server.exchange(HEALTH % (b"Host: x\r\nX: " + b"a" * size + b"\r\n"))
        assert status(answer) == 200


@pytest.mark.parametrize(
    "id",
    [
        ".hidden",
        "..",
        "%2e%2e",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "a%2Fb%2Fc",
        "a%20b",
        "a%00b",
        "a%0Ab",
        "abc%0A",
        "%F0%9F%8E%A8",
        "%FF%FE",
        "a%25b",
        "a:b",
        "a;b",
        "a*b",
        "a'b",
        "a%22b",
        "%3Cscript%3E",
        "x" * 129,
        "%C2%B2",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_hostile_ids_name_nothing(server, picture, method, id):
    content = picture(8, 8)
    head = f"{method} /images/{id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    answer = server.exchange(head.encode() + content)
    assert status(answer) in (400, 404, 405)
    assert b"application/problem+json" in answer
    assert b"Traceback" not in answer


def test_the_longest_and_the_oddest_ids(client, picture):
    for id in ("x" * 128, "-", "_", "a.", "a..b", "A-1_.z", "0"):
        assert client.put(f"/images/{id}", content=picture()).status_code in (200, 201)
        assert client.get(f"/images/{id}").content == picture()
        assert client.get(f"/images/{id}/info").json()["id"] == id


def test_a_percent_encoded_id_is_the_same_id(server, sample):
    encoded = "".join(f"%{ord(character):02x}" for character in sample.id).encode()
    answer = server.exchange(b"GET /images/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % encoded)
    assert answer.endswith(sample.content)


@pytest.mark.parametrize(
    "query", ["?" + "a" * 3000, "?v=" + "%ff" * 100, "?&&&===", "?v&v&download", "?" + "v=1&" * 400, "?%00=%00"]
)
def test_odd_queries(client, sample, query):
    answer = client.get(sample.path + query)
    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/images/x", {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
        ("/images/x/info", {"GET", "HEAD", "OPTIONS"}),
        ("/images", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("/readyz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_every_path_says_what_it_allows(client, path, allowed):
    options = client.options(path)
    assert options.status_code == 204
    assert set(options.headers["allow"].split(", ")) == allowed
    for method in {"PATCH", "TRACE", "PUT", "POST", "DELETE", "PROPFIND"} - allowed:
        answer = client.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        assert set(answer.headers["allow"].split(", ")) == allowed


def test_head_works_wherever_get_does(client, sample):
    for path in ("/healthz", "/readyz", "/images", f"{sample.path}/info", "/openapi.json"):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"") == (200, b"")
        assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("path", ["/", "/image", "/images/", "/images/x/", "/images/x/y", "//images/x", "/favicon.ico"])
def test_unknown_paths_are_problems(client, path):
    for method in ("GET", "POST", "OPTIONS"):
        answer = client.request(method, path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json().keys() == {"type", "title", "status", "detail"}


def test_a_reader_that_leaves_in_the_middle_harms_nobody(server, client, fresh_id, picture):
    content = picture() + b"\0" * 20_000_000
    client.put(f"/images/{fresh_id}", content=content)
    logged = server.log.read_bytes()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(f"GET /images/{fresh_id} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert client.get(f"/images/{fresh_id}").content == content
    assert b"Traceback" not in server.log.read_bytes().removeprefix(logged)
