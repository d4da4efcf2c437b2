"""Conditional requests over HTTP: their order, their lists, their dates, and what a 304 carries (RFC 9110 §13)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest

LATER = "Fri, 31 Dec 2100 23:59:59 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:37 GMT"


def get(client, sample, **conditions):
    headers = {name.replace("_", "-"): value for name, value in conditions.items()}
    got = client.get(sample.path, headers=headers)
    head = client.head(sample.path, headers=headers)
    assert head.status_code == got.status_code
    assert got.status_code != 200 or got.content == sample.content
    return got


def test_a_304_carries_exactly_what_it_must(client, sample):
    for path in (sample.path, sample.created.json()["url"], sample.path + "?v=other"):
        whole = client.get(path)
        answer = client.get(path, headers={"If-None-Match": f'"{sample.etag}"', "Origin": "https://a.example"})
        assert answer.status_code == 304
        assert answer.content == b""
        for name in ("etag", "cache-control", "vary", "access-control-allow-origin"):
            assert answer.headers[name] == whole.headers[name]
        assert "date" in answer.headers
        # RFC 9110 §15.4.5: no other metadata of the representation, and never a length that is not the image's.
        unwanted = {"content-length", "content-type", "last-modified", "transfer-encoding", "content-disposition"}
        assert not unwanted & set(answer.headers)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"{etag}"', 304),
        ('W/"{etag}"', 304),
        ("*", 304),
        ('"other", W/"more" , "{etag}"', 304),
        (', ,"{etag}",', 304),
        ('"a,b", "{etag}"', 304),
        ('"other"', 200),
        ('"{etag}x"', 200),
        ('"x{etag}"', 200),
        ('"other,{etag}"', 200),
        ("{etag}", 200),
        ('w/"{etag}"', 200),
        ('"*"', 200),
        ('"{etag}', 200),
        ("", 200),
    ],
)
def test_if_none_match(client, sample, value, expected):
    assert get(client, sample, If_None_Match=value.format(etag=sample.etag)).status_code == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"{etag}"', 200),
        ("*", 200),
        ('"other", "{etag}"', 200),
        ('W/"{etag}"', 412),
        ('"other"', 412),
        ("{etag}", 412),
        ('"*"', 412),
        ("", 412),
    ],
)
def test_if_match(client, sample, value, expected):
    answer = get(client, sample, If_Match=value.format(etag=sample.etag))
    assert answer.status_code == expected
    if expected == 412:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["access-control-allow-origin"] == "*"


def test_a_condition_may_be_spread_over_several_lines(client, sample):
    lines = [("If-None-Match", '"a"'), ("If-None-Match", f'"{sample.etag}"')]
    assert client.get(sample.path, headers=lines).status_code == 304


def test_a_missing_image_is_missing_whatever_the_conditions(client, fresh_id):
    for conditions in (
        {"If-Match": '"x"'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": LATER},
        {"Range": "bytes=0-"},
    ):
        assert client.get(f"/images/{fresh_id}", headers=conditions).status_code == 404


def formats(moment):
    """One moment in the three formats that must be understood (RFC 9110 §5.6.7)."""
    return (
        format_datetime(moment, usegmt=True),
        moment.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        f"{moment.strftime('%a %b')} {moment.day:2} {moment.strftime('%H:%M:%S %Y')}",
    )


@pytest.mark.parametrize("form", range(3))
def test_if_modified_since_compares_by_order_in_three_formats(client, sample, form):
    modified = parsedate_to_datetime(client.get(sample.path).headers["last-modified"])
    for seconds, expected in [(0, 304), (3600, 304), (-1, 200)]:
        date = formats(modified + timedelta(seconds=seconds))[form]
        assert get(client, sample, If_Modified_Since=date).status_code == expected


@pytest.mark.parametrize("form", range(3))
def test_if_unmodified_since_compares_by_order_in_three_formats(client, sample, form):
    modified = parsedate_to_datetime(client.get(sample.path).headers["last-modified"])
    for seconds, expected in [(0, 200), (3600, 200), (-1, 412)]:
        date = formats(modified + timedelta(seconds=seconds))[form]
        assert get(client, sample, If_Unmodified_Since=date).status_code == expected


@pytest.mark.parametrize(
    "date", ["yesterday", "0", "", "Sun, 06 Nov 1994 08:49:37", "Sun, 31 Feb 2100 00:00:00 GMT", f"{LATER}, {LATER}"]
)
def test_a_date_that_is_none_is_no_condition(client, sample, date):
    assert get(client, sample, If_Modified_Since=date).status_code == 200
    assert get(client, sample, If_Unmodified_Since=date).status_code == 200


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        # §13.2.2: If-Match silences If-Unmodified-Since, If-None-Match silences If-Modified-Since.
        ({"If_Match": "{etag}", "If_Unmodified_Since": EARLIER}, 200),
        ({"If_Match": '"other"', "If_Unmodified_Since": LATER}, 412),
        ({"If_None_Match": '"other"', "If_Modified_Since": LATER}, 200),
        ({"If_None_Match": "{etag}", "If_Modified_Since": EARLIER}, 304),
        # The first two steps come before the other two.
        ({"If_Match": '"other"', "If_None_Match": "{etag}"}, 412),
        ({"If_Match": "{etag}", "If_None_Match": "{etag}"}, 304),
        ({"If_Unmodified_Since": EARLIER, "If_None_Match": "{etag}"}, 412),
        ({"If_Unmodified_Since": LATER, "If_Modified_Since": LATER}, 304),
        # All of them come before Range.
        ({"If_None_Match": "{etag}", "Range": "bytes=0-1"}, 304),
        ({"If_Match": '"other"', "Range": "bytes=0-1"}, 412),
        ({"If_None_Match": "{etag}", "Range": "bytes=999999-"}, 304),
    ],
)
def test_the_order_of_conditions(client, sample, conditions, expected):
    given = {name: value.replace("{etag}", f'"{sample.etag}"') for name, value in conditions.items()}
    assert get(client, sample, **given).status_code == expected


def test_two_versions_never_share_a_date(client, sample, picture):
    first = client.get(sample.path).headers["last-modified"]
    client.put(sample.path, content=picture(seed=2))
    assert client.get(sample.path, headers={"If-Modified-Since": first}).status_code == 200
    deadline = time.monotonic() + 10
    while (second := client.get(sample.path).headers["last-modified"]) == first and time.monotonic() < deadline:
        assert parsedate_to_datetime(second) <= datetime.now(UTC)
    assert client.get(sample.path, headers={"If-Modified-Since": second}).status_code == 304
    assert client.get(sample.path, headers={"If-Unmodified-Since": first}).status_code == 412


def test_a_huge_condition_is_answered(client, sample):
    tags = ", ".join(f'"{number:032x}"' for number in range(1500))
    assert client.get(sample.path, headers={"If-None-Match": tags}).status_code == 200
    assert client.get(sample.path, headers={"If-None-Match": f'{tags}, "{sample.etag}"'}).status_code == 304
    assert client.get(sample.path, headers={"If-None-Match": "W/" * 20_000}).status_code == 200
