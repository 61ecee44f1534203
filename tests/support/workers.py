"""A worker inside the test's process, on a real store, asked over real gRPC."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from authz import document
from authz.admin import plan as planning
from authz.admin.catalog import Catalog
from authz.config import read
from authz.pb.external_auth_pb2 import CheckRequest
from authz.pb.external_auth_pb2_grpc import AuthorizationStub
from authz.secrets import KeyRing
from authz.server.decision_log import DecisionLog
from authz.server.worker import Worker
from authz.store.target import Target
from tests.support.checks import Seen
from tests.support.waiting import until

#: A key ring for tests: 32 bytes of nothing in particular.
RING = "t1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER_RING = "t2:HxwdHhscGRobFxgZFhUUExIREA8ODQwLCgkIBwYFBAM="

DEMO = """
services:
  - id: api
    auth: {any: [{key-auth: {}}, {basic-auth: {}}]}
consumers:
  - username: alice
    credentials:
      - {id: key, key-auth: {key: alice-key}}
      - {id: web, basic-auth: {username: alice, password: alice-password}}
  - username: bob
    credentials:
      - {id: key, key-auth: {key: bob-key}}
"""


def catalog(url: str, ring: str = RING) -> Catalog:
    return Catalog(Target(url), "authz", KeyRing.parse(ring))


def apply(url: str, text: str = DEMO, ring: str = RING) -> None:
    """What `authz apply` does."""
    store = catalog(url, ring)
    planning.apply(store, planning.plan(document.parse(text), store, time.time()))


class Running:
    """A worker and a client of it."""

    def __init__(self, worker: Worker, address: str, log: Path) -> None:
        self.worker = worker
        self.address = address
        self.log = log
        self._channel = grpc.insecure_channel(address)
        self._stub = AuthorizationStub(self._channel)

    def ask(self, request: CheckRequest) -> Seen:
        return Seen.of(self.answer(request))

    def answer(self, request: CheckRequest) -> Any:
        return self._stub.Check(request, timeout=10, wait_for_ready=True)

    def begin(self, request: CheckRequest) -> Any:
        """Ask without waiting: the answer is the `result()` of what is returned."""
        return self._stub.Check.future(request, timeout=10, wait_for_ready=True)

    def until_ready(self) -> None:
        until(lambda: self.worker.ready, "the worker is ready")
        store = self.worker.store
        assert store is not None
        until(lambda: store.link.alive(time.monotonic()), "the link is up")

    def close(self) -> None:
        self._channel.close()


@contextmanager
def running(
    url: str,
    *,
    ready: bool = True,
    keyring: str | None = RING,
    clock: Callable[[], float] = time.time,
    **flags: Any,
) -> Iterator[Running]:
    """A worker on a Unix socket of its own; its decisions go to a file."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        # On a busy machine a store in good health may take longer than the default allows it. That
        # is a lawful fault, and not what most tests are about.
        usual = {"store_timeout_ms": 200, "transport": os.environ.get("AUTHZ_TRANSPORT")}
        flags = {**usual, **flags}
        settings = read({"redis_url": url, "drain_seconds": 0, **flags}, {}, None)
        path = directory / "decisions.log"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        log = DecisionLog(descriptor)
        worker = Worker(settings, log=log, keyring=keyring, clock=clock)
        address = f"unix:{directory}/worker.sock"
        worker.start(address)
        client = Running(worker, address, path)
        try:
            if ready:
                client.until_ready()
            yield client
        finally:
            client.close()
            worker.stop(1)
            log.close()
            os.close(descriptor)
