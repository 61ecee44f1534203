"""The portable transport: grpcio's thread-pool server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from authz.config import Settings
from authz.server.service import NAME, Service
from authz.server.transport import AddressInUse

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Grpcio:
    """A `Transport`."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._health = health.HealthServicer(
            experimental_non_blocking=True, experimental_thread_pool=ThreadPoolExecutor(2)
        )
        self._announce(NOT_SERVING)
        self._server = _server(settings)
        self._server.add_generic_rpc_handlers((_handler(service),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    def _announce(self, status: int) -> None:
        for name in ("", NAME):
            self._health.set(name, status)

    def listen(self, address: str) -> int:
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError:
            raise AddressInUse(f"{address} cannot be listened on; is it in use?") from None
        self._server.start()
        return int(port)

    def serving(self) -> None:
        self._announce(SERVING)

    def drain(self) -> None:
        self._health.enter_graceful_shutdown()

    def stop(self, grace: float) -> None:
        self._server.stop(grace).wait()


def _handler(service: Service) -> grpc.GenericRpcHandler:
    """Bytes, so that what does not parse is the service's to answer."""

    def check(message: bytes, _: grpc.ServicerContext) -> bytes:
        return service.check(message)

    method = grpc.unary_unary_rpc_method_handler(check)
    return grpc.method_handlers_generic_handler(NAME, {"Check": method})


def _server(settings: Settings) -> grpc.Server:
    options = [
        # Two servers on one port would share connections, not requests, and hide a mistake.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_metadata_size", 64 * 1024),
        # Envoy pings; the default counts that as abuse and closes the connection.
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
        ("grpc.http2.max_ping_strikes", 0),
    ]
    pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="check")
    return grpc.server(pool, options=options)
