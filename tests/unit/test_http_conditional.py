import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightfast.errors import InvalidRequest
from lightfast.http.conditional import (
    Conditions,
    EntityTag,
    EntityTags,
    Validators,
    Verdict,
    evaluate,
    write_precondition,
)
from lightfast.http.dates import format_http_date
from lightfast.model import ALWAYS, Precondition

NOW = 1_800_000_000.0
ETAG = "0cc175b9c0f1b6a831c399e269772661"
MODIFIED = 1_700_000_000.75
SAME = format_http_date(MODIFIED)
EARLIER = format_http_date(MODIFIED - 1)
LATER = format_http_date(MODIFIED + 1)
SEND, NOT_MODIFIED, FAILED = Verdict.SEND, Verdict.NOT_MODIFIED, Verdict.PRECONDITION_FAILED


def tag(text: str) -> EntityTag:
    found = EntityTag.parse(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("first", "second", "strongly", "weakly"),
    [
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', 'W/"1"', False, True),
        ('"1"', '"1"', True, True),
        ('"a"', '"A"', False, False),
    ],
)
def test_comparison(first: str, second: str, strongly: bool, weakly: bool) -> None:
    assert tag(first).equals_strongly(tag(second)) is strongly
    assert tag(first).equals_weakly(tag(second)) is weakly


@pytest.mark.parametrize(
    "text", ["", "a", '"', '"a', 'a"', '"a"b', '"a" ', 'w/"a"', "W/a", 'W/ "a"', '"a b"', '"a"\n', '"\x7f"', '"\u0100"']
)
def test_no_tag(text: str) -> None:
    assert EntityTag.parse(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", EntityTags(any=True)),
        ('"a"', EntityTags((EntityTag("a"),))),
        ('"*"', EntityTags((EntityTag("*"),))),
        ('""', EntityTags((EntityTag(""),))),
        ('"a,b", "c"', EntityTags((EntityTag("a,b"), EntityTag("c")))),
        ('"a","b"\t,\t W/"c"', EntityTags((EntityTag("a"), EntityTag("b"), EntityTag("c", weak=True)))),
        (',, "a" ,\t, "b",', EntityTags((EntityTag("a"), EntityTag("b")))),
        ('"\xe4\\"', EntityTags((EntityTag("\xe4\\"),))),
        ("", EntityTags()),
        (" , ", EntityTags()),
    ],
)
def test_lists(text: str, expected: EntityTags) -> None:
    assert EntityTags.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["a", '"a" "b"', '"a";"b"', '*, "a"', '"a", *', "**", '"a', '"a", b', 'W/"a', 'w/"a"', '"a"\n', '"a b"']
)
def test_malformed_lists(text: str) -> None:
    assert EntityTags.parse(text) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, SEND),
        # If-Match compares strongly.
        ({"if-match": f'"{ETAG}"'}, SEND),
        ({"if-match": "*"}, SEND),
        ({"if-match": f'"x", "{ETAG}"'}, SEND),
        ({"if-match": '"x"'}, FAILED),
        ({"if-match": f'W/"{ETAG}"'}, FAILED),
        ({"if-match": ETAG}, FAILED),
        ({"if-match": ""}, FAILED),
        # If-None-Match compares weakly, and never by substring.
        ({"if-none-match": f'"{ETAG}"'}, NOT_MODIFIED),
        ({"if-none-match": f'W/"{ETAG}"'}, NOT_MODIFIED),
        ({"if-none-match": "*"}, NOT_MODIFIED),
        ({"if-none-match": f'"a,b", , W/"{ETAG}"'}, NOT_MODIFIED),
        ({"if-none-match": '"*"'}, SEND),
        ({"if-none-match": f'"x{ETAG}"'}, SEND),
        ({"if-none-match": f'"{ETAG}x"'}, SEND),
        ({"if-none-match": f'"{ETAG[:16]}"'}, SEND),
        ({"if-none-match": f'"x,{ETAG}"'}, SEND),
        ({"if-none-match": f'"{ETAG.upper()}"'}, SEND),
        ({"if-none-match": ETAG}, SEND),
        ({"if-none-match": f'"{ETAG}'}, SEND),
        ({"if-none-match": ""}, SEND),
        # Dates are compared by order, in whole seconds.
        ({"if-modified-since": SAME}, NOT_MODIFIED),
        ({"if-modified-since": LATER}, NOT_MODIFIED),
        ({"if-modified-since": EARLIER}, SEND),
        ({"if-modified-since": "yesterday"}, SEND),
        ({"if-modified-since": f"{LATER}, {LATER}"}, SEND),
        ({"if-unmodified-since": SAME}, SEND),
        ({"if-unmodified-since": LATER}, SEND),
        ({"if-unmodified-since": EARLIER}, FAILED),
        ({"if-unmodified-since": "yesterday"}, SEND),
        # The order: If-Match silences If-Unmodified-Since, If-None-Match silences If-Modified-Since.
        ({"if-match": f'"{ETAG}"', "if-unmodified-since": EARLIER}, SEND),
        ({"if-match": '"x"', "if-unmodified-since": LATER}, FAILED),
        ({"if-none-match": '"x"', "if-modified-since": LATER}, SEND),
        ({"if-none-match": "x", "if-modified-since": LATER}, SEND),
        ({"if-none-match": f'"{ETAG}"', "if-modified-since": EARLIER}, NOT_MODIFIED),
        ({"if-match": '"x"', "if-none-match": f'"{ETAG}"'}, FAILED),
        ({"if-match": f'"{ETAG}"', "if-none-match": f'"{ETAG}"'}, NOT_MODIFIED),
        ({"if-match": f'"{ETAG}"', "if-modified-since": SAME}, NOT_MODIFIED),
        ({"if-unmodified-since": EARLIER, "if-none-match": f'"{ETAG}"'}, FAILED),
        ({"if-unmodified-since": EARLIER, "if-modified-since": LATER}, FAILED),
        ({"if-unmodified-since": SAME, "if-modified-since": SAME}, NOT_MODIFIED),
    ],
)
def test_reads(fields: dict[str, str], expected: Verdict) -> None:
    assert evaluate(Conditions.parse(fields, NOW), Validators(ETAG, MODIFIED)) is expected


@pytest.mark.parametrize("name", ["if-modified-since", "if-unmodified-since"])
@pytest.mark.parametrize("date", [EARLIER, LATER])
def test_dates_mean_nothing_where_no_modification_date_is_known(name: str, date: str) -> None:
    assert evaluate(Conditions.parse({name: date}, NOW), Validators(ETAG, None)) is SEND


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"range": "bytes=0-1", "if-range": '"a"'}, True),
        ({"if-modified-since": "yesterday"}, True),
        ({"if-modified-since": SAME}, False),
        ({"if-unmodified-since": SAME}, False),
        ({"if-match": "broken"}, False),
        ({"if-none-match": ""}, False),
    ],
)
def test_emptiness(fields: dict[str, str], expected: bool) -> None:
    assert Conditions.parse(fields, NOW).is_empty is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ALWAYS),
        ({"if-match": '"a", "b"'}, Precondition(match=frozenset({"a", "b"}))),
        ({"if-match": "*"}, Precondition(match=frozenset({"*"}))),
        ({"if-match": 'W/"a", "b"'}, Precondition(match=frozenset({"b"}))),
        ({"if-match": 'W/"a"'}, Precondition(match=frozenset())),
        # A quoted asterisk is a tag like any other, and none of ours.
        ({"if-match": '"*"'}, Precondition(match=frozenset())),
        ({"if-none-match": '"*"'}, Precondition(none_match=frozenset())),
        ({"if-none-match": "*"}, Precondition(none_match=frozenset({"*"}))),
        ({"if-none-match": 'W/"a", "b"'}, Precondition(none_match=frozenset({"a", "b"}))),
        ({"if-unmodified-since": SAME}, Precondition(unmodified_since=1_700_000_000)),
        ({"if-unmodified-since": "yesterday"}, ALWAYS),
        ({"if-modified-since": SAME}, ALWAYS),
        (
            {"if-match": '"a"', "if-none-match": '"b"', "if-unmodified-since": SAME},
            Precondition(frozenset({"a"}), frozenset({"b"}), 1_700_000_000),
        ),
    ],
)
def test_writes(fields: dict[str, str], expected: Precondition) -> None:
    assert write_precondition(fields, NOW) == expected


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", [ETAG, '"a', '*, "a"', "", ","])
def test_a_write_with_an_unreadable_guard_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{name} can't be read: it must be \\* or a list of quoted"):
        write_precondition({name.lower(): value}, NOW)


OPAQUE = st.text(st.sampled_from([chr(code) for code in (0x21, *range(0x23, 0x7F), *range(0x80, 0x100))]))
TAGS = st.builds(EntityTag, OPAQUE, st.booleans())
SEPARATORS = st.sampled_from([",", ", ", " ,\t", ", ,", ",,,"])


@given(TAGS)
def test_a_tag_reads_back(one: EntityTag) -> None:
    assert EntityTag.parse(str(one)) == one


@given(st.lists(TAGS, min_size=1), SEPARATORS)
def test_a_list_reads_back(many: list[EntityTag], separator: str) -> None:
    assert EntityTags.parse(separator.join(map(str, many))) == EntityTags(tuple(many))


@given(TAGS, TAGS)
def test_strong_equality_is_weak_equality_of_two_strong_tags(first: EntityTag, second: EntityTag) -> None:
    expected = first.equals_weakly(second) and not first.weak and not second.weak
    assert first.equals_strongly(second) is expected
    assert second.equals_strongly(first) is expected


NOISE = st.text() | st.text('"W/, \t*a') | st.sampled_from([SAME, EARLIER, LATER, f'"{ETAG}"', "*"])
REQUESTS = st.dictionaries(
    st.sampled_from(["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]), NOISE
)


@given(REQUESTS, st.none() | st.floats(0, 4e9))
def test_no_request_makes_a_read_raise(fields: dict[str, str], modified: float | None) -> None:
    conditions = Conditions.parse(fields, NOW)
    verdict = evaluate(conditions, Validators(ETAG, modified))
    assert verdict is SEND or not conditions.is_empty


@given(REQUESTS)
def test_a_write_is_understood_or_refused(fields: dict[str, str]) -> None:
    try:
        precondition = write_precondition(fields, NOW)
    except InvalidRequest:
        return
    assert (precondition.match is None) is ("if-match" not in fields)
    assert (precondition.none_match is None) is ("if-none-match" not in fields)


def test_a_long_run_of_blanks_is_read_in_one_pass() -> None:
    assert EntityTags.parse(" " * 200_000 + "x") is None
