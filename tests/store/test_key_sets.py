"""Remote key sets: fetched by threads of their own, ahead of time, good ones kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from authz.contracts import Fault, NotCached
from authz.jose.key_set import KeySet
from authz.store.connecting import FetchError
from authz.store.fetching import Fetcher
from authz.store.key_sets import KeySets
from tests.support.issuer import URL, Clock, Issuer, Make, ids, jwks, unavailable
from tests.support.sites import Authority, answer, site
from tests.support.waiting import until


def test_a_set_is_fetched_once_and_then_remembered(sets: KeySets, issuer: Issuer) -> None:
    """Memory alone never waits; there is no thread before there is something to fetch."""
    before = threading.active_count()
    with pytest.raises(NotCached):
        sets.recall(URL, "a")
    assert (issuer.calls, threading.active_count()) == ([], before)

    assert ids(sets.fetch(URL, "a")) == ["a"]

    assert all(ids(sets.recall(URL, kid)) == ["a"] for kid in ("a", None) for _ in range(100))
    assert issuer.calls == [URL]


def test_of_many_askers_one_causes_a_fetch(sets: KeySets, issuer: Issuer) -> None:
    issuer.hold()
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(sets.fetch, URL, "a") for _ in range(16)]
        until(lambda: sets._sources[URL].waiters == 16, "askers")
        issuer.let_go()

    assert [ids(each.result()) for each in answers] == [["a"]] * 16
    assert issuer.calls == [URL]


def test_nobody_waits_longer_than_patience(make: Make, issuer: Issuer) -> None:
    """A slow issuer is a fault at first; its answer is there for the next one who asks."""
    sets = make(patience=0.01)
    issuer.hold()
    assert unavailable(sets.fetch)

    issuer.let_go()
    issuer.done(1)
    assert ids(sets.recall(URL, "a")) == ["a"]


def test_a_set_in_use_is_fetched_ahead(sets: KeySets, issuer: Issuer, clock: Clock) -> None:
    """While people ask for it nobody ever waits, and a key that was replaced under the same id is
    the new one soon after."""
    first = sets.fetch(URL, "a")
    issuer.give = jwks("a")
    clock.now += 79
    assert sets.recall(URL, "a") == first
    assert issuer.outcomes == [None]

    clock.now += 2
    assert sets.recall(URL, "a") == first
    issuer.done(2)
    second = sets.recall(URL, "a")

    assert ids(second) == ["a"]
    assert second.keys[0].key != first.keys[0].key
    assert issuer.calls == [URL, URL]


def test_a_replaced_key_is_picked_up_after_its_time(
    sets: KeySets, issuer: Issuer, clock: Clock
) -> None:
    """A set that nobody asked for in the meantime is waited for."""
    first = sets.fetch(URL, "a")
    issuer.give = jwks("a")
    clock.now += 100

    with pytest.raises(NotCached):
        sets.recall(URL, "a")
    assert sets.fetch(URL, "a").keys[0].key != first.keys[0].key


@pytest.mark.parametrize(
    ("give", "reason"),
    [
        (FetchError("unreachable"), "unreachable"),
        (FetchError("too_large"), "too_large"),
        (b"<html>", "unfit_key_set"),
        (b'{"keys": []}', "unfit_key_set"),
        (RuntimeError("a bug"), "internal_error"),
    ],
    ids=str,
)
def test_the_last_good_keys_then_a_fault(
    sets: KeySets, issuer: Issuer, clock: Clock, give: bytes | Exception, reason: str
) -> None:
    """Whatever is wrong with the new answer, what was good stays for a bounded time, and comes
    back by itself."""
    first = sets.fetch(URL, "a")
    issuer.give = give
    clock.now += 100

    assert sets.fetch(URL, "a") == first
    assert issuer.outcomes == [None, reason]
    assert sets.recall(URL, "a") == first

    clock.now += 999
    assert sets.recall(URL, "a") == first
    issuer.done(3)
    clock.now += 2
    assert unavailable(sets.fetch)
    assert unavailable(sets.recall)

    issuer.give = jwks("b")
    clock.now += 60
    assert ids(sets.fetch(URL, "b")) == ["b"]


def test_an_issuer_that_was_never_there(sets: KeySets, issuer: Issuer, clock: Clock) -> None:
    """Each attempt waits longer for the next; in between the answer comes at once."""
    issuer.give = FetchError("unresolved")
    for pause in (1, 2, 4):
        assert unavailable(sets.fetch)
        clock.now += pause - 0.5
        assert all(unavailable(sets.recall) for _ in range(100))
        clock.now += 0.5
        with pytest.raises(NotCached):
            sets.recall(URL, "a")
    assert len(issuer.calls) == 3


def test_an_issuer_that_is_away_is_asked_again_without_anybody_waiting(
    sets: KeySets, issuer: Issuer, clock: Clock
) -> None:
    """By the thread, while people ask for its keys."""
    sets.fetch(URL, "a")
    issuer.give = FetchError("timeout")
    clock.now += 100
    sets.fetch(URL, "a")
    issuer.give = jwks("b")

    clock.now += 1
    assert ids(sets.recall(URL, "a")) == ["a"]
    issuer.done(3)
    assert ids(sets.recall(URL, "b")) == ["b"]


def test_a_new_key_is_fetched(sets: KeySets, issuer: Issuer) -> None:
    """A key id that is not in the set asks the issuer at once."""
    sets.fetch(URL, "a")
    issuer.give = jwks("a", "b")

    with pytest.raises(NotCached):
        sets.recall(URL, "b")
    assert ids(sets.fetch(URL, "b")) == ["a", "b"]
    assert ids(sets.recall(URL, "b")) == ["a", "b"]


def test_an_observer_that_fails_stops_nothing(
    issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture, propagate: None
) -> None:
    told: list[str | None] = []

    def observe(url: str, reason: str | None) -> None:
        told.append(reason)
        raise RuntimeError(url)

    sets = KeySets(KeySet.parse, issuer.download, observe=observe, clock=clock, patience=20)
    sets.fetch(URL, "a")
    clock.now += 100
    sets.fetch(URL, "a")
    until(lambda: told == [None, None], "both fetches")
    sets.close()

    assert "telling of a key set crashed" in caplog.text


def test_the_operator_is_told_once_why_there_are_no_keys(
    sets: KeySets, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture, propagate: None
) -> None:
    """With the host, not the whole URL, which may hold a secret."""
    issuer.give = b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'
    for _ in range(3):
        assert unavailable(sets.fetch)
        clock.now += 60

    lines = [r.getMessage() for r in caplog.records if r.name == "authz"]
    assert len(lines) == 1
    assert lines[0].startswith("no key set from keys.test: ")
    assert "c2VjcmV0" not in lines[0]


def test_after_the_end_nothing_is_fetched(sets: KeySets, issuer: Issuer, clock: Clock) -> None:
    """What is remembered still answers."""
    sets.fetch(URL, "a")
    sets.close()

    assert ids(sets.fetch(URL, "a")) == ["a"]
    assert ids(sets.fetch(URL, "new")) == ["a"]
    with pytest.raises(Fault):
        sets.fetch("https://other.test/", "a")
    clock.now += 100
    assert ids(sets.fetch(URL, "a")) == ["a"]
    assert issuer.calls == [URL]
    assert not any(thread.is_alive() for thread in sets._threads)


def test_with_a_real_issuer(clock: Clock, tmp_path: Path) -> None:
    """Over HTTPS: found, then away, then gone for good."""
    authority = Authority(tmp_path)
    fetcher = Fetcher(allow_private=True, ca_file=authority.ca_file, timeout=20)
    sets = KeySets(KeySet.parse, fetcher.get, patience=20, stale_seconds=1000, clock=clock)
    with site(authority.context("127.0.0.1")) as issuer:
        issuer.answer = answer(jwks("a"), "Cache-Control: max-age=600")
        first = sets.fetch(issuer.url, "a")
        clock.now += 599
        assert sets.recall(issuer.url, "a") == first
    clock.now += 1
    assert sets.fetch(issuer.url, "a") == first

    clock.now += 1000
    with pytest.raises(Fault):
        sets.fetch(issuer.url, "a")
    sets.close()
