"""The cache under a flood of unknown names, and secrets that have several names."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from authz.admin.catalog import Silent
from authz.contracts import NotCached, Overloaded, StoreDown
from authz.store.cache import Cache
from authz.store.unknown import Allowance
from tests.support.caches import Source, linked, make


def flood(cache: Cache, kind: str = "k") -> int:
    """Ask for unknown names until one is refused. How many were asked of the store."""
    for number in range(1000):
        try:
            cache.fetch(kind, f"x{number}")
        except Overloaded:
            return number
    raise AssertionError("nothing is refused")


def frozen(per_second: float) -> Allowance:
    """One that never fills again."""
    return Allowance(per_second, lambda: 0.0)


class Refusals(Silent):
    def __init__(self) -> None:
        self.kinds: list[str] = []

    def refused(self, kind: str) -> None:
        self.kinds.append(kind)


def test_a_flood_is_refused_and_known_records_are_served() -> None:
    """What is beyond the allowance is not asked of the store: it is no "unknown", but a fault."""
    source, observer = Source(a="1"), Refusals()
    cache = make(source.load, allowance=frozen(8), observer=observer)
    cache.fetch("k", "a")

    asked = flood(cache)

    with pytest.raises(Overloaded, match="too_many_unknown"):
        cache.fetch("k", "y")
    assert len(source.reads) == 1 + asked
    assert asked <= 8
    assert observer.kinds == ["k", "k"]
    assert cache.recall("k", "a") == "1"


def test_what_was_known_is_asked_for_in_a_flood() -> None:
    """After a lost link, or when it changed, a record is read again, whatever strangers do."""
    source, link = Source(a="1", b="1"), linked()
    cache = make(source.load, link, allowance=frozen(8))
    cache.fetch("k", "a")
    cache.fetch("k", "b")
    flood(cache)

    link.lose()
    link.begin(time.monotonic())
    assert cache.fetch("k", "a") == "1"
    source.records = {"b": "2"}
    cache.forget(["a", "b"])
    assert [cache.fetch("k", "a"), cache.fetch("k", "b")] == [None, "2"]
    cache.forget(["a"])
    with pytest.raises(Overloaded):
        cache.fetch("k", "a")


def test_a_changed_record_is_gone_when_the_store_is_away() -> None:
    """That it was known is remembered, and not what it was."""
    source = Source(a="1")
    cache = make(source.load)
    cache.fetch("k", "a")
    cache.forget(["a"])
    source.down = True

    with pytest.raises(NotCached):
        cache.recall("k", "a")
    with pytest.raises(StoreDown):
        cache.fetch("k", "a")


def test_what_was_never_known_leaves_nothing_when_it_changes() -> None:
    """Most changes concern what this process never saw."""
    cache = make(Source().load)
    cache.forget(["a", "b"])

    assert len(cache) == 0


def test_a_failed_read_is_not_charged() -> None:
    """A store that is away says nothing about what is there."""
    source = Source(a="1")
    cache = make(source.load, allowance=frozen(1))
    source.down = True
    for _ in range(20):
        with pytest.raises(StoreDown):
            cache.fetch("k", "a")
    source.down = False

    assert cache.fetch("k", "a") == "1"


# -- secrets that have several names ---------------------------------------------------------------


def test_all_names_are_read_at_once() -> None:
    """The first that is there counts; one read, whether or not it is."""
    source = Source(old="1", new="2", x="3")
    cache = make(source.load)

    assert cache.fetch("k", "absent", "old") == "1"
    assert cache.fetch("k", "absent", "old") == "1"
    assert cache.fetch("k", "new", "x") == "2"
    assert cache.fetch("k", "no", "nothing") is None
    assert cache.fetch("k", "no", "nothing") is None
    assert source.reads == ["absent old", "new x", "no nothing"]


def test_a_change_of_any_name_is_felt() -> None:
    """A secret moves to its newer name, and goes from its older one."""
    source = Source(old="1")
    cache = make(source.load)
    cache.fetch("k", "new", "old")

    source.records["new"] = "2"
    cache.forget(["new"])
    assert cache.fetch("k", "new", "old") == "2"
    source.records = {}
    cache.forget(["new", "old"])
    assert cache.fetch("k", "new", "old") is None


def test_a_change_of_any_name_during_the_read_is_not_missed() -> None:
    """Also of one that was not there."""
    source = Source(old="1")

    def load(kind: str, keys: Sequence[str]) -> list[str | None]:
        found = source.load(kind, keys)
        cache.forget(["new"])
        return found

    cache = make(load)
    cache.fetch("k", "new", "old")

    with pytest.raises(NotCached):
        cache.recall("k", "old")


def test_a_flood_costs_a_secret_under_an_older_name_nothing() -> None:
    """That it has no newer one is remembered beside it, and not among the misses."""
    source = Source(old="1")
    cache = make(source.load)
    cache.fetch("k", "new", "old")
    for number in range(1000):
        cache.fetch("k", f"x{number}")
    source.reads.clear()

    assert cache.fetch("k", "new", "old") == "1"
    assert source.reads == []


def test_with_the_store_away_a_young_record_under_an_older_name_serves() -> None:
    """It was verified as lately as any other."""
    source, link = Source(old="1"), linked()
    cache = make(source.load, link)
    cache.fetch("k", "new", "old")
    link.lose()
    source.down = True

    assert cache.fetch("k", "new", "old") == "1"


def test_with_the_store_away_a_newer_name_that_changed_ends_the_older() -> None:
    """What was written under it, perhaps to suspend it, nobody can say."""
    source = Source(old="1")
    cache = make(source.load)
    cache.fetch("k", "new", "old")
    cache.forget(["new"])
    source.down = True

    with pytest.raises(StoreDown):
        cache.fetch("k", "new", "old")
