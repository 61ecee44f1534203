"""Spans and instants as commands take them."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

import typer

from authz.admin.typed import instant

_SPAN = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
#: No span is longer: some hundred years.
LONGEST = 36_525 * 86_400


def span(text: str | float) -> float:
    """`90s`, `15m`, `24h`, `30d`, `2w` or `0`, in seconds; a default in seconds is left as it is.
    Raises `typer.BadParameter`."""
    if isinstance(text, float):
        return text
    found = _SPAN.fullmatch(text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if (found is None and text != "0") or seconds > LONGEST:
        raise typer.BadParameter(f"{text!r}: expected a span such as 90s, 15m, 24h, 30d or 2w")
    return float(seconds)


Span = Annotated[
    float | None, typer.Option(parser=span, metavar="SPAN", help="From now, such as 90d.")
]
Instant = Annotated[
    float | None,
    typer.Option(
        parser=partial(instant, option="instant"),
        metavar="INSTANT",
        help="RFC 3339, such as 2027-01-31T12:00:00Z.",
    ),
]


def bounds(
    not_before: float | None, expires_at: float | None, expires_in: float | None, now: float
) -> tuple[float, float]:
    """From when until when something holds; 0 means no bound. Raises `typer.BadParameter`."""
    if expires_at is not None and expires_in is not None:
        raise typer.BadParameter("give one of --expires-at and --expires-in")
    ends = now + expires_in if expires_in is not None else expires_at or 0.0
    begins = not_before or 0.0
    if ends and ends <= max(begins, now):
        raise typer.BadParameter("it would end before it begins")
    return begins, ends
