import calendar
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightfast.http.dates import format_http_date, parse_http_date

NOW = float(calendar.timegm((2026, 11, 10, 12, 0, 0)))
FIRST = calendar.timegm((1, 1, 1, 0, 0, 0))
LAST = calendar.timegm((9999, 12, 31, 23, 59, 59))


def unix(*parts: int) -> int:
    return calendar.timegm((*parts, 0, 0, 0)[:6])


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_the_three_formats_name_the_same_second(text: str) -> None:
    assert parse_http_date(text, NOW) == 784111777


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ("Thu, 29 Feb 2024 00:00:00 GMT", unix(2024, 2, 29)),
        ("Tue, 29 Feb 2000 00:00:00 GMT", unix(2000, 2, 29)),
        ("Sat, 31 Dec 2016 23:59:60 GMT", unix(2017, 1, 1)),
        ("Sat Dec 31 23:59:60 2016", unix(2017, 1, 1)),
        ("Wed Nov 16 08:49:37 1994", unix(1994, 11, 16, 8, 49, 37)),
        # The day of the week is wrong and does not matter.
        ("Mon, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LAST),
    ],
)
def test_valid_dates(text: str, expected: int) -> None:
    assert parse_http_date(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Friday, 01-Jan-27 00:00:00 GMT", unix(2027, 1, 1)),
        ("Tuesday, 10-Nov-76 12:00:00 GMT", unix(2076, 11, 10, 12)),
        ("Wednesday, 10-Nov-76 12:00:01 GMT", unix(1976, 11, 10, 12, 0, 1)),
        ("Friday, 31-Dec-99 00:00:00 GMT", unix(1999, 12, 31)),
        ("Tuesday, 29-Feb-00 00:00:00 GMT", unix(2000, 2, 29)),
    ],
)
def test_two_digit_years_lie_at_most_fifty_years_ahead(text: str, expected: int) -> None:
    assert parse_http_date(text, NOW) == expected


def test_the_window_of_two_digit_years_crosses_a_century() -> None:
    late = float(unix(2099, 6, 1))
    assert parse_http_date("Thursday, 01-Jan-05 00:00:00 GMT", late) == unix(2105, 1, 1)
    assert parse_http_date("Saturday, 01-Jan-50 00:00:00 GMT", late) == unix(2050, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "784111777",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "06 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "SUN, 06 NOV 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov \u0661\u0669\u0669\u0664 08:49:37 GMT",
        "Sun, 06 Nov 1994 \u0660\u0668:49:37 GMT",
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  0 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Mon, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 2023 00:00:00 GMT",
        "Thu, 29 Feb 1900 00:00:00 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:60 GMT",
        "Sun, 06 Nov 1994 23:59:61 GMT",
    ],
)
def test_anything_else_is_no_date(text: str) -> None:
    assert parse_http_date(text, NOW) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784111777.999999, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0.9999999999, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (-0.5, "Wed, 31 Dec 1969 23:59:59 GMT"),
        (FIRST, "Mon, 01 Jan 0001 00:00:00 GMT"),
    ],
)
def test_written_dates_are_rounded_down(seconds: float, expected: str) -> None:
    assert format_http_date(seconds) == expected


@pytest.mark.parametrize("seconds", [FIRST - 1, LAST + 1, 1e30])
def test_a_time_beyond_the_format_is_refused(seconds: float) -> None:
    with pytest.raises(OverflowError):
        format_http_date(seconds)


@given(st.floats(FIRST, LAST))
def test_what_is_written_reads_back(seconds: float) -> None:
    assert parse_http_date(format_http_date(seconds), NOW) == math.floor(seconds)


@given(st.integers(FIRST, LAST), st.integers(1, 500) | st.just(86400))
def test_written_dates_tell_seconds_apart(seconds: int, step: int) -> None:
    if seconds + step <= LAST:
        assert format_http_date(seconds) != format_http_date(seconds + step)


PIECES = st.sampled_from(["Sun", "Sunday", ", ", " ", "-", ":", "06", "6", "Nov", "1994", "94", "60", "GMT", "99"])


@given(st.text() | st.lists(PIECES).map("".join), st.floats(0, 4e9))
def test_no_text_raises(text: str, now: float) -> None:
    parse_http_date(text, now)


@given(st.integers(1, 31), st.sampled_from(calendar.month_abbr[1:]), st.integers(0, 99), st.floats(0, 1e10))
def test_two_digit_years_are_never_far_ahead(day: int, month: str, year: int, now: float) -> None:
    seconds = parse_http_date(f"Monday, {day:02}-{month}-{year:02} 00:00:00 GMT", now)
    if seconds is not None:
        century = 36525 * 86400
        assert now - century // 2 - 3 * 86400 <= seconds <= now + century // 2 + 3 * 86400
