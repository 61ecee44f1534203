"""A real Envoy with our configuration, the echo upstream, and an authorizer that says what a test
tells it to: the real one never sends the answers that Envoy must be guarded against."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from authz.pb import external_auth_pb2 as pb
from authz.pb.external_auth_pb2_grpc import (
    AuthorizationServicer,
    add_AuthorizationServicer_to_server,
)
from authz.stack import envoy, ports
from authz.stack.processes import Children

SERVICE = "envoy.service.auth.v3.Authorization"
UPSTREAM = ["-m", "authz.stack.upstream", "--listen"]
Answer = Callable[[pb.CheckRequest], pb.CheckResponse]


class Scripted(AuthorizationServicer):
    """An authorizer that answers with `answer` and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: pb.CheckResponse()
        self.asked: list[pb.CheckRequest] = []

    def Check(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:
        self.asked.append(request)
        return self.answer(request)

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """The headers of the last request, as Envoy told them."""
        found = self.asked[-1].attributes.request.http.header_map.headers
        return [(each.key, each.raw_value) for each in found]

    @property
    def path(self) -> str:
        return self.asked[-1].attributes.request.http.path

    @contextmanager
    def serving(self, address: str) -> Iterator[None]:
        """Listen there, healthy, until the end of the block."""
        server = grpc.server(ThreadPoolExecutor(4))
        add_AuthorizationServicer_to_server(self, server)
        servicer = health.HealthServicer()
        servicer.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        assert server.add_insecure_port(address)
        server.start()
        try:
            yield
        finally:
            server.stop(0).wait()


class Gateway:
    """One running Envoy in front of two authorizer addresses."""

    def __init__(self, sockets: Path, children: Children) -> None:
        self.children, self.directory = children, sockets
        self.port = ports.choose(0, "--port")
        self.wiring = envoy.Wiring(
            listener=f"127.0.0.1:{self.port}",
            admin=f"unix:{sockets}/admin.sock",
            authz=(f"unix:{sockets}/worker-0.sock", f"unix:{sockets}/worker-1.sock"),
            upstream=f"unix:{sockets}/upstream.sock",
        )
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        config = self.directory / "envoy.yaml"
        config.write_text(envoy.render(self.wiring))
        self.children.start("upstream", [sys.executable, *UPSTREAM, self.wiring.upstream])
        self.children.start("envoy", envoy.command(config))
        self.children.wait_for("upstream", lambda: ports.answers(self.wiring.upstream))
        self.children.wait_for("Envoy", lambda: envoy.live(self.wiring.admin))

    def wait_for_authz(self, workers: int) -> None:
        self.children.wait_for(
            "authz", lambda: envoy.healthy(self.wiring.admin, "authz") == workers
        )

    def access_log(self) -> list[dict[str, Any]]:
        """What Envoy has written so far; it writes in the background."""
        text = (self.directory / "logs" / "envoy.log").read_text().splitlines()
        return [json.loads(line) for line in text if line.startswith("{")]


@pytest.fixture(scope="module")
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture(scope="module")
def alone() -> Iterator[Gateway]:
    """Envoy and the upstream, and nobody at the authorizer's addresses."""
    # Not tmp_path: it may be too deep for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="authz-test-") as directory:
        place = Path(directory)
        with Children(place / "logs") as children:
            gateway = Gateway(place, children)
            gateway.start()
            yield gateway


@pytest.fixture(scope="module")
def gateway(alone: Gateway, scripted: Scripted) -> Iterator[Gateway]:
    """The same with one authorizer; the second address stays dead."""
    with scripted.serving(alone.wiring.authz[0]):
        alone.wait_for_authz(1)
        yield alone


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=10) as client:
        yield client
