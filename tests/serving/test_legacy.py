"""Records that existing apps keep in Redis: read as they are, written as they expect them, never trusted."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis as redis_py
from tests.support import etag_of, free_port, wait_until

pytestmark = pytest.mark.alone  # a change is heard of within 50 ms, if there is a core to hear it

BASELINES = Path(__file__).parents[2] / "benchmarks" / "baselines"

Paint = Callable[..., bytes]
Start = Callable[..., Any]
Encode = Callable[[bytes], str]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def quoted_etag(data: bytes) -> str:
    return f'"{etag_of(data)}"'


@pytest.fixture(params=["valkey", "redis"])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of an empty server of either kind."""
    return str(request.getfixturevalue(request.param).url)


@pytest.fixture
def app(store: str) -> Iterator[redis_py.Redis]:
    """What an existing app writes with."""
    with redis_py.Redis.from_url(store) as client:
        yield client


@pytest.fixture
def lightfast(store: str, start_lightfast: Start) -> Any:
    return start_lightfast(store=store, missing_ttl="0", warm=False)


@pytest.fixture
def naive(store: str, tmp_path: Path) -> Iterator[httpx2.Client]:
    """``benchmarks/baselines/naive_handler.py`` on the same store."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--app-dir", BASELINES, "--port", str(port), "naive_handler:app"],
        cwd=tmp_path,
        env=os.environ | {"REDIS_URL": store},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_until(lambda: process.poll() is not None or answers(client))
            yield client
    finally:
        process.kill()
        process.wait()


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/docs").is_success
    except httpx2.TransportError:
        return False


# As they are

PNG_RECORDS: dict[str, Encode] = {
    "mime_type": lambda data: json.dumps({"base64_data": b64(data), "mime_type": "image/png"}),
    "content_type": lambda data: json.dumps({"base64_data": b64(data), "content_type": "image/png"}),
    "format": lambda data: json.dumps({"format": "png", "base64_data": b64(data)}),
    "format in capitals": lambda data: json.dumps({"format": "PNG", "base64_data": b64(data)}),
    "no type": lambda data: json.dumps({"base64_data": b64(data)}),
    "a type that is wrong": lambda data: json.dumps({"base64_data": b64(data), "mime_type": "image/jpeg"}),
    "a data URL": lambda data: json.dumps({"base64_data": "data:image/png;base64," + b64(data)}),
    "a data URL with parameters": lambda data: json.dumps(
        {"base64_data": "data:image/png;name=a.png;base64," + b64(data)}
    ),
    "unknown fields": lambda data: json.dumps(
        {
            "prompt": 'a "quoted" \\ prompt',
            "base64_data": b64(data),
            "mime_type": "image/png",
            "seed": 7,
            "nested": {"base64_data": "bm90IHRoaXM=", "tags": [1, None, True]},
            "created_at": "2026-11-01T12:00:00Z",
        }
    ),
    "base64_data inside a prompt": lambda data: json.dumps(
        {"prompt": '"base64_data": "AAAA"', "nested": {"base64_data": "AAAA"}, "base64_data": b64(data)}
    ),
    "indented": lambda data: json.dumps({"base64_data": b64(data), "mime_type": "image/png"}, indent=4),
    "compact": lambda data: json.dumps({"base64_data": b64(data), "mime_type": "image/png"}, separators=(",", ":")),
    "escaped slashes": lambda data: json.dumps({"base64_data": b64(data)}).replace("/", "\\/"),
    "line breaks": lambda data: json.dumps({"base64_data": base64.encodebytes(data).decode()}),
    "URL-safe": lambda data: json.dumps({"base64_data": base64.urlsafe_b64encode(data).decode()}),
    "no padding": lambda data: json.dumps({"base64_data": b64(data).rstrip("=")}),
    "not ASCII": lambda data: json.dumps({"prompt": "Grüße 🖼", "base64_data": b64(data)}, ensure_ascii=False),
}


def test_every_form_of_record_is_served_byte_for_byte(app: redis_py.Redis, lightfast: Any, picture: Paint) -> None:
    with lightfast.client() as client:
        for number, (form, encode) in enumerate(PNG_RECORDS.items()):
            data = picture(60 + number, 40, seed=number)
            app.set(f"image:form{number}", encode(data))
            answer = client.get(f"/images/form{number}")
            assert answer.status_code == 200, (form, answer.text)
            assert answer.content == data, form
            assert answer.headers["content-type"] == "image/png", form
            assert answer.headers["etag"] == quoted_etag(data), form
            assert answer.headers["cache-status"] == "lightfast; fwd=uri-miss; stored", form
            again = client.get(f"/images/form{number}", headers={"if-none-match": quoted_etag(data)})
            assert again.status_code == 304, form


@pytest.mark.parametrize("store", ["valkey"], indirect=True)
def test_every_type_of_image_and_every_size(app: redis_py.Redis, lightfast: Any, picture: Paint) -> None:
    pictures = {
        "image/png": picture(800, 500),
        "image/jpeg": picture(suffix=".jpg"),
        "image/webp": picture(suffix=".webp"),
        "image/avif": picture(suffix=".avif"),
        "image/gif": picture(suffix=".gif"),
    }
    assert len(pictures["image/png"]) > 1_000_000
    with lightfast.client() as client:
        for media_type, data in pictures.items():
            id = media_type.replace("/", "-")
            app.set(f"image:{id}", json.dumps({"base64_data": b64(data), "format": media_type.partition("/")[2]}))
            answer = client.get(f"/images/{id}")
            assert answer.content == data
            assert answer.headers["content-type"] == media_type
            assert answer.headers["etag"] == quoted_etag(data)
            info = client.get(f"/images/{id}/info").json()
            assert (info["media_type"], info["bytes"], info["created"]) == (media_type, len(data), None)
            assert client.get(info["url"]).headers["cache-control"] == "public, max-age=31536000, immutable"
            assert client.get(f"/images/{id}", headers={"range": "bytes=10-19"}).content == data[10:20]


# In the hands of that other app


def test_what_the_app_overwrites_is_new_at_once_and_no_longer_immutable(
    app: redis_py.Redis, lightfast: Any, picture: Paint
) -> None:
    first, second = picture(seed=1), picture(seed=2)
    with lightfast.client() as client:
        app.set("image:a", json.dumps({"base64_data": b64(first)}))
        before = client.get("/images/a")
        assert before.headers["cache-control"] == "public, max-age=3600, immutable"
        assert client.get("/images/a").headers["cache-status"] == "lightfast; hit"

        app.set("image:a", json.dumps({"base64_data": b64(second)}))
        after = client.get("/images/a", headers={"if-none-match": quoted_etag(first)})
        assert (after.status_code, after.content) == (200, second)
        assert after.headers["etag"] == quoted_etag(second)
        assert after.headers["cache-control"] == "no-cache"
        old = client.get("/images/a", params={"v": quoted_etag(first).strip('"')})
        assert (old.content, old.headers["cache-control"]) == (second, "no-cache")

        app.set("image:a", json.dumps({"base64_data": b64(first)}))
        back = client.get("/images/a")
        assert (back.content, back.headers["cache-control"]) == (first, "no-cache")


def test_what_the_app_deletes_or_lets_expire_is_gone_at_once(
    app: redis_py.Redis, lightfast: Any, picture: Paint
) -> None:
    record = json.dumps({"base64_data": b64(picture())})
    with lightfast.client() as client:
        app.set("image:a", record)
        assert client.get("/images/a").status_code == 200
        app.delete("image:a")
        assert client.get("/images/a").status_code == 404
        app.set("image:a", record)
        assert client.get("/images/a").status_code == 200, "and it is there again at once"

        app.pexpire("image:a", 300)
        until = time.monotonic() + 0.3
        wait_until(lambda: app.exists("image:a") == 0)
        assert time.monotonic() > until - 0.05
        assert client.get("/images/a").status_code == 404

        app.set("image:a", record, ex=50)
        assert client.get("/images/a").headers["cache-control"].startswith("public, max-age=4")
        app.expire("image:a", 20)
        assert client.get("/images/a").headers["cache-control"].startswith("public, max-age=1")
        app.persist("image:a")
        assert client.get("/images/a").headers["cache-control"] == "public, max-age=3600, immutable"
        assert client.get("/images/a/info").json()["expires"] is None


@pytest.mark.parametrize("store", ["valkey"], indirect=True)
def test_replacing_and_deleting_a_legacy_record_through_lightfast(
    app: redis_py.Redis, lightfast: Any, picture: Paint
) -> None:
    old, new = picture(seed=1), picture(seed=2, suffix=".webp")
    app.set("image:a", json.dumps({"base64_data": b64(old)}))
    with lightfast.client() as client:
        assert client.put("/images/a", content=new, headers={"if-none-match": "*"}).status_code == 412
        assert client.put("/images/a", content=new, headers={"if-match": '"other"'}).status_code == 412
        put = client.put("/images/a", content=new, headers={"if-match": quoted_etag(old)})
        assert (put.status_code, put.json()["replaced"]) == (200, True)
        answer = client.get("/images/a")
        assert (answer.content, answer.headers["content-type"]) == (new, "image/webp")
        assert answer.headers["cache-control"] == "no-cache"
        assert app.type("image:a") == b"hash"
        assert app.hget("image:a", "content") == new

        app.set("image:b", json.dumps({"base64_data": b64(old)}))
        assert client.delete("/images/b", headers={"if-match": quoted_etag(old)}).status_code == 204
        assert app.exists("image:b") == 0


# What can't be read

BROKEN: dict[str, bytes] = {
    "no JSON": b"not json at all",
    "empty": b"",
    "binary": bytes(range(256)),
    "no object": b'["base64_data", "AAAA"]',
    "no base64_data": b'{"mime_type": "image/png"}',
    "null": b'{"base64_data": null}',
    "cut off": b'{"base64_data": "iVBORw0KGgo',
    "no base64": b'{"base64_data": "!!!!", "mime_type": "image/png"}',
    "no picture": b'{"base64_data": "aGVsbG8gd29ybGQ="}',
    "a script": b'{"base64_data": "PHN2Zz48L3N2Zz4=", "mime_type": "image/svg+xml"}',
    "deep": b'{"base64_data": ' + b"[" * 20_000,
    "latin-1": '{"prompt": "Grüße", "base64_data": "AAAA"}'.encode("latin-1"),
}


@pytest.mark.parametrize("store", ["valkey"], indirect=True)
def test_a_broken_record_is_a_502_with_a_log_line_and_the_server_lives_on(
    app: redis_py.Redis, lightfast: Any, picture: Paint
) -> None:
    for number, record in enumerate(BROKEN.values()):
        app.set(f"image:broken{number}", record)
    app.rpush("image:list", "a", "b")
    app.hset("image:hash", mapping={"prompt": "a hash of the app's own"})
    good = picture()
    app.set("image:good", json.dumps({"base64_data": b64(good)}))
    ids = [*(f"broken{number}" for number in range(len(BROKEN))), "list", "hash"]
    with lightfast.client() as client:
        for id, what in zip(ids, [*BROKEN, "list", "hash"], strict=True):
            for _ in range(2):  # a failure is not remembered, and does not get worse
                answer = client.get(f"/images/{id}")
                assert answer.status_code == 502, what
                assert answer.headers["content-type"] == "application/problem+json", what
                assert answer.headers["cache-control"] == "no-store", what
                assert answer.json()["detail"].startswith(f"The stored record of '{id}' can't be read: "), what
            assert client.get(f"/images/{id}/info").status_code == 502, what
            assert client.head(f"/images/{id}").status_code == 502, what
        assert client.get("/images/good").content == good
        assert [image["id"] for image in client.get("/images").json()["images"]] == ["good"]
        log = lightfast.log.read_text()
        assert all(f"The stored record of '{id}'" in log for id in ids)
        assert "Traceback" not in log

        assert client.put("/images/broken0", content=good).status_code in (200, 201), "a write mends it"
        assert client.get("/images/broken0").content == good
        app.set("image:broken1", json.dumps({"base64_data": b64(good)}))
        assert client.get("/images/broken1").content == good, "and so does the app"


# Side by side


def test_both_read_what_the_other_writes(
    store: str, naive: httpx2.Client, start_lightfast: Start, picture: Paint
) -> None:
    lightfast = start_lightfast(store=store, redis_format="json", missing_ttl="0")
    first, second, third = (picture(seed=seed, suffix=".webp") for seed in (1, 2, 3))
    with lightfast.client() as client, redis_py.Redis.from_url(store) as app:
        assert client.put("/images/a", content=first).status_code == 201
        assert app.type("image:a") == b"string"
        answer = naive.get("/images/a")
        assert (answer.content, answer.headers["content-type"]) == (first, "image/webp")
        assert client.get("/images/a").content == first

        assert naive.put("/images/a", content=second, headers={"content-type": "image/webp"}).status_code == 204
        assert client.get("/images/a").content == second
        assert client.get("/images/a").headers["cache-control"] == "no-cache"

        put = client.put("/images/a", content=third, headers={"if-match": quoted_etag(second)}, params={"ttl": "1h"})
        assert (put.status_code, put.json()["replaced"]) == (200, True)
        assert naive.get("/images/a").content == third
        assert 3590 < app.ttl("image:a") <= 3600
        assert client.get("/images/a/info").json()["width"] == 64
        assert client.delete("/images/a").status_code == 204
        assert naive.get("/images/a").status_code == 404
