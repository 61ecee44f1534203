"""gRPC's health protocol (grpc.health.v1): what we say of ourselves, and who is told of changes."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from authz.server.h2.calls import (
    EXHAUSTED,
    INTERNAL,
    NOT_FOUND,
    Caller,
    Failed,
    Method,
    Simple,
    Streaming,
)

SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
#: Who may watch at once, of all peers.
WATCHERS = 1024


class Health:
    """One status for all services of these names. On the loop's thread alone."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._status = NOT_SERVING
        self._watchers: dict[Caller, None] = {}

    def methods(self) -> dict[bytes, Method]:
        return {
            f"/{SERVICE}/Check".encode(): Simple(self._check),
            f"/{SERVICE}/Watch".encode(): Streaming(self._watch, endless=True),
        }

    def set(self, status: int) -> None:
        """Tell everybody who watches."""
        if status == self._status:
            return
        self._status = status
        self._forget_gone()
        for caller in self._watchers:
            caller.send(_answer(status))

    def _forget_gone(self) -> None:
        self._watchers = {caller: None for caller in self._watchers if not caller.gone}

    def _check(self, message: bytes) -> bytes:
        if _service(message) not in self._names:
            raise Failed(NOT_FOUND, "no such service")
        return _answer(self._status)

    def _watch(self, caller: Caller, message: bytes) -> list[bytes]:
        if caller in self._watchers:
            raise Failed(INTERNAL, "Watch takes one message")
        if _service(message) not in self._names:
            return [_answer(SERVICE_UNKNOWN)]
        if len(self._watchers) >= WATCHERS:
            self._forget_gone()
            if len(self._watchers) >= WATCHERS:
                raise Failed(EXHAUSTED, "too many watch")
        self._watchers[caller] = None
        return [_answer(self._status)]


def _service(message: bytes) -> str:
    try:
        return str(health_pb2.HealthCheckRequest.FromString(message).service)
    except DecodeError:
        raise Failed(INTERNAL, "not a HealthCheckRequest") from None


def _answer(status: int) -> bytes:
    return bytes(health_pb2.HealthCheckResponse(status=status).SerializeToString())
