"""Dates in HTTP headers (RFC 9110 section 5.6.7), as Unix seconds; None for what is none."""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DAY, _YEAR = "(?P<day>[0-9]{2})", "(?P<year>[0-9]{4})"

_IMF = re.compile(f"(?P<name>{'|'.join(_DAYS)}), {_DAY} {_MONTH} {_YEAR} {_TIME} GMT")
_LENGTH = len("Fri, 15 Jan 2027 08:00:00 GMT")
#: In each the name of the day may be any, and what follows is not looked at.
_FORMS = tuple(
    re.compile(form)
    for form in (
        f"[^, ]*, *{_DAY} {_MONTH} {_YEAR} +{_TIME}",
        f"[^, ]*, *{_DAY}-{_MONTH}-(?P<year>[0-9]{{2}}) +{_TIME}",
        f"[^, ]+ +{_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} {_YEAR}",
    )
)
#: A year of two digits is of this century below the pivot, else of the last.
_SHORT, _PIVOT = 2, 70


def imf_fixdate(text: str) -> int | None:
    """`Fri, 15 Jan 2027 08:00:00 GMT` and nothing else, the day of the week included."""
    return _imf_fixdate(text) if len(text) == _LENGTH else None


@lru_cache(1024)
def _imf_fixdate(text: str) -> int | None:
    # Many requests are of one second.
    found = _IMF.fullmatch(text)
    when = _instant(found) if found else None
    return timegm(when.timetuple()) if when and found and _named(when, found["name"]) else None


def http_date(text: str) -> int | None:
    """As nginx reads it: also RFC 850 and asctime forms, whatever day of the week and zone."""
    for form in _FORMS:
        found = form.match(text)
        if found:
            when = _instant(found)
            return timegm(when.timetuple()) if when else None
    return None


def _instant(found: re.Match[str]) -> datetime | None:
    year = int(found["year"])
    if len(found["year"]) == _SHORT:
        year += 2000 if year < _PIVOT else 1900
    month = _MONTHS.index(found["month"]) + 1
    hour, minute, second = (int(found[part]) for part in ("hour", "minute", "second"))
    try:
        return datetime(year, month, int(found["day"]), hour, minute, second)
    except ValueError:
        return None


def _named(when: datetime, day: str) -> bool:
    return _DAYS[when.weekday()] == day
