"""`authz serve` as an operator starts it: a process of its own, with workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from authz.pb.external_auth_pb2 import CheckRequest
from authz.pb.external_auth_pb2_grpc import AuthorizationStub
from authz.server.probe import probe
from tests.support.checks import Seen
from tests.support.valkey import free_port
from tests.support.waiting import until
from tests.support.workers import RING


class Serving:
    """The running command."""

    def __init__(
        self, directory: Path, url: str, *flags: str, workers: int = 2, port: int = 0
    ) -> None:
        self.directory = directory
        listen = f"unix:{directory}/worker-{{worker}}.sock"
        self.addresses = [listen.format(worker=number) for number in range(workers)]
        if port:
            listen = f"{listen},127.0.0.1:{port}"
            self.addresses += [f"127.0.0.1:{port + number}" for number in range(workers)]
        self.metrics_port = free_port()
        self._out = (directory / "out.log").open("wb")
        self._err = (directory / "err.log").open("wb")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "authz", "serve", "--redis-url", url),
                *("--listen", listen),
                *("--workers", str(workers)),
                *("--metrics-listen", f"127.0.0.1:{self.metrics_port}"),
                *flags,
            ],
            env={**os.environ, "AUTHZ_KEYRING": RING, "AUTHZ_DRAIN_SECONDS": "0.3"},
            stdout=self._out,
            stderr=self._err,
        )

    def until_ready(self) -> None:
        for address in self.addresses:
            until(partial(self._is_serving, address), f"{address} serves")

    @staticmethod
    def _is_serving(address: str) -> bool:
        return probe(address, 1) == "SERVING"

    def ask(self, request: CheckRequest, worker: int = 0) -> Seen:
        """One Check on a connection of its own."""
        with grpc.insecure_channel(self.addresses[worker]) as channel:
            stub = AuthorizationStub(channel)
            return Seen.of(stub.Check(request, timeout=10, wait_for_ready=True))

    def worker_pids(self) -> list[int]:
        """The workers that live now, by the kernel's word."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                except OSError:
                    continue
                if int(stat.rpartition(")")[2].split()[1]) == self.process.pid:
                    found.append(int(entry.name))
        return found

    def metrics(self) -> dict[str, float]:
        """Every sample, by its name with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def decisions(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "out.log").read_text().splitlines()]

    def messages(self) -> str:
        return (self.directory / "err.log").read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the command and wait for its end."""
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop()
        self._out.close()
        self._err.close()


@contextmanager
def serving(
    url: str, *flags: str, workers: int = 2, ready: bool = True, port: int = 0
) -> Iterator[Serving]:
    """`authz serve` on Unix sockets in a directory of its own; also from this port on."""
    with tempfile.TemporaryDirectory() as name:
        command = Serving(Path(name), url, *flags, workers=workers, port=port)
        try:
            if ready:
                command.until_ready()
            yield command
        finally:
            command.close()
