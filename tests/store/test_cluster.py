"""A worker on a real cluster of six nodes, which fail over and give slots away under it."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis.crc import key_slot

from authz.admin import credentials
from authz.admin.catalog import Silent
from authz.contracts import StoreDown
from authz.pb.external_auth_pb2 import CheckRequest
from authz.quotas import Quota
from authz.store.keys import Keys
from authz.store.redis import RedisStore, Writes
from authz.store.target import Target
from authz.values import Deny, Once
from tests.store.test_redis import TIMEOUT, store_at
from tests.support.checks import check
from tests.support.cluster import Cluster, ask
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import Running, apply, catalog, running

KEYS = Keys("authz")
#: A crowded test machine is no reason for a fault.
PATIENT = 300
REPLAY = Deny("replayed", 401, "")
ALICE, BOB = (check("/ip", ("apikey", f"{name}-key")) for name in ("alice", "bob"))


def unknown(number: int) -> CheckRequest:
    return check("/ip", ("apikey", f"unknown-{number}"))


def beside_the_records(name: str) -> str:
    """A nonce in the slot of the records."""
    slot = key_slot(KEYS.nothing.encode())
    nonces = (f"{name}-{number}" for number in itertools.count())
    return next(n for n in nonces if key_slot(KEYS.nonce("", n).encode()) == slot)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture
def worker(cluster: Cluster) -> Iterator[Running]:
    """One that has verified alice and bob."""
    apply(cluster.url)
    with running(cluster.url, store_timeout_ms=PATIENT) as worker:
        assert [worker.ask(each).outcome for each in (ALICE, BOB)] == ["allow", "allow"]
        yield worker


def linked(node: Valkey) -> bool:
    """Whether a worker's link leads to it: a connection that hears of changes."""
    lines = ask(node, "CLIENT", "LIST").decode().splitlines()
    fields = (dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines)
    return any(each["name"] == "authz" and "B" in each["flags"] for each in fields)


def revoke(cluster: Cluster, name: str) -> None:
    credentials.revoke(catalog(cluster.url), ("", name), "key")


#: Who asked, the outcome and its reason.
Told = tuple[str, str, str]


@contextmanager
def asking(worker: Running) -> Iterator[list[Told]]:
    """Asks, as long as the block lasts, for somebody known and for strangers."""
    seen: list[Told] = []
    stopped = threading.Event()

    def run() -> None:
        number = 0
        while not stopped.wait(0.005):
            number += 1
            for who, request in (("alice", ALICE), ("nobody", unknown(number))):
                answer = worker.ask(request)
                seen.append((who, answer.outcome, answer.reason))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        stopped.set()
        thread.join()


def outcomes(seen: list[Told]) -> set[tuple[str, str]]:
    return {(who, outcome) for who, outcome, _ in seen}


def judge(seen: list[Told]) -> None:
    """Alice was verified a moment ago and stays let in; a stranger is never, and is called unknown
    only by a store that answers."""
    assert {outcome for who, outcome, _ in seen if who == "alice"} == {"allow"}
    assert {outcome for who, outcome, _ in seen if who == "nobody"} <= {"deny", "fault"}


def test_records_in_one_slot_and_nonces_in_all(cluster: Cluster, worker: Running) -> None:
    """A revocation is felt through the link to the records' node; nonces are spread over all
    primaries, and each is had once."""
    assert worker.ask(unknown(1)).outcome == "deny"
    revoke(cluster, "bob")
    until(lambda: worker.ask(BOB).outcome == "deny", "the revocation is felt")
    assert worker.ask(ALICE).outcome == "allow"

    assert worker.worker.store is not None
    lookup = worker.worker.store.waiting
    assert [lookup.within("").claim(f"n{n}", 60) for n in range(30)] == [True] * 30
    assert [lookup.within("").claim(f"n{n}", 60) for n in range(30)] == [False] * 30
    held = {node.port: len(ask(node, "KEYS", "authz~nonce:*")) for node in cluster.nodes[:3]}
    assert sum(held.values()) == 30
    assert all(held.values()), held


def test_limits_in_one_slot_of_their_own(cluster: Cluster, worker: Running) -> None:
    """Exactly so many, from several threads; a replay takes nothing, and what is refused may be
    sent again, though nonces are elsewhere."""
    store = worker.worker.store
    assert store is not None
    waiting, let_in = store.waiting, []
    hour, day = Quota("service/s/hour", 20, 3_600_000), Quota("consumer/c/day", 50, 86_400_000)

    def run(thread: int) -> None:
        for number in range(12):
            once = Once(f"limit-{thread}-{number}", 60, REPLAY)
            let_in.append(not waiting.within("").spend([day, hour], [once]).refused)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(let_in) == 20
    lookup, used, fresh = (
        waiting.within(""),
        *(Once(f"limit-{name}", 60, REPLAY) for name in ("0-0", "fresh")),
    )
    assert [lookup.spend([day], each).replayed for each in ([used], [fresh, used])] == [0, 1]
    [standing] = lookup.spend([day], [fresh]).standings
    assert standing is not None
    assert standing.remaining == 29
    held = [len(ask(node, "KEYS", "authz~nonce:*limit-*")) for node in cluster.nodes[:3]]
    assert sum(held) == 21
    assert all(held)


def test_a_primary_dies(cluster: Cluster, worker: Running) -> None:
    """Who is known goes on, a nonce that cannot be recorded is a fault, and once the replica has
    taken over everything is as before: the link leads there, and what is revoked then is felt."""
    records = cluster.owner(KEYS.nothing)
    cluster.replica_of(records)
    nonce = beside_the_records("dies")
    assert worker.worker.store is not None
    waiting = worker.worker.store.waiting
    try:
        with asking(worker) as seen:
            records.kill()
            with pytest.raises(StoreDown):
                waiting.within("").claim(nonce, 60)
            until(lambda: ("nobody", "fault") in outcomes(seen), "the fault is met")
            promoted = cluster.owner(KEYS.nothing)
            back = len(seen)
            until(lambda: linked(promoted), "the link leads to the new primary")
            until(lambda: ("nobody", "deny") in outcomes(seen[back:]), "strangers are told")
            revoke(cluster, "bob")
            until(lambda: worker.ask(BOB).outcome == "deny", "the revocation is felt")
        judge(seen)
        assert waiting.within("").claim(nonce, 60)
    finally:
        records.start()


def test_a_primary_steps_down(cluster: Cluster, worker: Running) -> None:
    """It keeps its connections, and answers as a replica does: the link leaves it."""
    before = cluster.owner(KEYS.nothing)
    until(lambda: linked(before), "the link is there")
    informed = RedisStore(Target(cluster.url), PATIENT / 1000, Silent())
    informed.read([KEYS.nothing])
    with asking(worker) as seen:
        ask(cluster.replica_of(before), "CLUSTER", "FAILOVER")
        until(lambda: cluster.owner(KEYS.nothing) is not before, "another one has the records")
        after = cluster.owner(KEYS.nothing)
        until(lambda: linked(after) and not linked(before), "the link moved")
        # A transaction, too, follows to where the keys are.
        informed.transaction("{authz}~g", None, {"{authz}~g": b"1"}, Writes("{authz}~s"))
        assert informed.read(["{authz}~g"]) == [b"1"]
        revoke(cluster, "bob")
        until(lambda: worker.ask(BOB).outcome == "deny", "the revocation is felt")
    judge(seen)


def test_the_records_slot_moves(cluster: Cluster, worker: Running) -> None:
    """Key after key (ASK, TRYAGAIN), then the slot itself (MOVED). Meanwhile nothing remembered
    counts as current, because no single node hears of all changes; everything is read instead."""
    slot = key_slot(KEYS.nothing.encode())
    source = cluster.owner(KEYS.nothing)
    target = next(n for n in cluster.alive if n is not source and ask(n, "ROLE")[0] == b"master")
    nonce = beside_the_records("moves")
    store = worker.worker.store
    assert store is not None
    with asking(worker) as seen:
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ask(source, "CLUSTER", "MYID"))
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ask(target, "CLUSTER", "MYID"))
        until(lambda: not store.link.alive(time.monotonic()), "the link counts as lost")
        keys = ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 100)
        for number, key in enumerate(keys):
            ask(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
            began = len(seen)
            until(lambda: ("nobody", "deny") in outcomes(seen[began:]), f"{number + 1} moved")  # noqa: B023
        assert [store.waiting.within("").claim(nonce, 60) for _ in "ab"] == [True, False]
        assert not store.link.alive(time.monotonic())
        with pytest.raises(StoreDown):
            revoke(cluster, "bob")
        assert worker.ask(BOB).outcome == "allow"
        for node in (target, source):
            ask(node, "CLUSTER", "SETSLOT", slot, "NODE", ask(target, "CLUSTER", "MYID"))
        until(lambda: linked(target), "the link leads to the new owner")
        revoke(cluster, "bob")
        until(lambda: worker.ask(BOB).outcome == "deny", "the revocation is felt")
    judge(seen)
    assert store.waiting.within("").claim(nonce, 60) is False


def test_nodes_that_swallow_everything() -> None:
    """Who has which slot is not found out on requests' time: all together they wait for one search
    no longer than one of them may wait for a call of the store."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = store_at(f"redis+cluster://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        for _ in range(40):
            with pytest.raises(StoreDown, match="store_timeout"):
                store.read(["k"])
        assert time.monotonic() - started < 20 * TIMEOUT
        assert store.is_down("k")


def test_a_server_that_is_no_node(store: Valkey) -> None:
    """The message says so, and what to write."""
    with pytest.raises(StoreDown) as caught:
        list(store_at(f"redis+cluster://127.0.0.1:{store.port}").changes("{x}:", "{x}:n", 1))
    assert "is no node of a cluster" in caught.value.detail
