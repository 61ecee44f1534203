"""What the benchmark compares with: servers that answer every Check with one and the same allow.

`python -m authz.bench.nothing bare|TRANSPORT ADDRESS`. `bare` is a stock grpcio server as its
manual writes one: a thread pool, messages parsed and written by the generated code, and an answer
that is made just once. The others are our transports without the service behind them.
"""

from __future__ import annotations

import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

from authz.bench.people import FIRST
from authz.config import Settings
from authz.pb.base_pb2 import HeaderValueOption
from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse
from authz.pb.external_auth_pb2_grpc import (
    AuthorizationServicer,
    add_AuthorizationServicer_to_server,
)
from authz.server.service import Service
from authz.server.transport import Transport, open_transport

BARE = "bare"
#: Threads of the bare server: grpcio's examples have ten.
THREADS = 10


def allow() -> CheckResponse:
    """An allow of about the size of ours."""
    answer = CheckResponse()
    answer.status.code = 0
    told = {"consumer": FIRST, "credential": "key", "scheme": "key-auth", "reason": "allowed"}
    for name in ("x-consumer-username", "x-credential-identifier", "x-consumer-groups"):
        option = answer.ok_response.headers.add()
        option.header.key, option.header.value = name, FIRST
        option.append_action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    answer.ok_response.headers_to_remove.append("x-consumer-custom-id")
    answer.dynamic_metadata.update(told)
    return answer


class Bare(AuthorizationServicer):
    """As anybody would write it."""

    def __init__(self) -> None:
        self._answer = allow()

    def Check(self, request: CheckRequest, context: grpc.ServicerContext) -> CheckResponse:  # noqa: N802
        return self._answer


class Nothing(Service):
    """In the service's place: bytes in, always the same bytes out."""

    def __init__(self) -> None:
        self._answer = allow().SerializeToString()

    def attempt(self, message: bytes) -> bytes:
        return self._answer

    def check(self, message: bytes) -> bytes:
        return self._answer


def serve_bare(address: str) -> grpc.Server:
    server = grpc.server(ThreadPoolExecutor(THREADS))
    add_AuthorizationServicer_to_server(Bare(), server)
    server.add_insecure_port(address)
    server.start()
    return server


def serve_nothing(transport: str, address: str) -> Transport:
    made = open_transport(Settings(transport=transport), Nothing())
    made.listen(address)
    made.serving()
    return made


def main(kind: str, address: str) -> None:
    """Serve until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Held until the end: a grpcio server that nobody holds stops.
    server = serve_bare(address) if kind == BARE else serve_nothing(kind, address)
    stop.wait()
    del server


if __name__ == "__main__":
    main(*sys.argv[1:])
