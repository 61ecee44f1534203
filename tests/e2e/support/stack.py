"""Everything together: real Valkey, `authz serve`, Envoy, and an upstream that records."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpcore
import httpx

from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse
from authz.pb.external_auth_pb2_grpc import AuthorizationStub
from authz.server.probe import Trust, probe
from authz.stack import envoy
from authz.stack.envoy import Wiring
from authz.stack.processes import Child, Children
from tests.e2e.support import wire
from tests.e2e.support.recording import TAG, Received, Recorder
from tests.e2e.support.wire import Answer, Line
from tests.support.checks import Seen
from tests.support.valkey import Valkey, free_port
from tests.support.waiting import until
from tests.support.workers import RING, apply

#: Makes Envoy's configuration for some addresses.
Bootstrap = Callable[[Wiring], str]
ENVOY_WORKERS = 2


class Stack:
    """One Envoy with its authorizers. `addresses` are those that its cluster has."""

    def __init__(
        self,
        directory: Path,
        valkey: Valkey,
        children: Children,
        addresses: tuple[str, ...],
        url: str,
        trust: Trust | None,
    ) -> None:
        self.directory, self.valkey, self.children = directory, valkey, children
        self.recorder = Recorder(directory / "upstream.sock")
        self.store_url, self._trust = url, trust
        self.metrics_port = 0
        self.port = 0
        self.authz: dict[str, Child] = {}
        self.wiring = Wiring(
            listener="127.0.0.1:0",
            admin=f"unix:{directory}/admin.sock",
            authz=addresses,
            upstream=f"unix:{directory}/upstream.sock",
        )
        self._tags = itertools.count(1)
        self._ending = ExitStack()
        self._ending.callback(self.recorder.close)
        self._http2 = httpcore.ConnectionPool(http1=False, http2=True)
        self._ending.callback(self._http2.close)

    def close(self) -> None:
        """Let go of what this process itself holds."""
        self._ending.close()

    # -- starting ----------------------------------------------------------------------------------

    def start_authz(
        self, name: str = "authz", *flags: str, first: int = 0, workers: int = 2
    ) -> None:
        """`authz serve` on so many of the cluster's addresses, from the one with number `first`."""
        listen = self.wiring.authz[first]
        if workers > 1 and listen.startswith("unix:"):
            assert first == 0
            listen = f"unix:{self.directory}/worker-{{worker}}.sock"
        self.metrics_port = free_port()
        self.authz[name] = self.children.start(
            name,
            [
                *(sys.executable, "-m", "authz", "serve"),
                *("--listen", listen, "--workers", str(workers)),
                *("--metrics-listen", f"127.0.0.1:{self.metrics_port}"),
                *flags,
            ],
        )

    def start_envoy(self, bootstrap: Bootstrap) -> None:
        config = self.directory / "envoy.yaml"
        config.write_text(bootstrap(self.wiring))
        command = [*envoy.command(config), "--concurrency", str(ENVOY_WORKERS)]
        self.children.start("envoy", command)
        self.children.wait_for("Envoy", lambda: envoy.live(self.wiring.admin))
        [listener] = self.admin("/listeners?format=json")["listener_statuses"]
        self.port = listener["local_address"]["socket_address"]["port_value"]

    def until_serving(self) -> None:
        """Wait until every address of the cluster is served, also where Envoy does not check."""
        for address in self.wiring.authz:
            until(partial(self._is_serving, address), f"{address} serves", 60)

    def _is_serving(self, address: str) -> bool:
        return probe(address, 1, self._trust) == "SERVING"

    def until_workers(self, count: int, patience: float = 20.0) -> None:
        """Wait until Envoy holds so many authorizers to be healthy."""
        until(
            lambda: envoy.healthy(self.wiring.admin, "authz") == count,
            f"{count} healthy workers",
            patience,
        )

    # -- asking ------------------------------------------------------------------------------------

    def send(
        self,
        target: str = "/ip",
        *lines: Line,
        host: str = "api.test",
        method: str = "GET",
        body: bytes | None = None,
        http2: bool = False,
    ) -> tuple[Answer, Received | None]:
        """One request: the client's answer, and what the upstream received, if anything."""
        tag = f"one-{next(self._tags)}"
        tagged = (*lines, (TAG, tag))
        how: dict[str, Any] = {"host": host, "method": method, "body": body}
        if http2:
            answer = wire.ask_http2(self._http2, self.port, target, tagged, **how)
        else:
            answer = wire.ask(self.port, wire.written(target, tagged, **how))
        arrived = self.recorder.of(tag)
        assert len(arrived) <= 1
        return answer, arrived[0] if arrived else None

    def ask_each(self, request: CheckRequest) -> list[Seen]:
        """What every worker says, asked without Envoy."""
        return [Seen.of(_check(address, request)) for address in self.wiring.authz]

    def raw(self, request: bytes) -> Answer:
        return wire.ask(self.port, request)

    # -- looking -----------------------------------------------------------------------------------

    def admin(self, path: str) -> Any:
        """Envoy's own account of itself."""
        socket = self.wiring.admin.removeprefix("unix:")
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket)) as client:
            return client.get(f"http://admin{path}").json()

    def stat(self, name: str) -> int:
        """One of Envoy's counters; 0 while it has none of this name."""
        found = self.admin(f"/stats?format=json&filter=^{name}$")["stats"]
        return sum(each.get("value", 0) for each in found)

    def asked(self) -> dict[str, int]:
        """How often each of the cluster's addresses was asked."""
        [cluster] = [
            each
            for each in self.admin("/clusters?format=json")["cluster_statuses"]
            if each["name"] == "authz"
        ]
        return {
            str(host["address"]): int(stat.get("value", 0))
            for host in cluster["host_statuses"]
            for stat in host["stats"]
            if stat["name"] == "rq_total"
        }

    def log(self, name: str) -> str:
        """Everything that a process wrote."""
        return (self.directory / "logs" / f"{name}.log").read_text()

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The JSON lines among it."""
        return [json.loads(line) for line in self.log(name).splitlines() if line.startswith("{")]

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            return str(answer.read().decode())

    def pids(self, name: str = "authz") -> list[int]:
        """The workers of an `authz serve`, oldest first."""
        supervisor = self.authz[name].process.pid
        children = Path(f"/proc/{supervisor}/task").glob("*/children")
        return sorted(int(pid) for each in children for pid in each.read_text().split())

    def stop_authz(self, name: str = "authz", number: int = signal.SIGTERM) -> int:
        """Signal it, wait for its end, and return its exit status."""
        process = self.authz[name].process
        process.send_signal(number)
        return process.wait(timeout=20)


@contextmanager
def running(
    document: str,
    bootstrap: Bootstrap = envoy.render,
    store_url: Callable[[Valkey], str] = lambda valkey: valkey.url,
    env: Mapping[str, str] | None = None,
    apart: bool = False,
    serve: Callable[[Stack], None] = Stack.start_authz,
    trust: Trust | None = None,
    addresses: tuple[str, ...] = (),
) -> Iterator[Stack]:
    """A stack with this document and two workers, each of an `authz serve` of its own (`first` and
    `second`) if they are to be `apart`. `store_url` is where the workers find Valkey; `serve` may
    start others in their place, on these `addresses`; with `trust` they are probed over TLS."""
    with ExitStack() as ending:
        # Not tmp_path: it may be too deep for a Unix socket.
        name = ending.enter_context(tempfile.TemporaryDirectory(prefix="authz-e2e-"))
        directory = Path(name)
        valkey = Valkey(directory)
        ending.callback(valkey.close)
        apply(valkey.url, document)
        url = store_url(valkey)
        children = ending.enter_context(Children(directory / "logs", environment(url, env)))
        sockets = tuple(f"unix:{directory}/worker-{number}.sock" for number in range(2))
        stack = Stack(directory, valkey, children, addresses or sockets, url, trust)
        ending.callback(stack.close)
        if apart:
            stack.start_authz("first", first=0, workers=1)
            stack.start_authz("second", first=1, workers=1)
        else:
            serve(stack)
        stack.start_envoy(bootstrap)
        stack.until_serving()
        stack.until_workers(len(stack.wiring.authz))
        yield stack


def _check(address: str, request: CheckRequest) -> CheckResponse:
    with grpc.insecure_channel(address) as channel:
        answer: CheckResponse = AuthorizationStub(channel).Check(request, timeout=wire.PATIENCE)
        return answer


def environment(url: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, with this store and the tests' key ring, and none of the caller's settings but the
    transport (`pytest --transport`)."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AUTHZ_") or name == "AUTHZ_TRANSPORT"
    }
    ours = {
        "AUTHZ_REDIS_URL": url,
        "AUTHZ_KEYRING": RING,
        # Only a rolling restart needs the time in which Envoy hears that a worker is to end.
        "AUTHZ_DRAIN_SECONDS": "0",
        # On a busy machine a store in good health may take longer than the default allows it. That
        # is a lawful fault, and not what most tests are about.
        "AUTHZ_STORE_TIMEOUT_MS": "200",
    }
    return {**kept, **ours, **(env or {})}
