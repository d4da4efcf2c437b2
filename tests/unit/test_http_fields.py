from hypothesis import given
from hypothesis import strategies as st

from lightfast.http.fields import combine


def test_repeated_lines_are_joined_in_order() -> None:
    raw = [(b"range", b"bytes=0-1"), (b"if-none-match", b'"a"'), (b"If-None-Match", b'"b", "c"')]
    assert combine(raw) == {"range": "bytes=0-1", "if-none-match": '"a", "b", "c"'}


def test_surrounding_whitespace_is_dropped_and_nothing_else() -> None:
    assert combine([(b"a", b" \t x  y\t "), (b"b", b"\x0bz\xa0")]) == {"a": "x  y", "b": "\x0bz\xa0"}


def test_bytes_become_the_characters_with_their_numbers() -> None:
    assert combine([(b"x", b'"\xe4\xff"')]) == {"x": '"\u00e4\u00ff"'}


def test_an_empty_line_counts() -> None:
    assert combine([(b"a", b"1"), (b"a", b""), (b"a", b"2"), (b"b", b"")]) == {"a": "1, , 2", "b": ""}


@given(st.lists(st.tuples(st.binary(), st.binary())))
def test_any_bytes_are_taken(raw: list[tuple[bytes, bytes]]) -> None:
    combined = combine(raw)
    assert set(combined) == {name.decode("latin-1").lower() for name, _ in raw}
    assert all(value.isascii() or max(value) <= "\xff" for value in combined.values())
