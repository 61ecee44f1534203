"""The rules for one remote key set: when it serves, and when it is fetched again."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from authz.contracts import Fault
from authz.jose.key_set import KeySet
from authz.jose.keys import VerifyKey
from authz.store.key_source import UNKNOWN_KIDS, WAITERS, Source


def keys(*ids: str) -> KeySet:
    return KeySet(tuple(VerifyKey("HS256", b"", id) for id in ids))


def fetched(source: Source, at: float, ids: Iterable[str] = ("a",), max_age: float = 100) -> Source:
    """Let a fetch begin and end at this instant."""
    source.tried_at = at
    source.begin(None, at)
    source.flight = None
    source.land(keys(*ids), max_age, at, 0.0)
    return source


def failed(source: Source, at: float, chance: float = 0.0) -> Source:
    source.begin(None, at)
    source.flight = None
    source.fail(at, chance)
    return source


def forced(source: Source, kid: str, at: float, ids: Iterable[str] = ("a",)) -> None:
    """Let an unknown key id cause a fetch."""
    assert source.worth_waiting(kid, at)
    source.tried_at = at
    source.begin(kid, at)
    source.flight = None
    source.land(keys(*ids), 100, at, 0.0)


@pytest.fixture
def source() -> Source:
    return Source("https://keys.test/", 1000, 0.0)


def is_fault(source: Source, kid: str | None, now: float) -> bool:
    try:
        source.answer(kid, now)
    except Fault as fault:
        return fault.reason == "keys_unavailable"
    return False


@pytest.mark.parametrize(
    ("max_age", "fresh"),
    [(None, 300), (0.0, 60), (59, 60), (61, 61), (3600, 3600), (10.0**9, 3600)],
)
def test_fresh_time(source: Source, max_age: float | None, fresh: float) -> None:
    """As the issuer says, between a minute and an hour; after four fifths of it comes the next
    fetch, and somewhat earlier by chance."""
    source.land(keys("a"), max_age, 0.0, 0.0)
    assert source.next_at() == fresh * 0.8
    assert not source.worth_waiting("a", fresh - 1)
    assert source.worth_waiting("a", fresh)

    source.land(keys("a"), max_age, 0.0, 1.0)
    assert source.next_at() == pytest.approx(fresh * 0.7)


def test_fresh_time_counts_from_the_question(source: Source) -> None:
    """Not from the answer, which may be old when it arrives."""
    source.tried_at = 10.0
    source.land(keys("a"), 100, 12.0, 0.0)

    assert source.worth_waiting("a", 110)


def test_a_set_that_was_never_had(source: Source) -> None:
    assert source.worth_waiting(None, 0)
    assert is_fault(source, None, 0)
    assert source.next_at() == float("inf")


def test_the_last_good_set_serves_for_a_bounded_time(source: Source) -> None:
    """Nobody waits for an issuer that failed a moment ago, and at the end there is no set."""
    failed(fetched(source, 0), 100)

    assert not source.worth_waiting("a", 500)
    assert source.answer("a", 1099.9).keys[0].id == "a"
    assert is_fault(source, "a", 1100)
    assert is_fault(source, None, 1100)


def test_an_unknown_key_is_a_fault_while_the_issuer_is_silent(source: Source) -> None:
    """It may be a new one; a token that it signed is not wrong."""
    fetched(source, 0)
    assert not is_fault(source, "b", 10)

    failed(source, 20)
    assert is_fault(source, "b", 20.5)
    assert not is_fault(source, "a", 20.5)
    assert not is_fault(source, None, 20.5)

    fetched(source, 30)
    assert not is_fault(source, "b", 30)
    source.begin(None, 31)
    assert is_fault(source, "b", 31)


def test_pauses_grow_and_are_bounded(source: Source) -> None:
    """A second, then twice as long each time, up to a minute; chance halves them at most."""
    at, pauses = 0.0, []
    for _ in range(12):
        failed(source, at)
        began = at
        while not source.worth_waiting(None, at):
            at += 0.5
        pauses.append(at - began)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]

    failed(source, at, chance=1.0)
    assert not source.worth_waiting(None, at + 29.9)
    assert source.worth_waiting(None, at + 30)


def test_success_ends_the_pauses(source: Source) -> None:
    for at in range(5):
        failed(source, at)
    fetched(source, 100)
    failed(source, 200)

    assert source.next_at() == 201


def test_an_unknown_key_may_cause_one_fetch_in_thirty_seconds(source: Source) -> None:
    """Whatever it is called, and whoever asks."""
    fetched(source, 0)
    forced(source, "x1", 1)

    assert not any(source.worth_waiting(f"y{n}", 30.9) for n in range(50))
    assert source.worth_waiting("y", 31)


def test_the_thirty_seconds_begin_with_a_forced_fetch_only(source: Source) -> None:
    """An ordinary one a moment ago does not make a new key wait."""
    fetched(source, 0)
    fetched(source, 50)

    assert source.worth_waiting("new", 50)


def test_a_key_that_was_asked_for_in_vain_does_not_use_up_the_fetches(source: Source) -> None:
    """A client that goes on with an old key shall not keep a new key out."""
    fetched(source, 0)
    forced(source, "old", 1)

    assert not source.worth_waiting("old", 40)
    assert source.worth_waiting("new", 40)
    assert source.worth_waiting("old", 61)


def test_what_is_remembered_of_unknown_keys_is_bounded(source: Source) -> None:
    fetched(source, 0)
    for number in range(3 * UNKNOWN_KIDS):
        forced(source, f"x{number}", 1 + 30 * number)

    assert len(source._unknown) == UNKNOWN_KIDS
    assert not source.worth_waiting("a", 0)


def test_a_new_key_is_found_and_nothing_is_held_against_it(source: Source) -> None:
    fetched(source, 0)
    forced(source, "b", 1, ids=("a", "b"))

    assert not source.worth_waiting("b", 2)
    assert source.answer("b", 2).keys[1].id == "b"
    assert not source._unknown


def test_strangers_do_not_occupy_every_thread(source: Source) -> None:
    """For a fetch that an unknown key causes, or that failed before, few may wait."""
    fetched(source, 0)
    source.begin("x", 1)
    source.waiters = WAITERS - 1
    assert source.worth_waiting("x", 1)
    source.waiters = WAITERS
    assert not source.worth_waiting("x", 1)
    assert not source.worth_waiting("y", 1)

    absent = Source("https://other.test/", 1000, 0.0)
    absent.begin(None, 0)
    absent.waiters = 10 * WAITERS
    assert absent.worth_waiting(None, 0)
    absent.failures = 1
    assert not absent.worth_waiting(None, 0)


def test_a_token_without_a_key_id_forces_nothing(source: Source) -> None:
    fetched(source, 0)

    assert not source.worth_waiting(None, 1)
