"""Either transport with the real service, and grpcio's own client of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc

from authz.config import read
from authz.contracts import Fault, NotCached
from authz.pb.external_auth_pb2 import CheckResponse
from authz.server import service as serving
from authz.server.decision_log import DecisionLog
from authz.server.metrics import Recorder
from authz.server.probe import Trust, connect
from authz.server.service import NAME, Engine, Service
from authz.server.transport import Transport, open_transport
from tests.support.checks import Seen, check

CHECK = f"/{NAME}/Check"
BOTH = ("h2", "grpcio")
MESSAGE = check("/ip").SerializeToString()


class Lines(DecisionLog):
    """A log in memory."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, line: Any) -> None:
        self.lines.append(line.line())


class Asked:
    """A transport with a service that has no policy, and a client of it."""

    def __init__(
        self, transport: Transport, service: Service, address: str, trust: Trust | None = None
    ) -> None:
        self.transport, self.service = transport, service
        port = transport.listen(address)
        self.address = f"{address.rpartition(':')[0]}:{port}" if port else address
        self.channel = connect(self.address, trust)
        self.check = self.channel.unary_unary(CHECK)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was logged."""
        log = self.service._log
        assert isinstance(log, Lines)
        return log.lines

    def close(self) -> None:
        self.channel.close()
        self.transport.stop(0)


@contextmanager
def asking(
    kind: str,
    directory: Path,
    *,
    address: str = "",
    trust: Trust | None = None,
    **settings: Any,
) -> Iterator[Asked]:
    """A running one, on a Unix socket if nothing else is said."""
    service = Service(Recorder(), Lines())
    transport = open_transport(read({"transport": kind, **settings}, {}, None), service)
    made = Asked(transport, service, address or f"unix:{directory}/t.sock", trust)
    try:
        yield made
    finally:
        made.close()


class Slow:
    """Decisions that need the store, which answers when the gate is open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.asked = threading.Event(), threading.Semaphore(0)
        monkeypatch.setattr(serving, "decide", self._decide)

    def at(self, service: Service) -> None:
        service.engine = Engine("routes", "memory", "waiting")  # type: ignore[arg-type]

    def until_asked(self, count: int) -> None:
        for _ in range(count):
            assert self.asked.acquire(timeout=10)

    def _decide(self, request: Any, routes: Any, lookups: Any, *_: object) -> Any:
        if lookups == "memory":
            raise NotCached
        self.asked.release()
        assert self.gate.wait(20)
        raise Fault("store_timeout")


def seen(answer: bytes) -> Seen:
    """Of an answer's octets."""
    return Seen.of(CheckResponse.FromString(answer))


def ended(call: Any) -> grpc.StatusCode:
    """How a call ended."""
    try:
        call.result()
    except grpc.RpcError as error:
        return error.code()
    except grpc.FutureCancelledError:
        return grpc.StatusCode.CANCELLED
    return grpc.StatusCode.OK
