"""Remote key sets: what strangers, many sets and slow issuers may cost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from authz.contracts import Fault, NotCached
from authz.store.connecting import FetchError
from authz.store.key_sets import IDLE, KeySets
from tests.support.issuer import URL, Clock, Issuer, Make, ids
from tests.support.waiting import until


def test_a_storm_of_unknown_keys(make: Make, issuer: Issuer, clock: Clock) -> None:
    """Many threads, each with many key ids that never existed, and meanwhile known ones: one fetch
    in thirty seconds, no known key is pushed out, and memory stays small."""
    sets = make(patience=0.0)
    issuer.max_age = 3600
    ask(sets, "a")
    issuer.done(1)

    def storm(thread: int) -> int:
        for number in range(500):
            ask(sets, f"{clock.now}-{thread}-{number}")
            assert ids(sets.recall(URL, "a")) == ["a"]
        return 500

    for window in range(4):
        before = len(issuer.calls)
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(storm, range(8))) == 4000
        issuer.done(before + 1)
        assert len(issuer.calls) == before + 1, f"window {window}"
        clock.now += 29.5
        assert sum(map(storm, range(2))) == 1000
        assert len(issuer.calls) == before + 1
        clock.now += 0.5
    assert len(sets._sources[URL]._unknown) <= 4
    assert len(sets._sources) == 1


def ask(sets: KeySets, kid: str) -> None:
    """Ask as a request does: memory first, then waiting. A fault is an answer, too."""
    with suppress(Fault):
        try:
            sets.recall(URL, kid)
        except NotCached:
            sets.fetch(URL, kid)


def test_a_storm_while_the_issuer_is_away(make: Make, issuer: Issuer, clock: Clock) -> None:
    """Failures do not make it worse: the pauses between attempts hold for strangers, too."""
    sets = make(patience=0.0)
    ask(sets, "a")
    issuer.done(1)
    issuer.give = FetchError("timeout")
    calls = []
    for _ in range(300):
        for number in range(20):
            ask(sets, f"{clock.now}-{number}")
        clock.now += 1
        calls.append(len(issuer.calls))
        until(lambda: len(issuer.outcomes) == len(issuer.calls), "no fetch under way")

    assert len(issuer.calls) <= 1 + 12
    assert calls[-1] > calls[60]


def test_sets_that_nobody_asks_for_are_forgotten(
    sets: KeySets, issuer: Issuer, clock: Clock
) -> None:
    """And are not fetched until then: only who asks causes work."""
    sets.fetch(URL, "a")
    clock.now += IDLE
    sets.fetch("https://other.test/", "a")

    until(lambda: URL not in sets._sources, "the end of what is idle")
    assert issuer.calls == [URL, "https://other.test/"]


def test_the_number_of_sets_is_bounded(make: Make, issuer: Issuer, clock: Clock) -> None:
    """The one that was not asked for the longest goes."""
    sets = make(limit=3)
    for number in range(3):
        sets.fetch(f"https://{number}.test/", "a")
        clock.now += 1
    sets.fetch("https://0.test/", "a")
    clock.now += 1
    sets.fetch("https://3.test/", "a")

    assert sorted(sets._sources) == ["https://0.test/", "https://2.test/", "https://3.test/"]


def test_one_slow_issuer_does_not_hold_up_another(make: Make, issuer: Issuer) -> None:
    sets = make(patience=0.0)
    issuer.hold()
    for url in ("https://slow.test/", URL):
        with pytest.raises(Fault):
            sets.fetch(url, "a")

    until(lambda: sorted(issuer.calls) == [URL, "https://slow.test/"], "both fetches")
