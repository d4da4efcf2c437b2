"""Byte ranges over HTTP: single, several, abusive, and If-Range (RFC 9110 §14)."""

from __future__ import annotations

import re
import time
from email import policy
from email.parser import BytesParser

import pytest

NINES = "9" * 5000


def ranged(client, sample, value, **headers):
    return client.get(sample.path, headers={"Range": value} | headers)


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("BYTES=5-9", 5, 10),
        ("bytes=100-", 100, None),
        ("bytes=-1", -1, None),
        ("bytes=-100", -100, None),
        (f"bytes=-{NINES}", 0, None),
        (f"bytes=7-{NINES}", 7, None),
        ("bytes=0000007-000009", 7, 10),
        ("bytes=0-999999", 0, None),
        ("bytes=1-2,", 1, 3),
        (f"bytes=3-4, {NINES}-", 3, 5),
        ("bytes=0-9, 5-19", 0, 20),
        ("bytes=0-9, 10-19", 0, 20),
    ],
)
def test_one_part(client, sample, value, start, stop):
    answer = ranged(client, sample, value)
    expected = sample.content[start:stop]
    size = len(sample.content)
    first = start if start >= 0 else size + start
    assert answer.status_code == 206
    assert answer.content == expected
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{size}"
    assert answer.headers["content-length"] == str(len(expected))
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["etag"] == f'"{sample.etag}"'
    assert {"cache-control", "vary", "date", "last-modified", "accept-ranges"} <= set(answer.headers)


@pytest.mark.parametrize(
    "value",
    [
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes=\u0661-\u0662",
        "bytes=-1-2",
        "bytes=1",
        "bytes=-",
        "bytes=",
        "bytes",
        "bytes=2-1",
        "bytes=1-2-3",
        "bytes=0x1-2",
        "bytes=1.0-2",
        "bytes=1 -2",
        "bytes=0-1;2-3",
        "bytes=0-1, x",
        "bytes =0-1",
        "items=0-1",
        "seconds=1-2",
        "none",
        "bytes=0-1, bytes=2-3",
        "",
    ],
)
def test_what_is_no_range_of_bytes_is_ignored(client, sample, value):
    answer = ranged(client, sample, value.encode())
    assert (answer.status_code, answer.content) == (200, sample.content)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("value", ["bytes={size}-", "bytes={size}-99999999", f"bytes={NINES}-", "bytes=-0"])
def test_what_lies_outside_is_not_satisfiable(client, sample, value):
    size = len(sample.content)
    answer = ranged(client, sample, value.format(size=size))
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{size}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 416


@pytest.mark.parametrize("value", ["bytes=0-9", "bytes=999999-", "bytes=0-9, 500-509"])
def test_head_ignores_range(client, sample, value):
    for _ in range(2):  # from the store, then from memory
        answer = client.head(sample.path, headers={"Range": value, "If-Range": f'"{sample.etag}"'})
        assert answer.status_code == 200
        assert answer.headers["content-length"] == str(len(sample.content))
        assert "content-range" not in answer.headers
        client.get(sample.path)


def parts(answer):
    """The parts of a multipart/byteranges answer as another implementation of MIME reads them."""
    raw = b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.content
    message = BytesParser(policy=policy.HTTP).parsebytes(raw)
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    return [(part, part.get_payload(decode=True)) for part in message.iter_parts()]


def test_several_parts_read_back_byte_for_byte(client, sample):
    content, size = sample.content, len(sample.content)
    answer = ranged(client, sample, "bytes=4000-4099, 0-9 ,,-50, 99999-")
    assert answer.status_code == 206
    assert answer.headers["content-length"] == str(len(answer.content))
    assert "content-range" not in answer.headers
    expected = [(4000, 4100), (0, 10), (size - 50, size)]
    found = parts(answer)
    assert [body for _, body in found] == [content[start:stop] for start, stop in expected]
    for (part, _), (start, stop) in zip(found, expected, strict=True):
        assert part["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
        assert part.get_content_type() == "image/png"
    assert answer.content.startswith(b"--")
    assert re.search(rb"\r\n--[0-9a-f]{32}--\r\n\Z", answer.content)


def test_each_multipart_answer_has_a_boundary_of_its_own(client, sample):
    types = {ranged(client, sample, "bytes=0-9, 4000-4009").headers["content-type"] for _ in range(3)}
    assert len(types) == 3


@pytest.mark.parametrize(
    "value",
    [
        "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 9000, 2)),
        "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 8000, 100)),
        "bytes=" + ",".join(["0-"] * 101),
        "bytes=" + "," * 10_000,
    ],
)
def test_abusive_sets_get_the_whole_once(client, sample, value):
    answer = ranged(client, sample, value)
    assert (answer.status_code, answer.content) == (200, sample.content)


def test_overlapping_ranges_never_multiply_the_bytes(client, sample):
    answer = ranged(client, sample, "bytes=" + ",".join(["0-"] * 100))
    assert answer.status_code == 206
    assert answer.content == sample.content


def test_if_range_with_an_etag(client, sample):
    for value, expected in [
        (f'"{sample.etag}"', 206),
        (f'W/"{sample.etag}"', 200),
        ('"other"', 200),
        (sample.etag, 200),
        ("*", 200),
        (f'"{sample.etag}", "other"', 200),
        ("", 200),
    ]:
        answer = ranged(client, sample, "bytes=0-9", **{"If-Range": value})
        assert answer.status_code == expected
        assert answer.content == (sample.content[:10] if expected == 206 else sample.content)
    # A range of an outdated copy is no reason for a 416.
    assert ranged(client, sample, "bytes=999999-", **{"If-Range": '"other"'}).status_code == 200
    assert ranged(client, sample, "bytes=999999-", **{"If-Range": f'"{sample.etag}"'}).status_code == 416


def test_if_range_with_a_date(client, sample):
    modified = client.get(sample.path).headers["last-modified"]
    deadline = time.monotonic() + 10
    # Within the second of the change the date is no strong validator yet (§8.8.2.2).
    while (answer := ranged(client, sample, "bytes=0-9", **{"If-Range": modified})).status_code == 200:
        assert time.monotonic() < deadline
    assert (answer.status_code, answer.content) == (206, sample.content[:10])
    for other in ("Fri, 31 Dec 2100 23:59:59 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", "nonsense"):
        assert ranged(client, sample, "bytes=0-9", **{"If-Range": other}).status_code == 200


def test_if_range_with_the_date_of_the_source_names_no_bytes_of_a_variant(client, sample):
    """Other encoders, or the client's Accept, make other bytes of the same date."""
    path = f"{sample.path}?w=16&fm=webp"
    made = client.get(path)
    headers = {"Range": "bytes=0-9", "If-Range": made.headers["last-modified"]}
    deadline = time.monotonic() + 10
    while client.get(sample.path, headers=headers).status_code == 200:
        assert time.monotonic() < deadline
    answer = client.get(path, headers=headers)
    assert (answer.status_code, answer.content) == (200, made.content)
    answer = client.get(path, headers=headers | {"If-Range": made.headers["etag"]})
    assert (answer.status_code, answer.content) == (206, made.content[:10])


def test_if_range_without_range_means_nothing(client, sample):
    assert client.get(sample.path, headers={"If-Range": f'"{sample.etag}"'}).status_code == 200


def test_large_parts_come_whole(client, fresh_id, picture):
    content = picture() + bytes(range(256)) * 12_000
    client.put(f"/images/{fresh_id}", content=content)
    answer = client.get(f"/images/{fresh_id}", headers={"Range": "bytes=1-1500000, 2000000-3000000"})
    assert [body for _, body in parts(answer)] == [content[1:1_500_001], content[2_000_000:3_000_001]]
    assert client.get(f"/images/{fresh_id}", headers={"Range": "bytes=1-"}).content == content[1:]
