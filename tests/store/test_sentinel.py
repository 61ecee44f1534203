"""A worker behind three real Sentinels, while the primary dies or is replaced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from authz.admin import credentials
from authz.contracts import StoreDown
from authz.store.keys import Keys
from tests.store.test_cluster import ALICE, BOB, PATIENT, asking, judge, linked, outcomes, unknown
from tests.support.cluster import ask
from tests.support.sentinels import Sentinels
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import Running, apply, catalog, running

KEYS = Keys("authz")


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Valkey]:
    made = Valkey(tmp_path, "--repl-diskless-sync-delay", "0")
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Valkey]:
    """A server beside the primary."""
    made = Valkey(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sentinels(tmp_path: Path, primary: Valkey, other: Valkey) -> Iterator[Sentinels]:
    apply(primary.url)
    made = Sentinels(tmp_path, primary)
    yield made
    made.close()


@pytest.fixture
def worker(sentinels: Sentinels) -> Iterator[Running]:
    with verified(sentinels) as worker:
        yield worker


@contextmanager
def verified(sentinels: Sentinels) -> Iterator[Running]:
    """A worker that has verified alice and bob."""
    with running(sentinels.url, store_timeout_ms=PATIENT) as worker:
        assert [worker.ask(each).outcome for each in (ALICE, BOB)] == ["allow", "allow"]
        yield worker


def beats(worker: Running, count: int) -> None:
    """Wait for so many signs of life."""
    store = worker.worker.store
    assert store is not None
    for _ in range(count):
        seen = store.link.seen
        until(lambda: store.link.seen > seen, "a sign of life")  # noqa: B023


def test_the_primary_dies(tmp_path: Path, primary: Valkey, other: Valkey) -> None:
    """Who is known goes on, a nonce is a fault, and the replica takes over: the link leads there,
    and what is revoked then is felt."""
    apply(primary.url)
    ask(other, "REPLICAOF", "127.0.0.1", primary.port)
    until(lambda: ask(other, "ROLE")[3] == b"connected", "the replica is in step")
    sentinels = Sentinels(tmp_path, primary, other)
    try:
        with verified(sentinels) as worker:
            fail_over(sentinels, worker, primary, other)
    finally:
        sentinels.close()


def fail_over(sentinels: Sentinels, worker: Running, primary: Valkey, replica: Valkey) -> None:
    assert worker.worker.store is not None
    waiting = worker.worker.store.waiting
    with asking(worker) as seen:
        primary.kill()
        with pytest.raises(StoreDown):
            waiting.within("").claim("nonce", 60)
        until(lambda: ("nobody", "fault") in outcomes(seen), "the fault is met")
        until(lambda: linked(replica), "the link leads to the new primary")
        back = len(seen)
        until(lambda: ("nobody", "deny") in outcomes(seen[back:]), "strangers are told")
        credentials.revoke(catalog(sentinels.url), ("", "bob"), "key")
        until(lambda: worker.ask(BOB).outcome == "deny", "the revocation is felt")
    judge(seen)
    assert waiting.within("").claim("nonce", 60)


def test_a_primary_that_is_not_the_primary_any_more(
    sentinels: Sentinels, primary: Valkey, other: Valkey, worker: Running
) -> None:
    """The old one is well and answers everybody, as if a partition parted it from the Sentinels:
    one Sentinel's word is not enough to leave it, that of two is."""
    apply(other.url)
    credentials.revoke(catalog(other.url), ("", "bob"), "key")
    sentinels.all[0].watch(other)
    beats(worker, 3)
    assert linked(primary)
    assert worker.ask(BOB).outcome == "allow"

    sentinels.all[1].watch(other)
    until(lambda: worker.ask(BOB).outcome == "deny", "the old primary is left")
    until(lambda: linked(other) and not linked(primary), "the link moved")
    assert worker.ask(ALICE).outcome == "allow"


def test_nobody_vouches_for_the_primary(
    sentinels: Sentinels, primary: Valkey, worker: Running
) -> None:
    """Without a majority of the Sentinels a primary that answers is asked nothing: who is known
    goes on for `stale_seconds`, all else is a fault, and it heals by itself."""
    store = worker.worker.store
    assert store is not None
    for sentinel in sentinels.all[1:]:
        sentinel.kill()
    until(lambda: store.redis.is_down(KEYS.epoch), "nobody vouches")
    assert not store.link.alive(time.monotonic())
    assert worker.ask(ALICE).outcome == "allow"
    assert worker.ask(unknown(1)) == ("fault", 503, "store_unreachable", "")

    sentinels.all[1].start()
    until(lambda: worker.ask(unknown(2)).outcome == "deny", "strangers are told")
    until(lambda: linked(primary), "the link is back")
