"""Remote key sets: many issuers that are away, bad sets, and the end of a worker in between."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from authz.contracts import Fault
from authz.jose.key_set import MAX_SET, KeySet
from authz.store.connecting import FetchError
from authz.store.key_sets import THREADS, KeySets
from authz.store.key_source import UNAVAILABLE
from tests.support.issuer import URL, Clock, Issuer, Make, ids, jwks
from tests.support.tokens import jwk, rsa_key
from tests.support.waiting import until


def outcome(sets: KeySets, url: str) -> list[str | None] | str:
    """The ids of the keys that are found, or why there are none."""
    try:
        return ids(sets.fetch(url, "a"))
    except Fault as fault:
        return fault.reason


def test_a_storm_at_many_issuers_that_are_away(make: Make, issuer: Issuer) -> None:
    """Few threads fetch and few wait, however many sets are asked for: the others have their answer
    at once, so who needs no such set is not held up."""
    sets = make(waiters=3)
    issuer.hold()
    before = threading.active_count()
    urls = [f"https://{number}.test/" for number in range(20)]
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(outcome, sets, URL) for _ in range(3)]
        until(lambda: sets._sources[URL].waiters == 3, "three who wait")
        for _ in range(5):
            assert [outcome(sets, url) for url in urls] == [UNAVAILABLE] * 20
        assert threading.active_count() - before <= THREADS + 3

        issuer.give = FetchError("timeout")
        issuer.let_go()
        assert [each.result() for each in waiting] == [UNAVAILABLE] * 3

    issuer.done(21)
    assert sorted(issuer.calls) == sorted([URL, *urls])
    assert sum(source.waiters for source in sets._sources.values()) == 0


def test_seats_are_given_back(make: Make, issuer: Issuer) -> None:
    """Whatever comes of the fetch: the next one who must wait, waits."""
    sets = make(waiters=1)
    for number in range(10):
        issuer.give = jwks("a") if number % 2 else FetchError("timeout")
        found = outcome(sets, f"https://{number}.test/")
        assert found == (["a"] if number % 2 else UNAVAILABLE)


def test_the_end_of_a_worker_while_fetches_are_under_way(make: Make, issuer: Issuer) -> None:
    """What is under way ends, what was to come does not begin, and whoever waits has an answer."""
    sets = make(patience=0.2)
    issuer.hold()
    urls = [f"https://{number}.test/" for number in range(3 * THREADS)]
    with ThreadPoolExecutor(len(urls) + 1) as pool:
        asked = [pool.submit(outcome, sets, url) for url in urls]
        until(lambda: len(issuer.calls) == THREADS, "fetches under way")
        ending = pool.submit(sets.close)
        until(lambda: sets._closed, "the beginning of the end")
        assert outcome(sets, "https://late.test/") == UNAVAILABLE
        issuer.let_go()
        ending.result()
        assert [each.result() for each in asked].count(UNAVAILABLE) >= 2 * THREADS

    assert len(issuer.calls) == THREADS
    assert not any(thread.is_alive() for thread in sets._threads)


@pytest.fixture
def forgiving(issuer: Issuer, clock: Clock) -> Iterator[KeySets]:
    """As a worker has it: an unfit key of a set is left out."""
    parse = partial(KeySet.parse, forgiving=True)
    made = KeySets(parse, issuer.download, observe=issuer.observe, patience=20, clock=clock)
    yield made
    made.close()


WEAK = jwk("RS256", rsa_key(1024), kid="weak")
SHARED = jwk("HS256", b"s" * 32, kid="shared")


def test_bad_sets_and_then_a_good_one(forgiving: KeySets, issuer: Issuer, clock: Clock) -> None:
    """Meanwhile the last good one serves. Of a set with weak keys and secrets the fit count."""
    first = forgiving.fetch(URL, "a")
    clock.now += 100
    for bad in (
        b"\x00",
        b"[]",
        b'{"keys": {}}',
        b'{"keys": []}',
        json.dumps({"keys": [WEAK]}).encode(),
        json.dumps({"keys": [SHARED]}).encode(),
        jwks("b", "b"),
        jwks(*map(str, range(101))),
        b" " * (MAX_SET + 1),
    ):
        issuer.give = bad
        clock.now += 60
        assert asked_again(forgiving, issuer) == "unfit_key_set"
        assert forgiving.recall(URL, "a") == first

    issuer.give = json.dumps({"keys": [WEAK, SHARED, *json.loads(jwks("c"))["keys"]]}).encode()
    clock.now += 60
    assert asked_again(forgiving, issuer) is None
    assert ids(forgiving.recall(URL, "c")) == ["c"]


def asked_again(sets: KeySets, issuer: Issuer) -> str | None:
    """What came of the fetch that the next question causes."""
    count = len(issuer.outcomes)
    sets.fetch(URL, "a")
    issuer.done(count + 1)
    return issuer.outcomes[-1]
