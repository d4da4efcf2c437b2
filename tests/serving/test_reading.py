"""GET and HEAD of an image: what is answered, what caches are told, and when an image is gone."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from datetime import datetime
from email.utils import parsedate_to_datetime

import pytest

EXPECTED = {
    "accept-ranges": "bytes",
    "vary": "Accept-Encoding",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "cross-origin",
    "content-type": "image/png",
    "access-control-allow-origin": "*",
}


def test_the_whole_image_with_every_header(client, sample):
    answer = client.get(sample.path)
    assert answer.status_code == 200
    assert answer.content == sample.content
    assert EXPECTED.items() <= dict(answer.headers).items()
    assert answer.headers["content-length"] == str(len(sample.content))
    assert answer.headers["etag"] == f'"{sample.etag}"'
    assert answer.headers["cache-control"] == "public, max-age=3600, immutable"
    assert answer.headers["content-disposition"] == f'inline; filename="{sample.id}.png"'
    assert {"etag", "content-range", "cache-status", "server-timing"} <= set(
        answer.headers["access-control-expose-headers"].lower().split(", ")
    )
    modified, date = (parsedate_to_datetime(answer.headers[name]) for name in ("last-modified", "date"))
    assert modified <= date
    assert "server" not in answer.headers
    assert len(answer.headers.get_list("date")) == 1


def test_head_says_the_same_without_the_bytes(client, sample):
    for _ in range(2):  # from the store, then from memory
        head = client.head(sample.path)
        got = client.get(sample.path)
        assert head.status_code == 200
        assert head.content == b""
        stable = set(got.headers) - {"date", "server-timing", "cache-status"}
        assert {name: head.headers[name] for name in stable} == {name: got.headers[name] for name in stable}


def test_head_sends_no_body_on_the_wire(server, sample):
    head = b"HEAD %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for path in (sample.path, "/images/no-such-image", "/nothing/here"):
        answer = server.exchange(head % path.encode())
        assert answer.endswith(b"\r\n\r\n")
        assert re.search(rb"content-length: [1-9]", answer)


def test_a_url_with_its_version_is_immutable_for_a_year(client, sample):
    url = client.put(sample.path, content=sample.content).json()["url"]
    assert url == f"{sample.path}?v={sample.etag}"
    answer = client.get(url)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.head(url).headers["cache-control"] == answer.headers["cache-control"]


@pytest.mark.parametrize("version", ["", "0" * 32, "x", "%00", "%FF", "a" * 500])
def test_a_url_with_another_version_is_the_current_image_without_a_promise(client, sample, version):
    answer = client.get(f"{sample.path}?v={version}")
    assert (answer.status_code, answer.content) == (200, sample.content)
    assert answer.headers["cache-control"] == "no-cache"


def test_an_id_that_was_replaced_makes_no_promise_any_more(client, sample, picture):
    second = picture(seed=2)
    replaced = client.put(sample.path, content=second)
    assert replaced.status_code == 200
    answer = client.get(sample.path)
    assert answer.content == second
    assert answer.headers["cache-control"] == "no-cache"
    assert "immutable" in client.get(replaced.json()["url"]).headers["cache-control"]
    assert client.get(sample.created.json()["url"]).headers["cache-control"] == "no-cache"
    client.delete(sample.path)
    assert client.put(sample.path, content=second).status_code == 201
    assert client.get(sample.path).headers["cache-control"] == "no-cache"


def test_storing_the_same_bytes_again_is_no_replacement(client, sample):
    before = client.get(sample.path)
    assert client.put(sample.path, content=sample.content).status_code == 200
    after = client.get(sample.path)
    assert after.headers["cache-control"] == "public, max-age=3600, immutable"
    assert after.headers["last-modified"] == before.headers["last-modified"]


def test_what_browsers_may_keep_is_a_setting(start_lightfast, picture):
    server = start_lightfast(browser_ttl="90s", missing_ttl="7s")
    with server.client() as client:
        client.put("/images/a", content=picture())
        assert client.get("/images/a").headers["cache-control"] == "public, max-age=90, immutable"
        assert client.get("/images/b").headers["cache-control"] == "public, max-age=7"


def test_caches_keep_nothing_beyond_its_expiry(client, fresh_id, picture):
    client.put(f"/images/{fresh_id}?ttl=100", content=picture())
    max_age = re.fullmatch(
        r"public, max-age=(\d+), immutable", client.get(f"/images/{fresh_id}").headers["cache-control"]
    )
    assert 0 < int(max_age[1]) <= 100


def test_a_missing_image_is_missing_for_a_short_and_stated_time(client, fresh_id, picture):
    for _ in range(2):
        answer = client.get(f"/images/{fresh_id}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "public, max-age=1"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert fresh_id in answer.json()["detail"]
    assert client.head(f"/images/{fresh_id}").headers["cache-control"] == "public, max-age=1"
    client.put(f"/images/{fresh_id}", content=picture())
    assert client.get(f"/images/{fresh_id}").status_code == 200


@pytest.mark.parametrize("ttl", ["1s", "1", "1000ms"])
def test_an_image_is_gone_the_second_it_expires(client, fresh_id, picture, ttl):
    stored = client.put(f"/images/{fresh_id}?ttl={ttl}", content=picture())
    expires = parse_moment(stored.json()["expires"])
    deadline = time.monotonic() + 10
    while (answer := client.get(f"/images/{fresh_id}")).status_code == 200 and time.monotonic() < deadline:
        assert time.time() - answer.elapsed.total_seconds() < expires
        assert answer.headers["cache-control"] == "no-cache"
    assert answer.status_code == 404
    assert time.time() >= expires
    assert client.get(stored.json()["url"]).status_code == 404
    assert client.get(f"/images/{fresh_id}/info").status_code == 404
    assert client.delete(f"/images/{fresh_id}").status_code == 404
    again = client.put(f"/images/{fresh_id}", content=picture(), headers={"If-None-Match": "*"})
    assert again.status_code == 201


def parse_moment(text):
    return datetime.fromisoformat(text).timestamp()


def test_reading_the_url_of_a_deleted_image(client, sample):
    assert client.get(sample.path).status_code == 200
    assert client.delete(sample.path).status_code == 204
    assert client.get(sample.path).status_code == 404
    assert client.get(sample.created.json()["url"]).status_code == 404
    assert client.delete(sample.path).status_code == 404


@pytest.mark.parametrize(
    ("wish", "algorithm"),
    [
        ("sha-256=1", "sha-256"),
        ("sha-512=3, sha-256=10", "sha-256"),
        ("sha-256=1, sha-512=2", "sha-512"),
        ("md5=10, sha-256=1", "sha-256"),
    ],
)
def test_a_digest_on_request(client, sample, wish, algorithm):
    digest = hashlib.new(algorithm.replace("-", ""), sample.content).digest()
    expected = f"{algorithm}=:{base64.b64encode(digest).decode()}:"
    wanted = {"Want-Repr-Digest": wish}
    assert client.get(sample.path, headers=wanted).headers["repr-digest"] == expected
    assert client.head(sample.path, headers=wanted).headers["repr-digest"] == expected
    # RFC 9530 §3: of the whole representation, also in a partial answer.
    part = client.get(sample.path, headers=wanted | {"Range": "bytes=0-9"})
    assert (part.status_code, part.headers["repr-digest"]) == (206, expected)


@pytest.mark.parametrize("wish", ["md5=1", "sha-256=0", "sha-256", "sha-256=99", "\xff", "sha-256=:AA==:", ""])
def test_no_digest_where_none_of_ours_is_wanted(client, sample, wish):
    answer = client.get(sample.path, headers={"Want-Repr-Digest": wish.encode("latin-1")})
    assert (answer.status_code, answer.content) == (200, sample.content)
    assert "repr-digest" not in answer.headers


@pytest.mark.parametrize(
    ("id", "suffix", "name"),
    [
        ("hero", ".png", "hero.png"),
        ("hero.v2", ".jpg", "hero.v2.jpg"),
        ("hero.jpeg", ".jpg", "hero.jpeg"),
        ("hero.png", ".webp", "hero.webp"),
    ],
)
def test_the_name_of_a_saved_file(client, fresh_id, picture, id, suffix, name):
    path = f"/images/{fresh_id}-{id}"
    client.put(path, content=picture(suffix=suffix))
    for query, kind in [
        ("", "inline"),
        ("?download=1", "attachment"),
        ("?download", "attachment"),
        ("?download=0", "inline"),
        ("?download=false", "inline"),
    ]:
        disposition = client.get(path + query).headers["content-disposition"]
        assert disposition == f'{kind}; filename="{fresh_id}-{name}"'


def test_a_version_and_a_download_go_together(client, sample):
    answer = client.get(sample.created.json()["url"] + "&download=1&unknown=2")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "immutable" in answer.headers["cache-control"]
