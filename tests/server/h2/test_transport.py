"""The default transport with the real service: health, reflection, overload, and its fallback."""

from __future__ import annotations

import json
import select
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from authz.config import Settings
from authz.contracts import Fault, NotCached
from authz.pb.external_auth_pb2 import CheckResponse
from authz.server import service as serving
from authz.server.decision_log import DecisionLog
from authz.server.grpcio_transport import Grpcio
from authz.server.h2.loop import Bounds
from authz.server.h2.transport import H2
from authz.server.metrics import CHECKS, Recorder
from authz.server.probe import probe
from authz.server.service import NAME, Engine, Service
from authz.server.transport import Transport, open_transport
from tests.support.checks import Seen, check
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import apply, running

Status = health_pb2.HealthCheckResponse
CHECK = f"/{NAME}/Check"


class Lines(DecisionLog):
    """A log in memory."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, line: Any) -> None:
        self.lines.append(line.line())


class Asked:
    """A transport with a service, and a client of it."""

    def __init__(self, transport: Transport, service: Service, directory: Path) -> None:
        self.transport, self.service = transport, service
        self.address = f"unix:{directory}/t.sock"
        transport.listen(self.address)
        self.channel = grpc.insecure_channel(self.address)
        self.check = self.channel.unary_unary(CHECK)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def close(self) -> None:
        self.channel.close()
        self.transport.stop(0)


@pytest.fixture(params=["h2", "grpcio"])
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    service = Service(Recorder(), Lines())
    settings = Settings(transport=request.param, reflection=True, max_message_bytes=65536)
    made = Asked(open_transport(settings, service), service, tmp_path)
    yield made
    made.close()


def test_the_one_that_is_set(asked: Asked, request: pytest.FixtureRequest) -> None:
    expected = {"h2": H2, "grpcio": Grpcio}[request.node.callspec.params["asked"]]
    assert isinstance(asked.transport, expected)


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
    reasons = [line["reason"] for line in asked.service._log.lines]  # type: ignore[attr-defined]
    assert reasons == ["not_ready", "not_a_check_request"]


# -- work that waits -------------------------------------------------------------------------------


class Slow:
    """Decisions that need the store, which answers when the gate is open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.asked = threading.Event(), threading.Semaphore(0)
        monkeypatch.setattr(serving, "decide", self._decide)

    def _decide(self, request: Any, routes: Any, lookups: Any) -> Any:
        if lookups == "memory":
            raise NotCached
        self.asked.release()
        assert self.gate.wait(20)
        raise Fault("store_timeout")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch)


def test_overload_is_a_fault_of_the_service(slow: Slow, tmp_path: Path) -> None:
    """503, `overloaded`: an `error_response`, never an allow; and one line a Check in any case."""
    log = Lines()
    service = Service(Recorder(), log)
    service.engine = Engine("routes", "memory", "waiting")  # type: ignore[arg-type]
    transport = H2(Settings(), service, Bounds(threads=2, waiting=4))
    asked = Asked(transport, service, tmp_path)
    message = check("/ip").SerializeToString()
    try:
        running = [asked.check.future(message, timeout=20) for _ in range(2)]
        for _ in range(2):
            assert slow.asked.acquire(timeout=10)
        queued = [asked.check.future(message, timeout=20) for _ in range(2)]
        until(lambda: transport._loop._pool.waiting == 4, "the queue is full")
        for _ in range(5):
            assert _seen(asked.check(message, timeout=10)) == Seen("fault", 503, "overloaded")
        queued[0].cancel()
        until(lambda: transport._loop._pool.waiting == 3, "one left")
        slow.gate.set()
        for call in (*running, queued[1]):
            assert _seen(call.result()) == Seen("fault", 503, "store_timeout")
    finally:
        slow.gate.set()
        asked.close()

    reasons = sorted(line["reason"] for line in log.lines)
    assert reasons == ["abandoned", *["overloaded"] * 5, *["store_timeout"] * 3]
    assert {line["outcome"] for line in log.lines} == {"fault"}


def _seen(answer: bytes) -> Seen:
    return Seen.of(CheckResponse.FromString(answer))


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
    service = Service(Recorder(), Lines())
    asked = Asked(open_transport(Settings(transport="h2"), service), service, tmp_path)
    try:
        assert isinstance(asked.transport, Grpcio)
        assert probe(asked.address, 5) == "NOT_SERVING"
        told = [record.message for record in caplog.records if "grpcio serves" in record.message]
        assert len(told) == 1
    finally:
        asked.close()
