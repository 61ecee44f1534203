"""The transport h2: the service, its health and its reflection on the loop."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from functools import partial

from google.protobuf.message import DecodeError
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection, reflection_pb2

from authz.config import Settings
from authz.server.h2.calls import INTERNAL, Caller, Failed, Method, Streaming, Unary
from authz.server.h2.health import NOT_SERVING, SERVING, Health
from authz.server.h2.loop import Bounds, Loop
from authz.server.h2.stream import Limits
from authz.server.service import NAME, Deferred, Service
from authz.server.tls import Certificates


class H2:
    """A `Transport`. Raises where the loop cannot run."""

    def __init__(
        self,
        settings: Settings,
        service: Service,
        certificates: Certificates | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._health = Health(("", NAME))
        self._draining = False
        methods: dict[bytes, Method] = {f"/{NAME}/Check".encode(): Check(service)}
        methods |= self._health.methods()
        if settings.reflection:
            names = (NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
            path = f"/{reflection.SERVICE_NAME}/ServerReflectionInfo"
            methods[path.encode()] = Streaming(Reflection(names))
        limits = Limits(message=settings.max_message_bytes)
        bounds = bounds or Bounds(threads=settings.threads, peer=limits)
        self._loop = Loop(methods, bounds, None if certificates is None else _context(certificates))

    def listen(self, address: str) -> int:
        return self._loop.listen(address)

    def serving(self) -> None:
        self._loop.call(partial(self._announce, SERVING))

    def drain(self) -> None:
        self._draining = True
        self._loop.call(partial(self._announce, NOT_SERVING))

    def _announce(self, status: int) -> None:
        # On the loop's thread, where one comes after the other.
        self._health.set(NOT_SERVING if self._draining else status)

    def stop(self, grace: float) -> None:
        self._loop.stop(grace)


def _context(certificates: Certificates) -> Callable[[], ssl.SSLContext]:
    return lambda: certificates.current(time.monotonic()).context


class Check(Unary):
    """From memory at once; else on a thread."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def answer(self, message: bytes) -> bytes | Deferred:
        return self._service.attempt(message)

    def finish(self, deferred: Deferred) -> bytes:
        return self._service.finish(deferred)

    def shed(self, deferred: Deferred) -> bytes:
        return self._service.shed(deferred)

    def drop(self, deferred: Deferred) -> None:
        self._service.drop(deferred)


class Reflection:
    """grpcio's servicer, message by message."""

    def __init__(self, names: Iterable[str]) -> None:
        self._servicer = reflection.ReflectionServicer(names)

    def __call__(self, _: Caller, message: bytes) -> Iterable[bytes]:
        try:
            asked = reflection_pb2.ServerReflectionRequest.FromString(message)
        except DecodeError:
            raise Failed(INTERNAL, "not a ServerReflectionRequest") from None
        for answer in self._servicer.ServerReflectionInfo(iter((asked,)), None):
            yield answer.SerializeToString()
