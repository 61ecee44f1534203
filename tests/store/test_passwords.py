"""Password checks: bounded, remembered for a while, and the same work for a name unknown."""

from __future__ import annotations

import threading

import pytest

from authz.contracts import NotCached, Overloaded
from authz.hashes import hash_password
from authz.store import passwords
from authz.store.passwords import Passwords
from tests.support.waiting import until

HASH = hash_password("right")


def test_a_success_is_remembered_and_a_failure_is_not() -> None:
    """A wrong password is never answered quickly, so that memory tells nothing about it."""
    made = Passwords()

    assert made.verify("right", HASH)
    assert made.recall("right", HASH)
    assert not made.verify("wrong", HASH)
    with pytest.raises(NotCached):
        made.recall("wrong", HASH)


def test_what_is_remembered_belongs_to_one_hash() -> None:
    """A new hash of the same password is a new credential."""
    made = Passwords()
    made.verify("right", HASH)

    with pytest.raises(NotCached):
        made.recall("right", hash_password("right"))


def test_memory_ends_and_is_bounded() -> None:
    """After its time a password is verified again; a flood pushes out the oldest."""
    ended = Passwords(remember_seconds=0)
    ended.verify("right", HASH)
    with pytest.raises(NotCached):
        ended.recall("right", HASH)

    small = Passwords(remembered=1)
    other = hash_password("other")
    small.verify("right", HASH)
    small.verify("other", other)
    with pytest.raises(NotCached):
        small.recall("right", HASH)
    assert small.recall("other", other)


def test_nothing_remembered_holds_a_password() -> None:
    """Not in clear, not as a plain hash: only a MAC under a key of this process."""
    made = Passwords()
    made.verify("right", HASH)

    (tag,) = made._until
    assert len(tag) == 32
    assert tag not in Passwords()._until
    assert Passwords()._tag("right", HASH) != tag


def test_an_unknown_name_costs_a_whole_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same function on a hash of the same cost, and the answer is no for every password."""
    hashes: list[str] = []

    def spy(password: str, hashed: str) -> bool:
        hashes.append(hashed)
        return True  # even if nobody's password were guessed

    made = Passwords()
    monkeypatch.setattr(passwords, "verify_password", spy)

    assert not made.verify("any", "")
    assert hashes == [made._nobody]
    assert made._nobody.rsplit("$", 2)[0] == HASH.rsplit("$", 2)[0]
    with pytest.raises(NotCached):
        made.recall("any", "")


def test_more_than_will_be_done_in_time_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two run, a few wait, the rest is a fault at once; nobody is let in because it is busy."""
    gate, running = threading.Event(), threading.Semaphore(0)

    def slow(password: str, hashed: str) -> bool:
        running.release()
        return gate.wait(20)

    monkeypatch.setattr(passwords, "verify_password", slow)
    made = Passwords(at_once=2, waiting=1, patience=20)
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda p=password: answers.append(made.verify(p, HASH)))
        for password in "abc"
    ]
    for thread in threads:
        thread.start()
    for _ in range(2):
        assert running.acquire(timeout=20)
    until(lambda: made._places._value == 0, "two run and one waits")

    with pytest.raises(Overloaded):
        made.verify("p", HASH)
    assert not running.acquire(blocking=False)
    gate.set()
    for thread in threads:
        thread.join(20)
    assert answers == [True] * 3
    assert made.verify("p", HASH)


def test_whoever_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Envoy has given up by then."""
    gate, running = threading.Event(), threading.Semaphore(0)

    def slow(password: str, hashed: str) -> bool:
        running.release()
        return gate.wait(20)

    monkeypatch.setattr(passwords, "verify_password", slow)
    made = Passwords(at_once=1, waiting=1, patience=0.01)
    thread = threading.Thread(target=made.verify, args=("p", HASH))
    thread.start()
    assert running.acquire(timeout=20)

    for password in ("p", "another"):
        with pytest.raises(Overloaded):
            made.verify(password, HASH)
    gate.set()
    thread.join(20)


def test_a_burst_of_one_password_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart all of a client's connections ask at once."""
    gate, hashes = threading.Event(), []

    def slow(password: str, hashed: str) -> bool:
        hashes.append(hashed)
        return gate.wait(20)

    monkeypatch.setattr(passwords, "verify_password", slow)
    made = Passwords(at_once=1, waiting=0, patience=20)
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda: answers.append(made.verify("p", HASH))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    until(lambda: hashes, "one computes")
    gate.set()
    for thread in threads:
        thread.join(20)

    # Whoever came after the answer found it remembered, or asked anew.
    assert answers == [True] * 20
    assert len(hashes) < 20
