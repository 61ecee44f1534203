"""The cache: bounded, one read for many who ask, and never older than it says."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from authz.contracts import NotCached, StoreDown
from authz.schemes.digest_key import AppSecret
from authz.secrets import Recoverable
from authz.store.cache import LONGEST_MISS, Entry
from authz.store.link import Link
from authz.values import Consumer, Credential
from tests.support.caches import PATIENT, Source, away, make


def test_a_record_is_read_once() -> None:
    """What memory holds is not asked of the store again, a miss included."""
    source = Source(a="1")
    cache = make(source.load)

    assert [cache.fetch("k", "a"), cache.fetch("k", "a")] == ["1", "1"]
    assert [cache.fetch("k", "x"), cache.fetch("k", "x")] == [None, None]
    assert source.reads == ["a", "x"]


def test_a_miss_of_a_long_name_takes_no_room() -> None:
    """A stranger may send thousands of names, each as long as a header: none of them is kept."""
    known, long = "a" * (LONGEST_MISS + 1), "b" * (LONGEST_MISS + 1)
    source = Source(**{known: "1"})
    cache = make(source.load)

    assert [cache.fetch("k", long), cache.fetch("k", long)] == [None, None]
    assert [cache.fetch("k", known), cache.fetch("k", known)] == ["1", "1"]
    assert source.reads == [long, long, known]
    assert len(cache) == 1
    cache.forget([known])
    source.records = {}
    assert cache.fetch("k", known) is None
    assert len(cache) == 0


def test_memory_alone_does_not_guess() -> None:
    """`recall` answers from memory or says that it cannot."""
    cache = make(Source(a="1").load)

    with pytest.raises(NotCached):
        cache.recall("k", "a")
    cache.fetch("k", "a")
    assert cache.recall("k", "a") == "1"


def test_a_change_is_read_again() -> None:
    """A change notice ends what memory holds: of a record, and of its absence."""
    source = Source(a="1")
    cache = make(source.load)
    cache.fetch("k", "a")
    cache.fetch("k", "b")

    source.records = {"b": "2"}
    cache.forget(["a", "b"])

    assert (cache.fetch("k", "a"), cache.fetch("k", "b")) == (None, "2")


def test_a_change_during_the_read_is_not_missed() -> None:
    """The notice may overtake the answer that it makes old: that answer is not kept."""
    source = Source(a="1")

    def load(kind: str, keys: Sequence[str]) -> list[str | None]:
        found = source.load(kind, keys)
        cache.forget([*keys])
        return found

    cache = make(load)

    cache.fetch("k", "a")

    with pytest.raises(NotCached):
        cache.recall("k", "a")


def test_a_flood_of_unknown_keys_evicts_no_known_one() -> None:
    """Misses have a small place of their own, and the whole stays bounded."""
    cache = make(Source(a="1").load)
    cache.fetch("k", "a")
    for number in range(1000):
        cache.fetch("k", f"x{number}")

    assert cache.recall("k", "a") == "1"
    assert len(cache) == 1 + 3


def test_the_oldest_record_goes_first() -> None:
    """A full cache drops what was used least lately."""
    source = Source(**{str(n): "v" for n in range(11)})
    cache = make(source.load)
    for number in range(10):
        cache.fetch("k", str(number))
    cache.recall("k", "0")
    cache.fetch("k", "10")

    assert cache.recall("k", "0") == "v"
    with pytest.raises(NotCached):
        cache.recall("k", "1")


def test_many_who_miss_cause_one_read() -> None:
    """A thundering herd is one read, and everybody gets its answer, however long that takes within
    the time limit of a call."""
    gate, waiting = threading.Event(), threading.Semaphore(0)
    source = Source(a="1")

    def load(kind: str, keys: Sequence[str]) -> list[str | None]:
        assert gate.wait(10)
        return source.load(kind, keys)

    cache = make(load, store=away(PATIENT))
    answers: list[Any] = []

    @contextmanager
    def counted() -> Iterator[None]:
        waiting.release()
        yield

    threads = [
        threading.Thread(target=lambda: answers.append(cache.fetch("k", "a", waiting=counted)))
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=10)
    gate.set()
    for thread in threads:
        thread.join(10)

    assert source.reads == ["a"]
    assert answers == ["1"] * 50


def test_who_comes_when_the_read_has_landed_does_not_read_again() -> None:
    """Memory could not say, and before it was asked to read somebody else had."""
    source = Source(a="1")
    cache = make(source.load)

    @contextmanager
    def slow() -> Iterator[None]:
        assert cache.fetch("k", "a") == "1"
        yield

    assert cache.fetch("k", "a", waiting=slow) == "1"
    assert source.reads == ["a"]


def test_a_failed_read_fails_for_all_who_waited_and_is_tried_again() -> None:
    """Nobody hangs on a read that failed, and the next one asks anew."""
    source = Source(a="1")
    cache = make(source.load)
    source.down = True
    with pytest.raises(StoreDown):
        cache.fetch("k", "a")

    source.down = False
    assert cache.fetch("k", "a") == "1"


def test_after_a_lost_link_everything_is_read_again() -> None:
    """Changes between two links were heard by nobody."""
    source, link = Source(a="1"), Link(1000)
    link.begin(time.monotonic())
    cache = make(source.load, link)
    cache.fetch("k", "a")

    link.lose()
    with pytest.raises(NotCached):
        cache.recall("k", "a")
    link.begin(time.monotonic())
    with pytest.raises(NotCached):
        cache.recall("k", "a")
    source.records = {}
    assert cache.fetch("k", "a") is None


def test_what_is_read_without_a_link_is_not_trusted_under_the_next() -> None:
    """A record read in the gap between two links may have changed in that gap."""
    source, link = Source(a="1"), Link(1000)
    link.begin(time.monotonic())
    link.lose()
    cache = make(source.load, link)
    cache.fetch("k", "a")

    link.begin(time.monotonic())

    with pytest.raises(NotCached):
        cache.recall("k", "a")


def test_silence_beyond_the_bound_is_loss() -> None:
    """Without a sign of life nothing is taken as current, whether or not an error was seen."""
    link = Link(bound=0.0)
    link.begin(time.monotonic())
    cache = make(Source(a="1").load, link)
    cache.fetch("k", "a")

    with pytest.raises(NotCached):
        cache.recall("k", "a")


@pytest.mark.parametrize(("stale_seconds", "served"), [(30.0, True), (0.0, False)])
def test_with_the_store_away_a_young_record_serves(stale_seconds: float, served: bool) -> None:
    """Up to the published age, and not at all in strict mode."""
    source, link = Source(a="1"), Link(1000)
    link.begin(time.monotonic())
    cache = make(source.load, link, stale_seconds=stale_seconds)
    cache.fetch("k", "a")
    link.lose()
    source.down = True

    if served:
        assert cache.fetch("k", "a") == "1"
    else:
        with pytest.raises(StoreDown):
            cache.fetch("k", "a")


def test_with_the_store_away_a_miss_is_not_served() -> None:
    """ "Unknown" is only ever the store's own, current word."""
    source, link = Source(), Link(1000)
    link.begin(time.monotonic())
    cache = make(source.load, link)
    assert cache.fetch("k", "x") is None
    link.lose()
    source.down = True

    with pytest.raises(StoreDown):
        cache.fetch("k", "x")


def test_a_record_is_held_for_as_long_as_it_would_be_recalled() -> None:
    """As an object: one that was read again is another."""
    source, link = Source(a="1"), Link(1000)
    link.begin(time.monotonic())
    cache = make(lambda kind, key: [source.load(kind, key)], link)
    one, other = cache.fetch("k", "a"), cache.fetch("k", "b")

    assert cache.holds(one)
    assert cache.holds(one, other)
    assert not cache.holds(one, ["1"])
    cache.forget(["a"])
    assert (cache.holds(one), cache.holds(other)) == (False, True)
    assert cache.fetch("k", "a") == one
    assert not cache.holds(one)
    assert cache.holds(cache.fetch("k", "a"))
    link.begin(time.monotonic())
    assert not cache.holds(other)


def test_what_is_pushed_out_is_not_held() -> None:
    """And nothing is kept of it; to be asked for counts as use."""
    cache = make(lambda kind, key: [key], size=3)
    kept = [cache.fetch("k", key) for key in "abc"]
    assert cache.holds(kept[0])
    kept.append(cache.fetch("k", "d"))

    assert [cache.holds(each) for each in kept] == [True, False, True, True]
    assert len(cache._entries) == len(cache) == 3


def test_silence_holds_nothing() -> None:
    """Beyond the bound, unless the store is known to be away and the record is young."""
    link = Link(bound=0.0)
    link.begin(time.monotonic())
    cache = make(lambda kind, key: [key], link)
    record = cache.fetch("k", "a")

    assert not cache.holds(record)


def test_the_collector_of_cycles_is_not_told_of_records() -> None:
    """Looking through a million of them would hold up every Check of a worker for a second."""
    seen: list[Any] = []  # what the collector looks for, and all that holds it
    consumer = Consumer("alice", labels={"a": "b"}, groups=("g",))
    credential = Credential("alice", "k", "hmac-auth", form=seen)
    secret = AppSecret(Recoverable(b"secret"))
    entry = Entry("name", seen, 1.0, 1, lambda: None)

    for made in (consumer, msgspec.structs.replace(consumer), credential, secret, entry):
        assert gc.is_tracked(seen)
        assert not gc.is_tracked(made)


def test_what_follows_from_a_record_goes_with_it() -> None:
    """Forgotten, pushed out or read again: in each case there is a new place, or none."""
    cache = make(lambda kind, key: [key], size=2)
    one = cache.fetch("k", "a")
    place = cache.beside(one)
    assert place == {}
    assert cache.beside(one) is place
    assert cache.beside(["a"]) is None
    cache.forget(["a"])
    assert cache.beside(one) is None
    again = cache.fetch("k", "a")
    assert cache.beside(again) is not place
    for key in "bc":
        cache.beside(cache.fetch("k", key))

    assert cache.beside(again) is None
    assert len(cache._beside) == 2
