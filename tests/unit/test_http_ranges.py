from email import message_from_bytes
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightfast.http.dates import format_http_date
from lightfast.http.ranges import (
    MAX_SPANS,
    MAX_SPECS,
    MIN_GAP,
    Span,
    content_range,
    if_range_holds,
    multipart,
    resolve,
    unsatisfied_range,
)

HUGE = "9" * 40


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-", [(500, 1000)]),
        ("bytes=0-", [(0, 1000)]),
        ("bytes=999-999", [(999, 1000)]),
        ("bytes=-1", [(999, 1000)]),
        ("bytes=-1000", [(0, 1000)]),
        ("bytes=-1001", [(0, 1000)]),
        ("bytes=900-1000", [(900, 1000)]),
        ("bytes=007-0008", [(7, 9)]),
        (f"bytes=0-{HUGE}", [(0, 1000)]),
        (f"bytes=-{HUGE}", [(0, 1000)]),
        (f"bytes={'0' * 40}5-6", [(5, 7)]),
        ("Bytes=0-1", [(0, 2)]),
        ("BYTES=0-1", [(0, 2)]),
        # Lists: blanks around commas, empty elements, the order asked for.
        ("bytes=0-1, 500-501", [(0, 2), (500, 502)]),
        ("bytes=500-501\t,0-1", [(500, 502), (0, 2)]),
        ("bytes=,, 0-1 ,\t,", [(0, 2)]),
        ("bytes= ,0-1", [(0, 2)]),
        ("bytes=-1,0-0,500-500", [(999, 1000), (0, 1), (500, 501)]),
        # What can't be satisfied is left out of the rest.
        ("bytes=1000-,0-1", [(0, 2)]),
        ("bytes=-0,0-1", [(0, 2)]),
        # Overlapping, touching and nearly touching spans become one, in the place of the first.
        ("bytes=0-9,5-14", [(0, 15)]),
        ("bytes=5-14,0-9", [(0, 15)]),
        ("bytes=0-9,10-19", [(0, 20)]),
        ("bytes=0-9,89-99", [(0, 100)]),
        ("bytes=0-9,90-99", [(0, 10), (90, 100)]),
        ("bytes=0-999,5-6", [(0, 1000)]),
        ("bytes=0-0,0-0,0-0", [(0, 1)]),
        ("bytes=600-609,300-309,0-9,610-619", [(600, 620), (300, 310), (0, 10)]),
        ("bytes=0-9,500-509,20-29", [(0, 30), (500, 510)]),
    ],
)
def test_satisfiable(value: str, expected: list[tuple[int, int]]) -> None:
    assert resolve(value, 1000) == tuple(Span(*pair) for pair in expected)


@pytest.mark.parametrize(
    "value", ["bytes=1000-", "bytes=1000-1000", "bytes=-0", "bytes=-00", f"bytes={HUGE}-", "bytes=1000-,2000-2001,-0"]
)
def test_unsatisfiable(value: str) -> None:
    assert resolve(value, 1000) == ()


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"])
def test_nothing_of_an_empty_representation_is_satisfiable(value: str) -> None:
    assert resolve(value, 0) == ()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes= , ,",
        "=0-1",
        "0-1",
        # Other units.
        "items=0-1",
        "pixels=0-1",
        "none",
        "bytes =0-1",
        " bytes=0-1",
        "bytes= 0-1",
        "bytes:0-1",
        "bytes 0-1",
        # Not numbers of this grammar, though int() takes most of them.
        "bytes=+0-1",
        "bytes=0-+1",
        "bytes=-+1",
        "bytes=1_0-2_0",
        "bytes=\u0660-\u0661",
        "bytes=\u0661-",
        "bytes=0-\u0661",
        "bytes=-\u0665",
        "bytes=\xb2-\xb3",
        "bytes=0x0-0x1",
        "bytes=0.0-1",
        "bytes=0 - 1",
        "bytes=0- 1",
        "bytes=-",
        "bytes=--1",
        "bytes=0--1",
        "bytes=1",
        "bytes=a-b",
        "bytes=0-1;2-3",
        "bytes=0-1 2-3",
        "bytes=0-1\n",
        # The end before the start, at any length.
        "bytes=5-4",
        f"bytes={HUGE}-5",
        f"bytes={HUGE}9-{HUGE}",
        # One bad range spoils the set.
        "bytes=0-1,x",
        "bytes=0-1,5-4",
    ],
)
def test_ignored(value: str) -> None:
    assert resolve(value, 1000) is None


def test_numbers_that_int_would_refuse() -> None:
    endless = "9" * 100_000
    assert resolve(f"bytes=0-{endless}", 1000) == (Span(0, 1000),)
    assert resolve(f"bytes=-{endless}", 1000) == (Span(0, 1000),)
    assert resolve(f"bytes={'0' * 100_000}5-6", 1000) == (Span(5, 7),)
    assert resolve(f"bytes={endless}-", 1000) == ()
    assert resolve(f"bytes={endless}-5", 1000) is None


def separate(count: int) -> str:
    return "bytes=" + ",".join(f"{i * 1000}-{i * 1000}" for i in range(count))


def test_too_many_spans_are_ignored() -> None:
    most = resolve(separate(MAX_SPANS), 10**9)
    assert most is not None
    assert len(most) == MAX_SPANS
    assert resolve(separate(MAX_SPANS + 1), 10**9) is None


def test_too_many_ranges_are_ignored_however_few_they_come_to() -> None:
    assert resolve("bytes=" + ",".join(["0-0"] * MAX_SPECS), 1000) == (Span(0, 1),)
    assert resolve("bytes=" + ",".join(["0-0"] * (MAX_SPECS + 1)), 1000) is None
    assert resolve("bytes=" + ",".join(["5000-"] * (MAX_SPECS + 1)), 1000) is None
    assert resolve("bytes=" + ",".join(f"{i}-{i}" for i in range(0, 200_000, 200)), 10**6) is None


ETAG = "0cc175b9c0f1b6a831c399e269772661"
MODIFIED = 1_700_000_000.75
SAME = format_http_date(MODIFIED)


@pytest.mark.parametrize(
    ("value", "modified", "now", "expected"),
    [
        (f'"{ETAG}"', MODIFIED, MODIFIED, True),
        (f'"{ETAG}"', None, MODIFIED, True),
        (f'W/"{ETAG}"', MODIFIED, MODIFIED + 9, False),
        ('"x"', MODIFIED, MODIFIED + 9, False),
        (f'"{ETAG}", "x"', MODIFIED, MODIFIED + 9, False),
        (ETAG, MODIFIED, MODIFIED + 9, False),
        ("*", MODIFIED, MODIFIED + 9, False),
        ("", MODIFIED, MODIFIED + 9, False),
        (SAME, MODIFIED, MODIFIED + 9, True),
        (SAME, None, MODIFIED + 9, False),
        # Only the very second will do, neither an earlier nor a later one.
        (format_http_date(MODIFIED - 1), MODIFIED, MODIFIED + 9, False),
        (format_http_date(MODIFIED + 1), MODIFIED, MODIFIED + 9, False),
        # A date is strong once its second is over.
        (SAME, MODIFIED, 1_700_000_001.0, True),
        (SAME, MODIFIED, 1_700_000_000.99, False),
        (SAME, MODIFIED, 1_699_999_999.0, False),
        ("Tuesday, 14-Nov-23 22:13:20 GMT", MODIFIED, MODIFIED + 9, True),
        ("Tue, 14 Nov 2023 22:13:20", MODIFIED, MODIFIED + 9, False),
    ],
)
def test_if_range(value: str, modified: float | None, now: float, expected: bool) -> None:
    assert if_range_holds(value, ETAG, modified, now) is expected


def test_content_range() -> None:
    assert content_range(Span(0, 500), 1234) == "bytes 0-499/1234"
    assert content_range(Span(1233, 1234), 1234) == "bytes 1233-1233/1234"
    assert unsatisfied_range(1234) == "bytes */1234"


def body(content: bytes, spans: tuple[Span, ...], boundary: str) -> bytes:
    framing = multipart(spans, len(content), "image/png", boundary)
    assert len(framing.heads) == len(spans)
    parts = [head + content[span.start : span.stop] for head, span in zip(framing.heads, spans, strict=True)]
    return b"".join(parts) + framing.tail


def test_multipart_to_the_byte() -> None:
    assert body(b"0123456789", (Span(0, 2), Span(7, 10)), "cut") == (
        b"--cut\r\nContent-Type: image/png\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
        b"\r\n--cut\r\nContent-Type: image/png\r\nContent-Range: bytes 7-9/10\r\n\r\n789"
        b"\r\n--cut--\r\n"
    )


NUMBERS = st.integers(0, 3000).map(str) | st.sampled_from(["", "0", "00", HUGE, "+1", "1_0", "\u0661"])
SPECS = st.tuples(NUMBERS, st.sampled_from(["-", "-", "-", "--", " - "]), NUMBERS).map("".join)
SETS = st.lists(SPECS, max_size=120).map(lambda specs: "bytes=" + ",".join(specs))
GOOD_SPECS = st.tuples(st.integers(0, 50_000), st.integers(0, 2000)).map(lambda pair: (pair[0], sum(pair)))


@given(SETS | st.text() | st.text("bytes=0123456789-, \t"), st.integers(0, 2500))
def test_spans_lie_within_and_apart(value: str, size: int) -> None:
    spans = resolve(value, size)
    if spans is None:
        return
    assert len(spans) <= MAX_SPANS
    assert all(0 <= span.start < span.stop <= size for span in spans)
    ordered = sorted(spans, key=lambda span: span.start)
    assert all(right.start - left.stop >= MIN_GAP for left, right in pairwise(ordered))


@given(st.lists(GOOD_SPECS, min_size=1, max_size=MAX_SPANS), st.integers(0, 50_000))
def test_every_byte_asked_for_is_sent_and_nothing_far_from_it(pairs: list[tuple[int, int]], size: int) -> None:
    spans = resolve("bytes=" + ", ".join(f"{first}-{last}" for first, last in pairs), size)
    assert spans is not None
    asked = {byte for first, last in pairs for byte in range(first, min(last + 1, size))}
    sent = {byte for span in spans for byte in range(span.start, span.stop)}
    assert asked <= sent
    assert all(span.start in asked and span.stop - 1 in asked for span in spans)
    assert len(sent - asked) < MIN_GAP * len(pairs)
    # Each span stands where the first range that it holds was asked for.
    places = [
        min(i for i, (first, last) in enumerate(pairs) if span.start <= first < span.stop and first <= last)
        for span in spans
    ]
    assert places == sorted(places)


@given(st.text() | st.text('"W/abc'), st.none() | st.floats(0, 4e9), st.floats(0, 4e9))
def test_if_range_takes_any_text(value: str, modified: float | None, now: float) -> None:
    assert if_range_holds(value, ETAG, modified, now) is (value == f'"{ETAG}"')


@given(st.binary(min_size=1, max_size=3000), st.data())
def test_multipart_has_the_length_and_the_parts_that_it_says(content: bytes, data: st.DataObject) -> None:
    starts = data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5))
    spans = tuple(Span(start, data.draw(st.integers(start + 1, len(content)))) for start in starts)
    boundary = "b0undary-that-is-not-in-there"
    framing = multipart(spans, len(content), "image/png", boundary)
    whole = body(content, spans, boundary)
    assert len(whole) == framing.length
    message = message_from_bytes(f"Content-Type: {framing.media_type}\n\n".encode() + whole)
    assert message.preamble is None
    received = message.get_payload()
    assert [part["Content-Range"] for part in received] == [content_range(span, len(content)) for span in spans]
    assert all(part.get_content_type() == "image/png" for part in received)
