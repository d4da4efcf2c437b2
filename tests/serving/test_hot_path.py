"""The hot path gives the same answers as the full path, to whatever arrives on a connection."""

from __future__ import annotations

import asyncio
import re
import select
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.serving.conftest import ServerHere, _run, _start

Paint = Callable[..., bytes]
Start = Callable[..., Any]

CONNECTIONS = 1000
"""Each carries two to four requests to either server."""

SURE = 0.5
PATIENCE = (0.02, SURE)
"""Seconds of silence after which a piece has no answer: at first, and where the two servers seemed to differ."""

TOKEN = "nobody-writes"  # noqa: S105

FULL_PATH = """
import sys
import uvicorn
from lightfast.server import create_app
from lightfast.settings import load_settings
from lightfast.web.protocol import Protocol
settings = {"log": "off", "write_token": "nobody-writes", "cors_origins": "https://example.com", "client_hints": True}
app = create_app(load_settings(store="sqlite:///full.db", **settings))
uvicorn.run(app, port=int(sys.argv[1]), http=Protocol, ws="none", server_header=False, date_header=False,
            access_log=False, log_level="critical")
"""


@dataclass(frozen=True)
class Known:
    """Originals with their ETags by id, and what is made with its ETags by target."""

    originals: tuple[tuple[str, str], ...]
    made: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([tag for _, tag in self.originals] + [tag for _, tags in self.made for tag in tags]))


@dataclass
class Pair:
    """A server with the hot path and one without, which hold the same images."""

    hot: Any
    full: Any
    etags: dict[str, str]
    made: dict[str, tuple[str, ...]]
    """The ETags of what is made, by target; several where Accept chooses."""

    @property
    def known(self) -> Known:
        """Everything that both have."""
        return Known(tuple(self.etags.items()), tuple(self.made.items()))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, picture: Paint) -> Iterator[Pair]:
    path = tmp_path_factory.mktemp("pair")
    # As images differ by size: in a packet, in a file of its own, and more than a socket takes at once.
    sizes = {"small": (32, 24), "medium": (120, 100), "large": (520, 400)}
    writer = ServerHere(path, **CHOOSING)
    etags = {}
    with writer.client() as client:
        for id, (width, height) in sizes.items():
            stored = client.put(f"/images/{id}?ttl=0", content=picture(width, height))
            etags[id] = stored.headers["etag"].strip('"')
        client.put("/images/small?ttl=0", content=picture(33, 24))  # its bare URL says no-cache from now on
        etags["small"] = client.put("/images/small?ttl=0", content=picture(34, 24)).headers["etag"].strip('"')
        made = make_variants(client)
    writer.stop()
    for name in ("hot", "full"):
        shutil.copy(path / "images.db", path / f"{name}.db")
    pair = Pair(
        _start(path, store="sqlite:///hot.db", log="off", write_token=TOKEN, **CHOOSING),
        _run(path, FULL_PATH),
        etags,
        made,
    )
    for server in (pair.hot, pair.full):
        with server.client() as client:
            for id, etag in etags.items():
                for _ in range(2):
                    for url in (f"/images/{id}", f"/images/{id}?v={etag}"):
                        assert client.get(url).status_code == 200
            assert make_variants(client) == made
    yield pair
    for server in (pair.hot, pair.full):
        server.stop(signal.SIGKILL)


CHOOSING = {"cors_origins": "https://example.com", "client_hints": True}
"""Settings by which more than the URL decides what is answered."""

MADE = ("/images/medium?w=32", "/images/small?fm=webp&w=16", "/placeholders/32x24.png?text=hot")
CHOSEN = ("/images/medium?w=48&auto=format", "/images/small?auto=compress,format")
ACCEPTS = ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/webp,*/*", "*/*", "image/png")


def make_variants(client: Any) -> dict[str, tuple[str, ...]]:
    """Have the variants in memory, the better AVIF too, and tell their ETags by target."""
    made = {}
    for url in (*MADE, *CHOSEN):
        tags = []
        for accept in ACCEPTS if url in CHOSEN else ACCEPTS[-1:]:
            deadline = time.monotonic() + 60
            while True:
                answers = [client.get(url, headers={"Accept": accept}) for _ in range(2)]
                # One that was made in a hurry has no date.
                if "last-modified" in answers[0].headers or url.startswith("/placeholders"):
                    break
                assert time.monotonic() < deadline
            assert {answer.status_code for answer in answers} == {200}
            tags.append(answers[0].headers["etag"].strip('"'))
        made[url] = tuple(tags)
    return made


# Requests as they are on the wire: a request line and header lines, each with its line end

CHROME = """\
Host: img.example.com
Connection: keep-alive
sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"
sec-ch-ua-mobile: ?0
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36
sec-ch-ua-platform: "Linux"
Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8
Sec-Fetch-Site: same-site
Sec-Fetch-Mode: no-cors
Sec-Fetch-Dest: image
Referer: https://example.com/gallery?page=2
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: de-DE,de;q=0.9,en;q=0.8
Cookie: session=b7f1c3; theme=dark; _ga=GA1.1.1012.1700000000
"""
FIREFOX = """\
Host: 127.0.0.1:8000
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0
Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5
Accept-Language: en-US,en;q=0.5
Accept-Encoding: gzip, deflate
Connection: keep-alive
Referer: http://127.0.0.1:8000/
Sec-Fetch-Dest: image
Sec-Fetch-Mode: no-cors
Sec-Fetch-Site: same-origin
Priority: u=5, i
"""
SAFARI = """\
Host: img.example.com
Accept: image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/*;q=0.5,*/*;q=0.1
Accept-Language: en-GB,en;q=0.9
Connection: keep-alive
Accept-Encoding: gzip, deflate
Origin: https://example.com
User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari
Referer: https://example.com/
"""
CDN = """\
Host: origin.example.com
CDN-Loop: cloudflare; loops=1
CF-RAY: 8b1f2c3d4e5f6a7b-FRA
X-Forwarded-For: 2001:db8::1, 198.51.100.7
X-Forwarded-Proto: https
CF-Visitor: {"scheme":"https"}
CF-Connecting-IP: 2001:db8::1
Accept-Encoding: gzip, br
Accept: */*
User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)
"""
PROXY = """\
Host: backend
X-Real-IP: 203.0.113.9
X-Forwarded-For: 203.0.113.9
X-Request-Id: 5f1c0c8e9a6b4d2f
Via: 1.1 varnish (Varnish/7.6)
X-Varnish: 32770
Surrogate-Capability: key=ESI/1.0
"""
CURL = "Host: localhost:8000\nUser-Agent: curl/8.5.0\nAccept: */*\n"

HEADER_SETS = tuple(
    tuple(line.encode() + b"\r\n" for line in lines.splitlines())
    for lines in (CHROME, FIREFOX, SAFARI, CDN, PROXY, CURL)
)

ODD_LINES = (
    b"Origin: https://example.com",
    b"Origin: https://other.example",
    b"Origin: null",
    b"Save-Data: on",
    b"Sec-CH-DPR: 2",
    b"Sec-CH-Width: 24",
    b"Range: bytes=0-99",
    b"Range: bytes=5-2",
    b"range: items=1",
    b"If-Range: Sat, 01 Jan 2000 00:00:00 GMT",
    b"If-Match: *",
    b'If-Match: "other"',
    b"If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT",
    b"If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT",
    b"If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT",
    b"Want-Repr-Digest: sha-256=5",
    b"Expect: 100-continue",
    b"Expect: nonsense",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    b"TE: trailers",
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Content-Length: 5, 5",
    b"Content-Length: nonsense",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Connection: close",
    b"Connection: Keep-Alive",
    b"connection: keep-alive, Upgrade",
    b"Connection: upgrade",
    b"Connection: keep-alive, x",
    b"Connection:",
    b"Proxy-Connection: close",
    b"Proxy-Connection: keep-alive",
    b"Keep-Alive: timeout=5",
    b"Host: second.example.com",
    b"Host:",
    b"Host: a b",
    b"Host: user@x",
    b"Host: [::1]:8000",
    b"Host : x",
    b"Cache-Control: no-cache",
    b"Pragma: no-cache",
    b"X-Umlaut: \xfc\xff",
    b"X-Null: a\x00b",
    b"X-Control: a\x01b",
    b"X-Delete: a\x7fb",
    b"X-Return: a\rb",
    b"X-Tabs:\t a \t",
    b"X-Empty:",
    b": nameless",
    b"no colon",
    b"Br@cket[]: 1",
    b" folded",
    b"\tfolded",
    b"If-None-Match: *\r\n folded",
    b"Cookie: " + b"c" * 4000,
    b"Cookie: " + b"c" * 20_000,
    b"Cookie: " + b"c" * 70_000,
)
V11 = b"HTTP/1.1"
LINE_ENDS = (b"\n", b"\r", b"\r\r\n", b" \r\n", b"\x00\r\n", b"\t \r\n")
METHODS = (b"HEAD", b"HEAD", b"HEAD", b"get", b"OPTIONS", b"PUT", b"DELETE", b"POST", b"PATCH", b"TRACE",
           b"CONNECT", b"G", b"GETT", b"HEAD GET", b"\r\nGET", b" GET", b"PRI")  # fmt: skip
VERSIONS = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b"", b"X")


@cache
def tag_lists(etags: tuple[str, ...]) -> tuple[bytes, ...]:
    known = [etag.encode() for etag in etags]
    lists = [b"*", b"* ", b"*, *", b"", b",", b'"', b"nonsense", b'"other"', b'W/"other" , "another"', b'"a" "b"']
    for etag in known:
        lists += [b'"%b"' % etag, b'W/"%b"' % etag, b'"x", W/"%b"' % etag, b',, "%b" ,' % etag, etag, b'"%b' % etag]
        lists += [b'  "%b"\t' % etag, b'w/"%b"' % etag, b'"x\xfc", "%b"' % etag, b'"%b"' % etag.upper()]
    return tuple(lists)


@cache
def targets(known: Known) -> tuple[bytes, ...]:
    found = [b"/images/missing", b"/healthz", b"/images", b"/", b"*", b"x", b"/images/", b"/images/%00", b"/images/a b"]
    for id, etag in ((id.encode(), etag.encode()) for id, etag in known.originals):
        plain = [b"/images/" + id, b"/images/%b?v=%b" % (id, etag)]
        found += plain * (8 if id == b"large" else 24)
        found += [b"http://x%b" % target for target in plain] + [b"/%b" % target for target in plain]
        found += [target.replace(b"a", b"%61") for target in plain] + [target + b"#part" for target in plain]
        found += [
            plain[0] + end for end in (b"?", b"?v=other", b"?download=1", b"/", b"?x=1&v=" + etag, b"%20", b"\xfc")
        ]
        found += [plain[0] + b"?x=" + plain[0], plain[1] + b"&download", plain[0] + b"?" + b"q" * 3000]
    for target in (url.encode() for url, _ in known.made):
        found += [target] * 14
        found += [b"http://x" + target, target + b"#part", target + b"&v=other", target + b"&w=9", target + b"&q=900"]
        found += [target.replace(b"=", b"%3D"), target.replace(b"a", b"%61"), target + b"&x=1", target + b"&download"]
    return tuple(found)


@cache
def one_of(choices: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(choices)  # building one takes longer than drawing from it


def chance(draw: st.DrawFn, share: float) -> bool:
    return bool(draw(UNIT) < share)


def place(draw: st.DrawFn, length: int) -> int:
    """Somewhere from 0 to ``length``."""
    return int(draw(UNIT) * (length + 1))


# Small ranges, because hypothesis prefers small numbers in large ones.
UNIT = st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda drawn: (drawn[0] * 100 + drawn[1]) / 10_000)


@st.composite
def requests(draw: st.DrawFn, known: Known) -> bytes:
    """A browser's request, most often changed in some places."""
    lines = list(draw(one_of(HEADER_SETS)))
    if chance(draw, 1 / 3):
        value = draw(one_of(tag_lists(known.tags)))
        name = draw(one_of((b"If-None-Match: ", b"if-none-match:", b"IF-NONE-MATCH:\t")))
        lines.insert(place(draw, len(lines)), name + value + b"\r\n")
    method, version = b"GET", V11
    if chance(draw, 1 / 6):
        method = draw(one_of(METHODS))
    if chance(draw, 1 / 20):
        version = draw(one_of(VERSIONS))
    for _ in range(place(draw, 3) - 1):
        draw(one_of(CHANGES))(draw, lines)
    target = draw(one_of(targets(known)))
    request = b"%b %b %b\r\n" % (method, target, version) + b"".join(lines) + b"\r\n"
    if chance(draw, 1 / 15):
        request += draw(one_of((b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"\r\n", b"0\r\n\r\n", b"G")))
    if chance(draw, 1 / 15):
        at = place(draw, len(request))
        request = request[:at] + draw(one_of((b"", b"\x00", b"\n", b"\r\n\r\n", b" ", b"\xff"))) + request[at + 1 :]
    return request


def add_odd_line(draw: st.DrawFn, lines: list[bytes]) -> None:
    lines.insert(place(draw, len(lines)), draw(one_of(ODD_LINES)) + b"\r\n")


def shuffle(draw: st.DrawFn, lines: list[bytes]) -> None:
    Random(draw(UNIT)).shuffle(lines)


def double(draw: st.DrawFn, lines: list[bytes]) -> None:
    lines.append(lines[place(draw, len(lines) - 1)] if lines else b"Host: x\r\n")


def drop(draw: st.DrawFn, lines: list[bytes]) -> None:
    if lines:
        del lines[place(draw, len(lines) - 1)]


def change_case(draw: st.DrawFn, lines: list[bytes]) -> None:
    lines[:] = [draw(one_of((bytes.upper, bytes.lower, bytes.swapcase)))(line) for line in lines]


def change_end(draw: st.DrawFn, lines: list[bytes]) -> None:
    if lines:
        at = place(draw, len(lines) - 1)
        lines[at] = lines[at].removesuffix(b"\r\n") + draw(one_of(LINE_ENDS))


def change_blanks(draw: st.DrawFn, lines: list[bytes]) -> None:
    lines[:] = [line.replace(b": ", draw(one_of((b":", b":\t ", b":   "))), 1) for line in lines]


CHANGES = (add_odd_line, add_odd_line, add_odd_line, shuffle, double, drop, change_case, change_end, change_blanks)


@st.composite
def conversations(draw: st.DrawFn, known: Known) -> list[bytes]:
    """What is written on one connection, piece by piece."""
    pieces = draw(st.lists(requests(known), min_size=2, max_size=4))
    match draw(st.integers(1, 8)):
        case 1:
            return [b"".join(pieces)]
        case 2:
            whole = b"".join(pieces)
            cuts = sorted(place(draw, len(whole)) for _ in range(1 + place(draw, 3)))
            return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        case _:
            return pieces


# Over the wire

PROBE = b"GET /nothing/here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
VARIABLE = re.compile(rb"(?<=\r\n)(?:date|server-timing): [^\r\n]*\r\n")


def converse(server: Any, pieces: list[bytes], patience: float) -> bytes:
    """Everything that comes back for ``pieces`` and a request behind them, until the server closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection, suppress(ConnectionError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            while select.select([connection], [], [], patience)[0]:
                arrived = connection.recv(1 << 20)
                if not arrived:
                    return received
                received += arrived
                if patience < SURE and is_whole(received, b"HEAD" in piece):
                    break
        connection.sendall(PROBE)
        with suppress(OSError):  # the server has closed
            connection.shutdown(socket.SHUT_WR)
        while arrived := connection.recv(1 << 20):
            received += arrived
    return received


def is_whole(received: bytes, bodiless: bool) -> bool:
    """Whether ``received`` seems to end where an answer ends."""
    head = received.rfind(b"HTTP/1.1 ")
    end = received.find(b"\r\n\r\n", head)
    length = re.search(rb"content-length: (\d+)", received[head:end])
    return end > 0 and len(received) - end - 4 == (int(length[1]) if length and not bodiless else 0)


HIT = b"\r\nserver-timing: hot\r\n"


def check(pair: Pair, pieces: list[bytes]) -> bytes:
    """What the server with the hot path says, if the other one says the same."""
    for patience in PATIENCE:
        hot, full = (converse(server, pieces, patience) for server in (pair.hot, pair.full))
        if VARIABLE.sub(b"", hot) == VARIABLE.sub(b"", full):
            break
    assert differences(hot, full) == [], pieces
    return hot


def test_whatever_one_thing_is_odd_both_paths_answer_alike(pair: Pair) -> None:
    etag = pair.etags["medium"].encode()
    for lines in HEADER_SETS:
        for head in (b"", b'If-None-Match: "x", W/"%b"\r\n' % etag):
            answers = check(pair, [b"GET /images/medium HTTP/1.1\r\n%b%b\r\n" % (head, b"".join(lines))] * 2)
            says_origin = any(line.startswith(b"Origin:") for line in lines)  # and some may read what others may not
            assert answers.count(HIT) == (0 if says_origin else 2)

    def usual(
        line: bytes = b"", method: bytes = b"GET", target: bytes = b"/images/medium", version: bytes = V11
    ) -> bytes:
        return b"%b %b %b\r\nHost: x\r\n%b\r\n" % (method, target, version, line)

    odd = [usual(line + b"\r\n") for line in ODD_LINES]
    odd += [usual(b"If-None-Match: " + tags + b"\r\n") for tags in tag_lists(tuple(pair.etags.values()))]
    odd += [usual(b"X: y" + end) for end in LINE_ENDS]
    odd += [usual(method=method) for method in METHODS]
    odd += [usual(version=version) for version in VERSIONS]
    odd += [usual(target=target) for target in dict.fromkeys(targets(pair.known))]
    for request in odd:
        check(pair, [request])


def test_both_paths_choose_alike_whoever_asks_in_between(pair: Pair) -> None:
    """What the hot path has ready for a target is told apart by what the clients accept."""
    for target, tags in pair.made.items():
        requests = [
            b"GET %b HTTP/1.1\r\nHost: x\r\n%b%b\r\n" % (target.encode(), accept, condition)
            for accept in (b"", *(b"Accept: %b\r\n" % accept.encode() for accept in ACCEPTS), b"Save-Data: on\r\n")
            for condition in (b"", *(b'If-None-Match: "%b"\r\n' % tag.encode() for tag in dict.fromkeys(tags)))
        ]
        check(pair, requests * 2)  # what hints choose is made now
        answers = check(pair, requests * 2)
        assert answers.count(HIT) == len(requests) * 2
        seen = set(re.findall(rb'etag: "([0-9a-f]+)"', answers))
        assert {tag.encode() for tag in tags} <= seen
        assert len(seen) <= len(set(tags)) + 1, "and what those get who save data"


def test_both_paths_answer_alike_and_leave_the_connection_alike(pair: Pair) -> None:
    answers = hits = 0

    @settings(
        max_examples=CONNECTIONS,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(conversations(pair.known))
    def compare(pieces: list[bytes]) -> None:
        nonlocal answers, hits
        hot = check(pair, pieces)
        answers += hot.count(b"\r\ncache-status: ")
        hits += hot.count(HIT)

    compare()
    assert answers >= CONNECTIONS * 0.8
    assert hits >= answers / 5, f"{hits} of {answers} answers came from the hot path"


CROWD = 500
ROUNDS = 3


async def test_a_crowd_is_answered_from_memory_although_sending_takes_the_loop_long(
    start_lightfast: Start, picture: Paint
) -> None:
    server = start_lightfast(log="off")
    with server.client() as client:
        client.put("/images/large?ttl=0", content=picture(520, 400))
        for _ in range(2):
            client.get("/images/large")
    request = b"GET /images/large HTTP/1.1\r\nHost: x\r\n\r\n"

    async def look() -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        heads = []
        for _ in range(ROUNDS):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
            heads.append(head)
        writer.close()
        await writer.wait_closed()
        return heads

    answers = await asyncio.gather(*(look() for _ in range(CROWD)))
    assert {HIT in head for heads in answers for head in heads} == {True}


def differences(hot: bytes, full: bytes) -> list[tuple[bytes, bytes]]:
    """The lines that differ, cut short."""
    lines = [VARIABLE.sub(b"", received).split(b"\r\n") for received in (hot, full)]
    return [(one[:200], other[:200]) for one, other in zip_longest(*lines, fillvalue=b"") if one != other]
