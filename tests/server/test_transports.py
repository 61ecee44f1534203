"""Both transports with the real service: what either must do, and which of them serves."""

from __future__ import annotations

import json
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from authz.config import Settings
from authz.server.grpcio_transport import Grpcio
from authz.server.h2.transport import H2
from authz.server.metrics import CHECKS, Recorder
from authz.server.probe import probe
from authz.server.service import NAME, Service
from authz.server.transport import AddressInUse, open_transport
from tests.support.checks import Seen, check
from tests.support.transports import BOTH, MESSAGE, Asked, Lines, Slow, asking, ended, seen
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import apply, running

Status = health_pb2.HealthCheckResponse
Code = grpc.StatusCode
#: Threads of each transport here.
THREADS = 2


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def asked(kind: str, tmp_path: Path) -> Iterator[Asked]:
    with asking(kind, tmp_path, reflection=True, max_message_bytes=65536, threads=THREADS) as made:
        yield made


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch)


def test_the_one_that_is_set(asked: Asked, kind: str) -> None:
    assert isinstance(asked.transport, {"h2": H2, "grpcio": Grpcio}[kind])


def test_several_addresses(kind: str, tmp_path: Path) -> None:
    """A Unix socket and a port at once; all or none."""
    socket = f"unix:{tmp_path}/t.sock"
    with asking(kind, tmp_path, address=f"{socket},127.0.0.1:0") as asked:
        port = asked.address.rpartition(":")[2]
        for address in (socket, f"127.0.0.1:{port}"):
            assert probe(address, 10) == "NOT_SERVING"
        other = open_transport(Settings(transport=kind), asked.service)
        with pytest.raises(AddressInUse, match=f"127.0.0.1:{port} cannot be listened on"):
            other.listen(f"unix:{tmp_path}/other.sock,127.0.0.1:{port}")
        other.stop(0)


def test_the_default_is_the_fast_one() -> None:
    assert isinstance(open_transport(Settings(), Service(Recorder(), Lines())), H2)


def test_health(asked: Asked) -> None:
    """NOT_SERVING, SERVING, and NOT_SERVING for good; of the server, and of the service."""
    assert probe(asked.address, 5) == "NOT_SERVING"
    asked.transport.serving()
    until(lambda: probe(asked.address, 5) == "SERVING", "it serves")
    assert asked.health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == Status.SERVING
    asked.transport.drain()
    until(lambda: probe(asked.address, 5) == "NOT_SERVING", "it drains")
    asked.transport.serving()
    assert probe(asked.address, 5) == "NOT_SERVING"


def test_health_watched(asked: Asked) -> None:
    """Every change is told at once."""
    watch = asked.health.Watch(health_pb2.HealthCheckRequest(service=NAME), timeout=20)
    assert next(watch).status == Status.NOT_SERVING
    asked.transport.serving()
    assert next(watch).status == Status.SERVING
    asked.transport.drain()
    assert next(watch).status == Status.NOT_SERVING
    watch.cancel()


def test_health_of_another_service(asked: Asked) -> None:
    request = health_pb2.HealthCheckRequest(service="no.such")
    with pytest.raises(grpc.RpcError) as caught:
        asked.health.Check(request, timeout=5)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    watch = asked.health.Watch(request, timeout=5)
    assert next(watch).status == Status.SERVICE_UNKNOWN
    watch.cancel()


def test_reflection(asked: Asked) -> None:
    """Services, and the file of one."""
    Request = reflection_pb2.ServerReflectionRequest
    questions = [Request(list_services=""), Request(file_containing_symbol=NAME)]
    stub = reflection_pb2_grpc.ServerReflectionStub(asked.channel)
    names, file = stub.ServerReflectionInfo(iter(questions), timeout=5)

    assert NAME in {each.name for each in names.list_services_response.service}
    assert b"external_auth" in file.file_descriptor_response.file_descriptor_proto[0]


def test_the_largest_message(asked: Asked) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        asked.check(bytes(65537), timeout=5)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_not_ready_and_no_check(asked: Asked) -> None:
    """Faults of the service's own, one line each."""
    for message in (check("/ip").SerializeToString(), b"\xff\xff"):
        asked.check(message, timeout=5)
    reasons = [line["reason"] for line in asked.lines]
    assert reasons == ["not_ready", "not_a_check_request"]


# -- work that waits -------------------------------------------------------------------------------


def test_a_deadline(asked: Asked, slow: Slow) -> None:
    """Ends a call that waits for the store, and one that waits for its turn; the latter never
    runs."""
    slow.at(asked.service)
    running = [asked.check.future(MESSAGE, timeout=0.5) for _ in range(THREADS)]
    slow.until_asked(THREADS)
    queued = [asked.check.future(MESSAGE, timeout=0.5) for _ in range(2)]

    assert [ended(call) for call in (*running, *queued)] == [Code.DEADLINE_EXCEEDED] * 4
    # The server is told on the same connection, before this is asked.
    asked.health.Check(health_pb2.HealthCheckRequest(), timeout=20)
    slow.gate.set()
    assert seen(asked.check(MESSAGE, timeout=10)) == Seen("fault", 503, "store_timeout")
    assert not slow.asked.acquire(blocking=False) or not slow.asked.acquire(blocking=False)


def test_cancelled_calls(asked: Asked, slow: Slow) -> None:
    """One that waits for its turn never runs; the others get their answers."""
    slow.at(asked.service)
    running = [asked.check.future(MESSAGE, timeout=20) for _ in range(THREADS)]
    slow.until_asked(THREADS)
    queued = [asked.check.future(MESSAGE, timeout=20) for _ in range(4)]
    for call in queued:
        call.cancel()
    assert {ended(call) for call in queued} == {Code.CANCELLED}
    # They are told on the same connection, before this is asked.
    asked.health.Check(health_pb2.HealthCheckRequest(), timeout=20)
    last = asked.check.future(MESSAGE, timeout=20)
    slow.gate.set()

    assert [seen(call.result()).reason for call in (*running, last)] == ["store_timeout"] * 3
    slow.until_asked(1)
    assert not slow.asked.acquire(blocking=False)


def test_a_drain(asked: Asked, slow: Slow) -> None:
    """What was asked is answered; nothing new is taken; then nobody is there."""
    slow.at(asked.service)
    call = asked.check.future(MESSAGE, timeout=20)
    slow.until_asked(1)
    asked.transport.drain()
    stopping = threading.Thread(target=asked.transport.stop, args=(20,))
    stopping.start()

    def refused() -> bool:
        with grpc.insecure_channel(asked.address) as channel:
            other = channel.unary_unary("/x/Y").future(b"", timeout=5)
            return bool(ended(other) == Code.UNAVAILABLE)

    until(refused, "nothing new is taken")
    slow.gate.set()
    assert seen(call.result()).reason == "store_timeout"
    stopping.join(20)
    assert not stopping.is_alive()


def test_a_drain_ends_with_its_grace(asked: Asked, slow: Slow) -> None:
    """Though something is still in flight."""
    slow.at(asked.service)
    call = asked.check.future(MESSAGE, timeout=20)
    slow.until_asked(1)
    started = time.monotonic()
    asked.transport.stop(0.2)
    assert time.monotonic() - started < 5
    assert ended(call) in (Code.UNAVAILABLE, Code.CANCELLED)
    slow.gate.set()


def test_one_line_and_one_count_a_check(store: Valkey) -> None:
    """Whether memory sufficed or the store was asked."""
    apply(store.url)
    asked = [
        check("/ip", ("apikey", "alice-key")),
        check("/ip", ("apikey", "alice-key")),
        check("/ip", ("apikey", "wrong")),
        check("/ip"),
    ]
    with running(store.url) as client:
        before = _counted(client.worker._recorder)
        for request in asked:
            client.ask(request)
        until(lambda: client.log.read_text().count("\n") >= len(asked), "the log is written")
        counted = _counted(client.worker._recorder) - before
        lines = [json.loads(line) for line in client.log.read_text().splitlines()]

    assert counted == len(asked)
    assert [line["reason"] for line in lines] == [
        "allowed",
        "allowed",
        "invalid_key",
        "missing_key",
    ]


def _counted(recorder: Recorder) -> int:
    recorder.flush()
    [family] = CHECKS.collect()
    return sum(int(each.value) for each in family.samples if each.name.endswith("_total"))


# -- where it cannot start -------------------------------------------------------------------------


def test_without_epoll_grpcio_serves(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    propagate: None,
    tmp_path: Path,
) -> None:
    """By itself, with one line in the log."""
    monkeypatch.delattr(select, "epoll")
    with asking("h2", tmp_path) as asked:
        assert isinstance(asked.transport, Grpcio)
        assert probe(asked.address, 5) == "NOT_SERVING"
    told = [record.message for record in caplog.records if "grpcio serves" in record.message]
    assert len(told) == 1
