"""Limits that several processes keep together in one store: to the request."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from authz.admin.catalog import Silent
from authz.contracts import NotCached, StoreDown
from authz.quotas import Quota, Spent
from authz.store.counters import Counters
from authz.store.keys import Keys
from authz.store.redis import RedisStore
from authz.store.target import Target
from authz.values import Deny, Once
from tests.support.valkey import Valkey

HOUR = 3_600_000
WORKERS, THREADS = 3, 2
REPLAY = Deny("replayed", 401, "")


class Told(Silent):
    """Counts what the observer hears, and the store's calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.limits: Counter[tuple[str, str]] = Counter()

    def store(self, seconds: float, error: str | None) -> None:
        self.calls += 1

    def limited(self, service: str, limit: str, result: str) -> None:
        self.limits[limit, result] += 1


class Worker:
    """One process's counters, with a clock that the test moves."""

    def __init__(self, url: str) -> None:
        self.told, self.now = Told(), 1000.0
        self.store = RedisStore(Target(url), 5.0, self.told)
        self.counters = Counters(self.store, Keys("authz"), self.told, lambda: self.now)

    def spend(self, *quotas: Quota, nonce: str = "") -> Spent:
        return self.counters.spend("", quotas, self.onces(nonce))

    def recall(self, *quotas: Quota, nonce: str = "") -> Spent:
        return self.counters.recall("", quotas, self.onces(nonce))

    @staticmethod
    def onces(nonce: str) -> list[Once]:
        return [Once(nonce, 60, REPLAY)] if nonce else []


@pytest.fixture
def workers(store: Valkey) -> Iterator[list[Worker]]:
    made = [Worker(store.url) for _ in range(WORKERS)]
    yield made
    for worker in made:
        worker.store.close()


@pytest.fixture
def worker(workers: list[Worker]) -> Worker:
    return workers[0]


def hammer(workers: list[Worker], times: int, act: Callable[[Worker, int], Spent]) -> int:
    """How many of `times` requests by each of several threads of each worker were let in."""
    let_in: list[int] = []
    ready = threading.Barrier(len(workers) * THREADS)

    def run(worker: Worker, thread: int) -> None:
        ready.wait()
        let_in.append(sum(not act(worker, thread * times + n).refused for n in range(times)))

    threads = [threading.Thread(target=run, args=(w, n)) for w in workers for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(let_in) == len(threads)
    return sum(let_in)


@pytest.mark.parametrize(
    "quota", [Quota("w", 50, HOUR), Quota("b", 1, HOUR, 50)], ids=["window", "bucket"]
)
def test_exactly_so_many(workers: list[Worker], quota: Quota) -> None:
    """However many ask at once."""
    assert hammer(workers, 40, lambda worker, _: worker.spend(quota)) == 50


def test_of_two_limits_the_tighter_decides(workers: list[Worker]) -> None:
    """And takes nothing from the other: that lets in exactly the rest."""
    tight, wide = Quota("tight", 20, HOUR), Quota("wide", 50, HOUR)
    assert hammer(workers, 20, lambda worker, _: worker.spend(wide, tight)) == 20
    assert hammer(workers, 20, lambda worker, _: worker.spend(wide)) == 30


def test_nonces_and_limits_at_once(workers: list[Worker]) -> None:
    """Every nonce comes from every worker at the same moment: each counts once, none twice."""
    quota = Quota("w", 40, HOUR)
    assert hammer(workers, 15, lambda worker, n: worker.spend(quota, nonce=f"n{n}")) == 30
    assert hammer(workers, 15, lambda worker, n: worker.spend(quota, nonce=f"m{n}")) == 10


def test_what_a_limit_refuses_may_be_sent_again(worker: Worker) -> None:
    """Its nonce is not used up; a replay is told as one, and takes nothing."""
    full, wide = Quota("full", 1, HOUR), Quota("wide", 2, HOUR)
    assert not worker.spend(full).refused
    assert worker.spend(full, nonce="n").replayed is None
    assert not worker.spend(wide, nonce="n").refused
    assert [worker.spend(wide, nonce="n").replayed for _ in range(3)] == [0, 0, 0]
    [standing] = worker.spend(wide, nonce="m").standings
    assert standing is not None
    assert (standing.remaining, standing.wait) == (0, 0)


# -- leased ----------------------------------------------------------------------------------------

LEASED = Quota("l", 100, HOUR, lease=10)


def test_a_leased_limit_errs_by_less_than_a_share_each(workers: list[Worker]) -> None:
    """Never more than the limit, however many ask at once."""
    let_in = hammer(workers, 60, lambda worker, _: worker.spend(LEASED))
    assert 100 - WORKERS * 9 <= let_in <= 100


def test_a_share_is_served_from_memory(workers: list[Worker]) -> None:
    """Nine of ten; what one worker holds another does not get."""
    one, other, _ = workers
    quota = Quota("l", 20, HOUR, lease=10)
    with pytest.raises(NotCached):
        one.recall(quota)
    assert not one.spend(quota).refused
    calls = one.told.calls
    assert [one.recall(quota).refused for _ in range(8)] == [False] * 8
    assert [other.spend(quota).refused for _ in range(11)] == [False] * 10 + [True]
    assert not one.recall(quota).refused
    assert one.told.calls == calls
    assert one.spend(quota).refused
    assert one.told.limits["", "allowed"] == 10


def test_a_process_never_has_more_than_one_share(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes while one is fetched gets one request, and no share."""
    fetch = worker.store.evaluate
    others: list[Any] = []

    def evaluate(*args: Any) -> Any:
        answer = fetch(*args)
        if not others:
            others.append(None)
            others.extend(worker.spend(LEASED) for _ in "ab")
        return answer

    monkeypatch.setattr(worker.store, "evaluate", evaluate)
    worker.spend(LEASED)
    assert [other.refused for other in others[1:]] == [False, False]
    [look] = worker.counters.look("", [LEASED]).standings
    assert look is not None
    assert look.remaining == 100 - 10 - 2 - 1
    assert [worker.recall(LEASED).refused for _ in range(9)] == [False] * 9
    with pytest.raises(NotCached):
        worker.recall(LEASED)
    # What the first of them fetched, another may fetch anew.
    worker.spend(LEASED)
    assert not worker.recall(LEASED).refused


def test_a_share_ends_with_its_window(worker: Worker) -> None:
    """By this process's clock, from before it asked: it takes nothing into the next window."""
    quota = Quota("l", 100, HOUR, lease=10)
    worker.spend(quota)
    worker.now += HOUR / 1000 - 0.01
    assert not worker.recall(quota).refused
    worker.now += 0.01
    with pytest.raises(NotCached):
        worker.recall(quota)


def test_a_share_is_given_back_when_another_limit_refuses(worker: Worker) -> None:
    """It serves as many as it would have."""
    tight = Quota("tight", 1, HOUR)
    assert not worker.spend(LEASED, tight).refused
    # A refusal that is remembered, and one that is asked for.
    assert [worker.spend(LEASED, tight).refused for _ in range(2)] == [True, True]
    assert [worker.recall(LEASED).refused for _ in range(9)] == [False] * 9
    with pytest.raises(NotCached):
        worker.recall(LEASED)


def test_a_share_serves_beside_an_exact_limit(worker: Worker) -> None:
    """It is taken from as well, and the store is asked for the other alone."""
    exact = Quota("w", 50, HOUR)
    assert [worker.spend(LEASED, exact).refused for _ in range(10)] == [False] * 10
    with pytest.raises(NotCached):
        worker.recall(LEASED)
    looks = worker.counters.look("", [LEASED, exact]).standings
    assert [look.remaining for look in looks if look is not None] == [89, 39]


def test_a_nonce_is_never_served_from_memory(worker: Worker) -> None:
    worker.spend(LEASED)
    with pytest.raises(NotCached):
        worker.recall(LEASED, nonce="n")
    assert not worker.spend(LEASED, nonce="n").refused
    assert worker.spend(LEASED, nonce="n").replayed == 0


# -- used up ---------------------------------------------------------------------------------------


def test_a_flood_of_refused_requests_costs_the_store_nothing(worker: Worker) -> None:
    """What is used up stays so until the window's end; then the store is asked again."""
    quota = Quota("w", 1, HOUR, limit="limit")
    worker.spend(quota)
    with pytest.raises(NotCached):
        worker.recall(quota)
    assert worker.spend(quota).refused
    calls = worker.told.calls
    assert all(worker.recall(quota, nonce="n").refused for _ in range(50))
    assert worker.told.calls == calls
    assert worker.told.limits == {("limit", "allowed"): 1, ("limit", "refused"): 51}
    worker.now += HOUR / 1000
    with pytest.raises(NotCached):
        worker.recall(quota)


def test_a_limit_that_is_raised_is_asked_for(worker: Worker) -> None:
    """What was used up under the old one says nothing of the new."""
    assert [worker.spend(Quota("w", 1, HOUR)).refused for _ in "ab"] == [False, True]
    assert not worker.spend(Quota("w", 2, HOUR)).refused


def test_a_bucket_is_asked_each_time(worker: Worker) -> None:
    """It fills meanwhile."""
    bucket = Quota("b", 1, HOUR, 1)
    assert [worker.spend(bucket).refused for _ in "ab"] == [False, True]
    with pytest.raises(NotCached):
        worker.recall(bucket)


def test_a_store_that_dies(own_valkey: Valkey) -> None:
    """What was leased serves on, all else is a fault, and a new store counts from nothing."""
    worker, exact = Worker(own_valkey.url), Quota("w", 1, HOUR, limit="limit")
    worker.spend(LEASED)
    own_valkey.kill()
    assert not worker.spend(LEASED).refused
    for _ in "ab":
        with pytest.raises(StoreDown):
            worker.spend(LEASED, exact)
    assert worker.told.limits["limit", "away"] == 2
    own_valkey.start()
    worker.store.reopen("k")
    assert not worker.spend(exact).refused
    assert [worker.recall(LEASED).refused for _ in range(8)] == [False] * 8
    worker.store.close()
