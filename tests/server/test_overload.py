"""More Checks than can be answered in time: each is a fault, none an allow, and nothing grows."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from authz.pb.external_auth_pb2 import CheckRequest
from authz.server.grpcio_transport import Grpcio
from authz.server.h2.transport import H2
from authz.server.probe import probe
from authz.server.transport import WAITING, Transport
from tests.support.checks import Seen, check
from tests.support.transports import BOTH, CHECK, MESSAGE, Slow, asking, ended, seen
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import Running, apply, running

THREADS = 2
OVERLOADED = Seen("fault", 503, "overloaded")
ALICE = check("/ip", ("apikey", "alice-key"))


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def waiting(transport: Transport) -> int:
    """Checks that wait for a thread or run on one."""
    if isinstance(transport, H2):
        return transport._loop._pool.waiting
    assert isinstance(transport, Grpcio)
    return WAITING - transport.threads._left._value


def test_what_finds_no_room_is_shed_at_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the service's own, counted and logged once; the others get their answers."""
    slow = Slow(monkeypatch)
    with asking(kind, tmp_path, threads=THREADS) as asked:
        slow.at(asked.service)
        held = [asked.check.future(MESSAGE, timeout=20) for _ in range(WAITING)]
        slow.until_asked(THREADS)
        until(lambda: waiting(asked.transport) == WAITING, "there is no room")
        shed = [asked.check.future(MESSAGE, timeout=20) for _ in range(30)]

        assert {seen(call.result()) for call in shed} == {OVERLOADED}
        assert waiting(asked.transport) == WAITING
        slow.gate.set()
        assert {seen(call.result()).reason for call in held} == {"store_timeout"}
        until(lambda: waiting(asked.transport) == 0, "there is room again")
        reasons = Counter(line["reason"] for line in asked.lines)
    assert reasons == {"overloaded": 30, "store_timeout": WAITING}


def test_memory_decides_while_there_is_no_room(store: Valkey, kind: str) -> None:
    """A credential that is known passes while those that are not are shed; health is told too."""
    apply(store.url)
    with running(store.url, transport=kind, threads=THREADS, store_timeout_ms=1000) as client:
        assert client.ask(ALICE).outcome == "allow"
        store.freeze()
        try:
            calls = flood(client, WAITING + 50, timeout=5.0)
            until(lambda: any(call.done() for call in calls), "some are shed")
            assert client.ask(ALICE).outcome == "allow"
            assert probe(client.address, 10) == "SERVING"
        finally:
            store.thaw()
        assert_no_way_in(calls)


numbers = itertools.count()


def unknown() -> CheckRequest:
    return check("/ip", ("apikey", f"unknown-{next(numbers)}"))


def flood(client: Running, count: int, timeout: float) -> list[Any]:
    ask = client._channel.unary_unary(CHECK)
    return [ask.future(unknown().SerializeToString(), timeout=timeout) for _ in range(count)]


def assert_no_way_in(calls: list[Any]) -> Counter[str]:
    """How they ended: an answer is a fault or, once the store is back, a denial."""
    ends: Counter[str] = Counter()
    for call in calls:
        end = ended(call)
        if end == grpc.StatusCode.OK:
            answer = seen(call.result())
            assert answer.outcome in ("fault", "deny"), answer
            ends[answer.reason] += 1
        else:
            assert end == grpc.StatusCode.DEADLINE_EXCEEDED
            ends["late"] += 1
    return ends


def test_a_flood_while_the_store_hangs(own_valkey: Valkey, kind: str) -> None:
    """Far more than there is room for, again and again: all end by their deadline, what waits is
    bounded, and when the store is back everybody is served."""
    apply(own_valkey.url)
    # The breaker is kept out of it: a store that is slow, and not away, is the worst.
    with running(own_valkey.url, transport=kind, threads=THREADS, store_timeout_ms=1000) as client:
        transport = client.worker._transport
        highest, ends = 0, Counter[str]()
        own_valkey.freeze()
        try:
            for _ in range(2):
                calls = flood(client, WAITING + 300, timeout=1.5)
                while not all(call.done() for call in calls):
                    highest = max(highest, waiting(transport))
                ends += assert_no_way_in(calls)
        finally:
            own_valkey.thaw()
        print(f"{kind}: {dict(ends)}, {highest} waited at once")
        assert highest <= WAITING
        assert sum(ends.values()) == 2 * (WAITING + 300)
        assert ends["overloaded"] > 0
        until(lambda: waiting(transport) == 0, "nothing waits")
        until(lambda: client.ask(unknown()).reason == "invalid_key", "the store is back")
        until(lambda: client.ask(ALICE).outcome == "allow", "all is well")
        assert probe(client.address, 10) == "SERVING"
