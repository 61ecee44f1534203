"""The portable transport: grpcio's thread-pool server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from authz.config import Settings
from authz.server.service import NAME, Deferred, Service
from authz.server.tls import Certificates, Loaded
from authz.server.transport import WAITING, AddressInUse

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
#: Seconds for a handshake, of TLS and HTTP/2.
HANDSHAKE = 10.0
#: Calls of any kind at once; gRPC itself refuses more, before their messages are read.
MOST = 1024
#: Threads for what is not a Check, so that health is told while Checks wait.
OTHERS = 4


class Grpcio:
    """A `Transport`."""

    def __init__(
        self, settings: Settings, service: Service, certificates: Certificates | None = None
    ) -> None:
        self._health = health.HealthServicer(
            experimental_non_blocking=True, experimental_thread_pool=ThreadPoolExecutor(2)
        )
        self._announce(NOT_SERVING)
        self._certificates = certificates
        self.threads = Threads(settings.threads, WAITING)
        self._server = _server(settings)
        self._server.add_generic_rpc_handlers((_handler(service, self.threads),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    def _announce(self, status: int) -> None:
        for name in ("", NAME):
            self._health.set(name, status)

    def listen(self, address: str) -> int:
        ports = [self._add(each) for each in address.split(",")]
        self._server.start()
        return ports[-1]

    def _add(self, address: str) -> int:
        try:
            if self._certificates is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, _credentials(self._certificates))
        except RuntimeError:
            raise AddressInUse(f"{address} cannot be listened on; is it in use?") from None
        return 0 if address.startswith("unix:") else int(port)

    def serving(self) -> None:
        self._announce(SERVING)

    def drain(self) -> None:
        self._health.enter_graceful_shutdown()

    def stop(self, grace: float) -> None:
        self._server.stop(grace).wait()
        self.threads.shutdown(wait=False)


class Threads(ThreadPoolExecutor):
    """Threads for so many Checks, waiting or running. What is too much comes to one more thread,
    `spare`, where nothing may wait: so it is answered at once, by a refusal if need be."""

    def __init__(self, threads: int, most: int) -> None:
        super().__init__(threads, thread_name_prefix="check")
        self._left = threading.Semaphore(most)
        self._here = threading.local()
        self._spare = ThreadPoolExecutor(1, "spare", initializer=self._mark)

    def _mark(self) -> None:
        self._here.spare = True

    @property
    def spare(self) -> bool:
        """Whether the caller runs on the thread that may not wait."""
        return getattr(self._here, "spare", False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self._left.acquire(blocking=False):
            return self._spare.submit(fn, *args, **kwargs)
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(lambda _: self._left.release())
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._spare.shutdown(wait, cancel_futures=cancel_futures)


def _handler(service: Service, threads: Threads) -> grpc.GenericRpcHandler:
    """Bytes, so that what does not parse is the service's to answer."""

    def check(message: bytes, _: grpc.ServicerContext) -> bytes:
        answer = service.attempt(message)
        if not isinstance(answer, Deferred):
            return answer
        return service.shed(answer) if threads.spare else service.finish(answer)

    check.experimental_thread_pool = threads  # type: ignore[attr-defined]
    method = grpc.unary_unary_rpc_method_handler(check)
    return grpc.method_handlers_generic_handler(NAME, {"Check": method})


def _server(settings: Settings) -> grpc.Server:
    options = [
        # Two servers on one port would share connections, not requests, and hide a mistake.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.server_handshake_timeout_ms", int(HANDSHAKE * 1000)),
        # Envoy pings; the default counts that as abuse and closes the connection.
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
        ("grpc.http2.max_ping_strikes", 0),
    ]
    others = ThreadPoolExecutor(OTHERS, thread_name_prefix="other")
    return grpc.server(others, options=options, maximum_concurrent_rpcs=MOST)


def _credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Of the newest files: gRPC asks for them at every handshake."""
    used = certificates.current(time.monotonic())

    def newer() -> Any:
        nonlocal used
        loaded = certificates.current(time.monotonic())
        if loaded is used:
            return None
        used = loaded
        return _configuration(loaded)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(used), newer, require_client_authentication=used.client_ca is not None
    )


def _configuration(loaded: Loaded) -> Any:
    return grpc.ssl_server_certificate_configuration(
        [(loaded.key, loaded.cert)], root_certificates=loaded.client_ca
    )
