"""HTTP dates: three formats read, one written (RFC 9110 §5.6.7)."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)

_DAY = f"(?:{'|'.join(_DAYS)})"
_LONG_DAY = f"(?:{'|'.join(_LONG_DAYS)})"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"

# The day of the week adds nothing to the date, so a wrong one does not make a date useless: to drop
# If-Unmodified-Since for it would let a write through that the client meant to guard.
_FORMATS = (
    re.compile(f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(f"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(f"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


def parse_http_date(text: str, now: float) -> int | None:
    """The Unix time in seconds that ``text`` names, ``None`` if it is no valid HTTP-date.

    ``now`` (Unix seconds) decides the century of the two-digit years of RFC 850. A leap second is the
    same Unix time as the second after it.
    """
    for pattern in _FORMATS:
        found = pattern.fullmatch(text)
        if found is not None:
            break
    else:
        return None
    month = _MONTHS.index(found["month"]) + 1
    day, hour, minute, second = (int(found[part]) for part in ("day", "hour", "minute", "second"))
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _full_year(year, (month, day, hour, minute, second), now)
    leap = (hour, minute, second) == (23, 59, 60)
    try:
        moment = datetime(year, month, day, hour, minute, second - leap, tzinfo=UTC)
    except ValueError:
        return None
    return (moment - _EPOCH) // _SECOND + leap


def format_http_date(seconds: float) -> str:
    """The IMF-fixdate of a Unix time, fractions dropped downwards.

    Raises ``OverflowError`` outside the years 1 to 9999, which is all that an HTTP-date can name.
    """
    moment = _EPOCH + timedelta(seconds=math.floor(seconds))
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"
    )


def _full_year(two_digits: int, rest: tuple[int, ...], now: float) -> int:
    # The latest year with these digits that puts the date at most 50 years ahead. Calendar fields are
    # compared, because 50 years are no fixed number of seconds.
    today = _EPOCH + timedelta(seconds=math.floor(now))
    limit = (today.year + 50, today.month, today.day, today.hour, today.minute, today.second)
    year = limit[0] - limit[0] % 100 + two_digits
    return year if (year, *rest) <= limit else year - 100
