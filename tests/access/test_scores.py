"""No way of guessing has more attempts than the manual says."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.access.guessing import LIMITS
from authz.access.scores import Limit, Scores

DAY, TICK = 86_400.0, 0.001
#: An instant of today's size, where differences are rounded.
START = 1_800_000_000.0
PAGE = Path(__file__).parent.parent.parent / "docs" / "guessing.md"
EVERY = {
    f"{name} {what}": limit
    for name, limits in LIMITS.items()
    for what, limit in (("one", limits.one), ("all", limits.all))
}


def guessed(limit: Limit, seconds: float, rest: Callable[[], float]) -> int:
    """Attempts that are had in so many seconds by who comes as soon as may be, and then rests."""
    scores, at, count = Scores(1), START, 0
    while True:
        while wait := scores.wait(1, limit, at):
            at += max(wait, TICK)
        if at >= START + seconds or count > limit.most(seconds):
            return count
        scores.failed(1, limit, at)
        count += 1
        at += rest()


@pytest.mark.parametrize("name", EVERY)
def test_a_day_of_guessing_is_bounded(name: str) -> None:
    """By what the manual says, and not by much less: it is no guess of ours."""
    limit = EVERY[name]
    eager = guessed(limit, DAY, lambda: 0.0)

    assert limit.most(DAY) * 0.95 < eager <= limit.most(DAY)


def test_a_pause_holds_from_its_first_moment() -> None:
    """However the clock's figures are rounded."""
    limit = Limit(1, 600)
    for number in range(2000):
        scores, at = Scores(1), START + number * 0.0137
        for _ in range(12):
            scores.failed(1, limit, at)
        assert 599 < scores.wait(1, limit, at) < 601


@given(
    st.lists(st.floats(0, 2000), min_size=1, max_size=20),
    st.integers(1, 30),
    st.floats(2, 1000),
)
def test_no_patience_gets_more(rests: list[float], failures: int, seconds: float) -> None:
    """Whoever rests in between has no more attempts in the end."""
    limit, turns = Limit(failures, seconds), cycle(rests)

    assert guessed(limit, 3600.0, lambda: next(turns)) <= limit.most(3600.0)


def test_the_manual_has_the_limits() -> None:
    """And what they come to."""
    page = PAGE.read_text()
    for name, limits in LIMITS.items():
        row = re.search(rf"^\| `{name}` \| (.+) \|$", page, re.MULTILINE)
        assert row is not None
        told = [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", row[1])]
        limits_ = [limits.one, limits.all]
        wanted = [number for each in limits_ for number in (each.failures, int(each.seconds))]
        assert told == [*wanted, *(int(each.most(DAY)) for each in limits_)]
