"""A real store and a real worker, to which one case's document after the other is applied."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import yaml

from authz import document
from authz.access.guessing import Guesses
from authz.admin import plan as planning
from authz.admin.catalog import Catalog
from authz.config import Settings
from authz.pb.external_auth_pb2 import CheckResponse
from authz.plain import DocumentError
from authz.secrets import KeyRing
from authz.server.decision_log import DecisionLog, Line
from authz.server.worker import Worker
from authz.store.target import Target
from tests.conformance import direct
from tests.conformance.case import Answer, Plain, Refusal, Sent
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import RING

NAMESPACE = "conformance"
_CHECK = "/envoy.service.auth.v3.Authorization/Check"
_CREDENTIAL = re.compile(r"consumers\[(\d+)\]\.credentials\[(\d+)\]")


class Decisions(DecisionLog):
    """Keeps the lines instead of writing them."""

    def __init__(self) -> None:
        self.lines: list[Mapping[str, Any]] = []

    def write(self, line: Line) -> None:
        self.lines.append(line.line())

    def close(self) -> None:
        pass


class Bench:
    """What a case is tried on. `socket` is where the worker listens; `now` freezes its clock."""

    def __init__(self) -> None:
        self._ending = ExitStack()
        # Not pytest's directory: it may be too deep for a Unix socket.
        self.directory = Path(self._ending.enter_context(_directory()))
        self.valkey = Valkey(self.directory)
        self._ending.callback(self.valkey.close)
        self.now: float | None = None
        #: Why credentials of the document in force were left out of it (see `prepare`).
        self.left_out: list[str] = []
        self.decisions = Decisions()
        self._catalog = Catalog(Target(self.valkey.url), NAMESPACE, KeyRing.parse(RING))
        self._revision = 0
        self._applied: Plain | None = None
        self._start()

    def _start(self) -> None:
        # A machine that is busy with other tests must not look like a store that is away.
        settings = Settings(
            redis_url=self.valkey.url, namespace=NAMESPACE, store_timeout_ms=1000, threads=4
        )
        self.worker = Worker(settings, log=self.decisions, keyring=RING, clock=self._clock)
        self._ending.callback(self.worker.stop, 0)
        self.socket = f"unix:{self.directory}/worker.sock"
        self.worker.start(self.socket)
        self.apply({"services": []})
        channel = grpc.insecure_channel(self.socket)
        self._ending.callback(channel.close)
        self._check = channel.unary_unary(_CHECK)

    def close(self) -> None:
        self._ending.close()

    def _clock(self) -> float:
        return time.time() if self.now is None else self.now

    # -- documents ---------------------------------------------------------------------------------

    def judge(self, plain: Plain) -> str | None:
        """Why this document would be refused, or None."""
        try:
            self._plan(plain)
        except DocumentError as error:
            return str(error)
        return None

    def _plan(self, plain: Plain) -> planning.Plan:
        text = yaml.dump(plain, Dumper=yaml.CSafeDumper, allow_unicode=False)
        return planning.plan(document.parse(text), self._catalog, time.time())

    def apply(self, plain: Plain) -> None:
        """Put this document in force, and forget earlier requests. Raises `DocumentError`."""
        if plain != self._applied:
            self._revision += 1
            # Makes every document another one, so that the worker's new policy is a sign that it
            # heard of all that changed with it. `.invalid` is nobody's host (RFC 6761).
            marker = {"id": "revision", "hosts": [f"r{self._revision}.invalid"]}
            made = self._plan({**plain, "services": [*plain["services"], marker]})
            before = self.worker.service.engine
            planning.apply(self._catalog, made)
            until(lambda: self.worker.service.engine is not before, "the policy is in force")
            self._applied = plain
        self._forget_requests()

    def _forget_requests(self) -> None:
        """Nonces and counters of the case before: all that is not a record."""
        self.worker.service.guesses = Guesses()
        client = self.valkey.client()
        records = self._catalog.keys.records.encode()
        memory = [key for key in client.scan_iter() if not key.startswith(records)]
        if memory:
            client.delete(*memory)
        client.close()

    def prepare(self, plain: Plain, refusal: Refusal) -> str | None:
        """Apply as the case wants it; the text of the refusal, where the case takes one."""
        before = self._catalog.version()
        self.left_out = []
        while True:
            try:
                self.apply(plain)
            except DocumentError as error:
                # All or nothing: what was refused has changed nothing.
                assert self._catalog.version() == before
                if refusal in ("error", "fine"):
                    return str(error)
                place = _CREDENTIAL.search(str(error))
                if refusal != "leave-out" or place is None:
                    raise
                self.left_out.append(str(error))
                plain = _without(plain, int(place[1]), int(place[2]))
            else:
                return None

    # -- requests ----------------------------------------------------------------------------------

    def ask(self, sent: Sent) -> Answer:
        """A real gRPC Check."""
        try:
            response = self._check(direct.message(sent), timeout=10, wait_for_ready=True)
        except grpc.RpcError as error:
            return direct.failed(error)
        decided = self.decisions.lines[-1]["outcome"]
        return direct.answer(sent, CheckResponse.FromString(response), decided)


def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="authz-cases-")


def _without(plain: Plain, consumer: int, credential: int) -> Plain:
    consumers = [dict(each) for each in plain["consumers"]]
    kept = [
        each
        for number, each in enumerate(consumers[consumer]["credentials"])
        if number != credential
    ]
    consumers[consumer]["credentials"] = kept
    return {**plain, "consumers": consumers}
