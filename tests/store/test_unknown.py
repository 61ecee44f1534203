"""How often the store may be asked for what is not there, by a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.store.unknown import AGAIN, REFUSED, Allowance


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def missed(allowance: Allowance, name: str) -> bool:
    """Ask for a name that is not there. Whether that was allowed."""
    charged = allowance.admit(name)
    if charged is not None:
        allowance.charge(charged)
    return charged is not None


def spent(per_second: float = 100) -> tuple[Allowance, Clock]:
    """An allowance after a flood of names, none of which came twice."""
    clock = Clock()
    allowance = Allowance(per_second, clock)
    number = 0
    while missed(allowance, f"spent {number}"):
        number += 1
    assert number >= per_second * (1 - AGAIN)
    return allowance, clock


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 200), st.booleans()), max_size=20),
)
def test_a_flood_costs_what_is_allowed(
    per_second: int, waves: list[tuple[float, int, bool]]
) -> None:
    """However it comes, with new names or the same again: never more than so many a second and a
    second's worth, nor less than comes while something is left."""
    clock = Clock()
    allowance = Allowance(per_second, clock)
    asked = 0
    for wave, (pause, size, again) in enumerate(waves):
        clock.now += pause
        names = [f"{0 if again else wave} {number}" for number in range(size)]
        asked += sum(missed(allowance, name) for name in names)
        # One more of each share: whoever finds a little left may ask.
        assert asked <= per_second * (clock.now + 1) + 2


def test_what_is_there_costs_nothing() -> None:
    """Every known key is asked for after a restart, and none is refused."""
    allowance = Allowance(1, Clock())

    assert all(allowance.admit(f"k{number}") is not None for number in range(10_000))


def test_a_flood_is_refused_until_time_passes() -> None:
    """And then as much of it is let through as was allowed meanwhile."""
    allowance, clock = spent(100)
    assert not missed(allowance, "a")

    clock.now += 0.1

    let_through = sum(missed(allowance, f"later {number}") for number in range(100))
    assert let_through == pytest.approx(100 * 0.1 * (1 - AGAIN), abs=1)


def test_who_comes_again_is_asked_for() -> None:
    """A client that was told to, in the midst of a flood of names that never come twice."""
    allowance, _ = spent()
    assert allowance.admit("known, but not here") is None
    assert allowance.admit("another") is None

    assert allowance.admit("known, but not here") is not None


def test_coming_again_is_limited_too() -> None:
    """Whoever sends each name twice spends that share, and no more."""
    allowance, _ = spent(100)
    for number in range(100):
        missed(allowance, f"x{number}")

    assert sum(missed(allowance, f"x{number}") for number in range(100)) == 100 * AGAIN


def test_only_the_latest_refusals_are_remembered() -> None:
    """The memory of refusals is bounded; it forgets the oldest."""
    allowance, _ = spent()
    for number in range(REFUSED + 1):
        allowance.admit(f"x{number}")

    assert allowance.admit("x0") is None
    assert allowance.admit(f"x{REFUSED}") is not None
