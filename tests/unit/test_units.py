from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lightfast.units import MAX_DURATION, MAX_SIZE, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7200", 7200.0),
        ("0.5", 0.5),
        ("007", 7.0),
        ("2h", 7200.0),
        ("90m", 5400.0),
        ("30s", 30.0),
        ("7d", 604800.0),
        ("500ms", 0.5),
        ("0.1s", 0.1),
        ("700ms", 0.7),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        ("1d2h3m4s5ms", 93784.005),
        ("1m5ms", 60.005),
        ("36525d", float(MAX_DURATION)),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "h",
        "two hours",
        "-1",
        "+1",
        "-1h",
        "1_000",
        "1e3",
        "nan",
        "inf",
        "Infinity",
        ".5",
        "5.",
        "1.2.3",
        "1h 30m",
        "30m1h",
        "1h1h",
        "2H",
        "2 h",
        " 2h",
        "2h\n",
        "7200\n",
        "1w",
        "٣",
        "１２",
        "1,5",
        "0x10",
        "h1",
        "5m30",
        "0" * 65,
        "1\x00",
    ],
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration.*\"1h30m\""):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36525.1d", "36526d", "3155760001", "9999999999999999999d"])
def test_too_long_durations(text: str) -> None:
    with pytest.raises(ValueError, match="at most 100 years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("10B", 10),
        ("512KiB", 512 * 1024),
        ("50MiB", 50 * 1024**2),
        ("1GiB", 1024**3),
        ("1KB", 1000),
        ("10MB", 10_000_000),
        ("2gb", 2_000_000_000),
        ("50mib", 50 * 1024**2),
        ("50 MiB", 50 * 1024**2),
        ("1.5GiB", 3 * 2**29),
        ("0.1KiB", 102),
        (str(MAX_SIZE), MAX_SIZE),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "MiB",
        "50M",
        "50K",
        "1.5",
        "1.5B",
        "-1",
        "+1",
        "-5MiB",
        "1e6",
        "nan",
        "inf",
        "50  MiB",
        " 50MiB",
        "50MiB\n",
        "1024\n",
        "1024 ",
        "٥MiB",
        "５０",
        "1_024",
        "50\u212aiB",
        "5TiB",
        "1MiB1KiB",
        "0x10",
        "1,5MiB",
        "1" * 20,
        "0" * 65,
    ],
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no size.*\"50MiB\""):
        parse_size(text)


@pytest.mark.parametrize("text", [str(MAX_SIZE + 1), "8589934592GiB", "9999999999999999999gb"])
def test_too_large_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="at most 9223372036854775807 bytes"):
        parse_size(text)


def test_a_message_does_not_repeat_a_long_text() -> None:
    for parse in (parse_duration, parse_size):
        with pytest.raises(ValueError) as raised:
            parse("x" * 100_000)
        assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1500, "1.5 KiB"),
        (50 * 1024**2, "50 MiB"),
        (1_468_006, "1.4 MiB"),
        (1024**2 - 1, "1 MiB"),
        (1024**2 - 52, "1023.9 KiB"),
        (1024**3, "1 GiB"),
        (5000 * 1024**3, "5000 GiB"),
    ],
)
def test_sizes_for_people(n: int, text: str) -> None:
    assert format_size(n) == text


@given(st.integers(0, 2**62))
@example(1024**3 - 1)
def test_what_is_written_for_people_can_be_read(n: int) -> None:
    assert abs(parse_size(format_size(n)) - n) <= max(1, n * 0.051 if n >= 1024 else 0)


@given(st.text(max_size=80) | st.from_regex(r"[0-9.]{0,12}(d|h|m|s|ms|B|KiB| )?[0-9]{0,3}(m|s)?", fullmatch=True))
def test_any_text_is_in_bounds_or_a_value_error(text: str) -> None:
    for parse, most in ((parse_duration, MAX_DURATION), (parse_size, MAX_SIZE)):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert 0 <= value <= most
