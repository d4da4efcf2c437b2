"""What the public checkers of HTTP say about the real server: httplint, REDbot and schemathesis."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import thor
from httplint import HttpRequestLinter, HttpResponseLinter
from httplint.note import Note, levels
from redbot.resource import HttpResource

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
TOKEN = "swordfish"  # noqa: S105  # of a server that lives for one test

Applies = Callable[[HttpResponseLinter], bool]
Fields = tuple[tuple[str, str], ...]


ALLOWED: dict[str, tuple[str, Applies]] = {
    "STORE_PUBLIC_UNNECESSARY": (
        "'public' lets a shared cache keep the answer to a request that carries Authorization (RFC 9111 §3.5)",
        lambda response: not _is_of_delete(response) and "public" in _field(response, "cache-control"),
    ),
    "CONTENT_TYPE_MISMATCH": (
        "the sniffer of httplint does not know AVIF",
        lambda response: response.status_code == 200 and _field(response, "content-type") == "image/avif",
    ),
    "STATUS_BAD_REQUEST": (
        "the request was made to be refused",
        lambda response: response.status_code == 400,
    ),
}
"""Notes that are wrong or can't be avoided, why, and exactly where they are expected."""


def _is_of_delete(response: HttpResponseLinter) -> bool:
    return response.request is not None and response.request.method == "DELETE"  # REDbot names no request


def _field(message: HttpResponseLinter, name: str) -> str:
    return ", ".join(value.strip() for field, value in message.headers.text if field.lower() == name)


def complaints(message: HttpRequestLinter | HttpResponseLinter) -> dict[str, str]:
    """The notes that are not praise or information, with those beneath them: name → summary."""

    def flatten(notes: list[Note]) -> Iterator[Note]:
        for note in notes:
            yield note
            yield from flatten(note.subnotes)

    return {
        type(note).__name__: f"{note.subject}: {note.summary}"
        for note in flatten(list(message.notes))
        if note.level in (levels.BAD, levels.WARN)
    }


def allowed(response: HttpResponseLinter) -> set[str]:
    return {name for name, (_, applies) in ALLOWED.items() if applies(response)}


# httplint, on raw exchanges


class Ask(NamedTuple):
    """A request, and the status that the answer must have for the lint to mean anything."""

    status: int
    method: str
    target: str
    fields: Fields = ()
    body: bytes = b""


def lint(exchange: Callable[[bytes], bytes], ask: Ask) -> HttpResponseLinter:
    """Send ``ask`` as it is and give what comes back to httplint, byte for byte."""
    fields = [("Host", "127.0.0.1"), ("User-Agent", "lint"), ("Connection", "close"), *ask.fields]
    if ask.method in ("PUT", "POST") and "Content-Length" not in dict(ask.fields):
        fields.append(("Content-Length", str(len(ask.body))))
    lines = [f"{ask.method} {ask.target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    request = HttpRequestLinter()
    request.process_request_topline(ask.method.encode(), ask.target.encode(), b"1.1")
    request.process_headers([(name.encode(), value.encode()) for name, value in fields])
    request.feed_content(ask.body)
    request.finish_content(True)
    return lint_response(exchange("\r\n".join(lines).encode() + ask.body), request)


def lint_response(raw: bytes, request: HttpRequestLinter) -> HttpResponseLinter:
    head, _, content = raw.partition(b"\r\n\r\n")
    top, *lines = head.split(b"\r\n")
    version, status, phrase = top.split(b" ", 2)
    response = HttpResponseLinter(start_time=time.time())
    response.request = request
    response.is_head_response = request.method == "HEAD"
    response.base_uri = f"http://127.0.0.1{request.uri}"
    response.process_response_topline(version.removeprefix(b"HTTP/"), status, phrase)
    response.process_headers([(name, value) for name, _, value in (line.partition(b":") for line in lines)])
    response.feed_content(content)  # all there is until the connection ends, whatever Content-Length says
    response.finish_content(True)
    return response


PNG: Fields = (("Content-Type", "image/png"),)
ORIGIN: Fields = (("Origin", "https://app.example"),)

READS = [
    Ask(200, "GET", "{path}"),
    Ask(200, "GET", "{path}", ORIGIN),
    Ask(200, "GET", "{path}?v={etag}"),
    Ask(200, "GET", "{path}?v=0"),
    Ask(200, "GET", "{path}?download=1"),
    Ask(200, "GET", "{path}", (("Want-Repr-Digest", "sha-256=9"),)),
    Ask(200, "HEAD", "{path}"),
    Ask(200, "HEAD", "{path}", (("Range", "bytes=0-9"),)),
    Ask(206, "GET", "{path}", (("Range", "bytes=0-9"),)),
    Ask(206, "GET", "{path}", (("Range", "bytes=-10"), ("If-Range", '"{etag}"'))),
    Ask(206, "GET", "{path}", (("Range", "bytes=0-9, 20-29"),)),
    Ask(304, "GET", "{path}", (("If-None-Match", '"{etag}"'),)),
    Ask(304, "GET", "{path}?v={etag}", (("If-None-Match", 'W/"{etag}"'), *ORIGIN)),
    Ask(304, "HEAD", "{path}", (("If-None-Match", "*"),)),
    Ask(400, "GET", "/images/.hidden"),
    Ask(404, "GET", "/images/nobody"),
    Ask(404, "HEAD", "/images/nobody"),
    Ask(404, "GET", "/nowhere"),
    Ask(405, "PATCH", "{path}"),
    Ask(412, "GET", "{path}", (("If-Match", '"other"'),)),
    Ask(416, "GET", "{path}", (("Range", "bytes=99999999-"),)),
    Ask(204, "OPTIONS", "{path}"),
    Ask(204, "OPTIONS", "{path}", ORIGIN),
    Ask(204, "OPTIONS", "{path}", (*ORIGIN, ("Access-Control-Request-Method", "GET"))),
    Ask(200, "GET", "{path}/info"),
    Ask(200, "HEAD", "{path}/info"),
    Ask(404, "GET", "/images/nobody/info"),
    Ask(200, "GET", "/images?limit=2"),
    Ask(400, "GET", "/images?limit=none"),
    Ask(405, "DELETE", "/images"),
    Ask(200, "GET", "/healthz"),
    Ask(200, "GET", "/readyz"),
]


@pytest.mark.parametrize("ask", READS, ids=str)
def test_httplint_on_reads(server, sample, ask: Ask) -> None:
    known = {"path": sample.path, "etag": sample.etag}
    fields = tuple((name, value.format(**known)) for name, value in ask.fields)
    response = lint(server.exchange, ask._replace(target=ask.target.format(**known), fields=fields))
    assert response.status_code == ask.status
    found = complaints(response)
    assert found.keys() == allowed(response), found


def test_httplint_on_an_image_that_was_replaced(server, client, sample, picture) -> None:
    client.put(sample.path, content=picture(seed=2))
    response = lint(server.exchange, Ask(200, "GET", sample.path))
    assert complaints(response) == {}


WRITES = [
    Ask(201, "PUT", "{path}", PNG, b"{picture}"),
    Ask(200, "PUT", "{path}", PNG, b"{picture}"),
    Ask(412, "PUT", "{path}", (*PNG, ("If-None-Match", "*")), b"{picture}"),
    Ask(400, "PUT", "{path}?ttl=soon", PNG, b"{picture}"),
    Ask(413, "PUT", "{path}", (*PNG, ("Content-Length", "99999999"))),
    Ask(415, "PUT", "{path}", (("Content-Type", "image/jpeg"),), b"{picture}"),
    Ask(422, "PUT", "{path}", PNG),
    Ask(201, "POST", "/images", PNG, b"{picture}"),
    Ask(400, "POST", "/images", (("Content-Type", "application/json"),), b"{"),
    Ask(204, "DELETE", "{path}"),
    Ask(404, "DELETE", "{path}"),
]


def test_httplint_on_writes(server, fresh_id, picture) -> None:
    for ask in WRITES:
        body = picture() if ask.body == b"{picture}" else ask.body
        response = lint(server.exchange, ask._replace(target=ask.target.format(path=f"/images/{fresh_id}"), body=body))
        assert response.status_code == ask.status, ask
        found = complaints(response)
        assert found.keys() == allowed(response), (ask, found)


def test_httplint_on_a_missing_token(start_lightfast) -> None:
    server = start_lightfast(write_token=TOKEN)
    response = lint(server.exchange, Ask(401, "GET", "/images"))
    assert response.status_code == 401
    assert complaints(response) == {}


def test_httplint_would_see_what_is_wrong(server, sample) -> None:
    request = HttpRequestLinter()
    request.process_request_topline(b"GET", sample.path.encode(), b"1.1")
    raw = server.exchange(f"GET {sample.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert "CL_INCORRECT" in complaints(lint_response(raw[:-1], request))
    assert "BAD_SYNTAX" in " ".join(complaints(lint_response(raw.replace(b'etag: "', b"etag: "), request)))


# REDbot, which asks again: for parts, under conditions, with other content codings

LOCAL = {"redbot": {"enable_local_access": "True"}}
DEADLINE = 30


def redbot(urls: list[str]) -> list[HttpResource]:
    """Let REDbot check all ``urls`` at once; its event loop can be run only once in a process."""
    config = ConfigParser()
    config.read_dict(LOCAL)
    resources = [HttpResource(config["redbot"]) for _ in urls]
    waiting = set(urls)

    def done(url: str) -> None:
        waiting.discard(url)
        if not waiting:
            thor.stop()

    for resource, url in zip(resources, urls, strict=True):
        resource.set_request(url)
        resource.on("check_done", partial(done, url))
        resource.check()
    thor.schedule(DEADLINE, thor.stop)
    thor.run()
    assert not waiting, "REDbot did not finish"
    return resources


def wait_for_second_of_version(client, path: str) -> None:
    """Two versions within a second share no Last-Modified, so until the next one dates vouch for nothing."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        modified = client.get(path).headers["last-modified"]
        if client.get(path, headers={"If-Modified-Since": modified}).status_code == 304:
            return
        time.sleep(0.05)
    raise AssertionError("the second of the new version never came")


def test_redbot(server, client, sample, picture) -> None:
    replaced = f"{sample.path}-replaced"
    for seed in (1, 2):
        client.put(replaced, content=picture(seed=seed)).raise_for_status()
    wait_for_second_of_version(client, replaced)
    paths = [sample.path, f"{sample.path}?v={sample.etag}", f"{sample.path}?v=0", f"{sample.path}?download=1", replaced]
    for suffix in (".jpg", ".webp", ".avif", ".gif"):
        paths.append(f"{sample.path}{suffix}")
        client.put(paths[-1], content=picture(suffix=suffix)).raise_for_status()
    for path, resource in zip(paths, redbot([server.url + path for path in paths]), strict=True):
        assert resource.fetch_error is None
        assert (resource.partial_support, resource.inm_support, resource.ims_support) == (True, True, True), path
        for step in (resource, *resource.subreqs.values()):
            found = complaints(step.response)
            assert found.keys() == allowed(step.response), (path, step.check_name, found)


# schemathesis, on what the server says of itself

SETTINGS = """
[checks.positive_data_acceptance]
# A schema can't tell bytes that are an image of the type that was named from those that are not.
expected-statuses = ["2xx", "404", "415", "422"]

[[operations]]
# Nor can it tell the cursors that the server gave.
include-name = "GET /images"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]

[[operations]]
# Nor what parameters go together, and whether they are signed.
include-name = "GET /images/{id}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "403", "404"]

[[operations]]
# Nor how many pixels two sides make.
include-name = "GET /placeholders/{name}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "503"]
"""


def test_schemathesis(start_lightfast, tmp_path: Path) -> None:
    server = start_lightfast(write_token=TOKEN)
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS)
    command = [SCHEMATHESIS, "--no-color", f"--config-file={settings}", "run", f"{server.url}/openapi.json"]
    options = [f"--header=Authorization: Bearer {TOKEN}", "--checks=all", "--phases=examples,coverage,fuzzing"]
    bounds = ["--max-examples=30", "--seed=1", "--generation-database=none", "--request-timeout=10"]
    run = subprocess.run(
        [*command, *options, "--continue-on-failure", *bounds],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Tested: 11" in run.stdout, run.stdout
