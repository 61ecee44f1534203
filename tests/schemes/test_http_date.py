"""Dates of HTTP headers, in the one form and in all that nginx takes."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.schemes.http_date import http_date, imf_fixdate

NOON = 1_800_000_000


@pytest.mark.parametrize(
    ("text", "strict", "lax"),
    [
        ("Fri, 15 Jan 2027 08:00:00 GMT", NOON, NOON),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777, 784111777),
        ("Thu, 29 Feb 2024 00:00:00 GMT", 1709164800, 1709164800),
        ("Friday, 15-Jan-27 08:00:00 GMT", None, NOON),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None, 784111777),
        ("Fri Jan 15 08:00:00 2027", None, NOON),
        ("Sun Nov  6 08:49:37 1994", None, 784111777),
        ("Thu, 15 Jan 2027 08:00:00 GMT", None, NOON),
        ("Fri, 15 Jan 2027 08:00:00 +0100", None, NOON),
        ("Fri, 15 Jan 2027 08:00:00", None, NOON),
        ("fri, 15 Jan 2027 08:00:00 GMT", None, NOON),
        ("Fri, 15 Jan 2027 08:00:00 gmt", None, NOON),
        ("Fri, 15 Jan 2027 08:00:00 GMT\n", None, NOON),
        ("Fri,15 Jan 2027 08:00:00 GMT", None, NOON),
        ("Fri, 15  Jan 2027 08:00:00 GMT", None, None),
        ("Fri, 15 jan 2027 08:00:00 GMT", None, None),
        ("Fri, 5 Jan 2027 08:00:00 GMT", None, None),
        ("Sat, 30 Feb 2027 08:00:00 GMT", None, None),
        ("Fri, 15 Jan 2027 24:00:00 GMT", None, None),
        ("Fri, 15 Jan 2027 08:00:60 GMT", None, None),
        ("Fri, 15 Jan ２０２７ 08:00:00 GMT", None, None),
        ("Sat, 01 Jan 0000 00:00:00 GMT", None, None),
        ("15 Jan 2027 08:00:00 GMT", None, None),
        ("2027-01-15T08:00:00Z", None, None),
        ("1800000000", None, None),
        ("", None, None),
    ],
)
def test_forms(text: str, strict: int | None, lax: int | None) -> None:
    assert (imf_fixdate(text), http_date(text)) == (strict, lax)


@given(st.integers(0, 253402300799))
def test_every_second(at: int) -> None:
    """What the standard library writes is read back, by both."""
    text = formatdate(at, usegmt=True)
    assert imf_fixdate(text) == at
    assert http_date(text) == at


@given(st.text(max_size=60))
def test_nothing_breaks(text: str) -> None:
    assert imf_fixdate(text) is None
    assert http_date(text) is None or ":" in text
