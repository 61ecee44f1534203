"""Prometheus metrics of all workers together, over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from authz.server.metrics import SEEN

AGE = "authz_invalidation_age_seconds"


class _Ages:
    """How long ago the workers heard from the store: true at the moment of asking."""

    def __init__(self, workers: Any) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        for metric in self._workers.collect():
            if metric.name != SEEN:
                yield metric
            elif seen := [sample.value for sample in metric.samples if sample.value]:
                yield GaugeMetricFamily(
                    AGE, "Since the worst-off worker heard from the store.", time.time() - min(seen)
                )


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "only /metrics is here")
            return
        registry = CollectorRegistry()
        registry.register(_Ages(MultiProcessCollector(None)))  # type: ignore[no-untyped-call]
        body = generate_latest(registry)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not news."""


@contextmanager
def exporting(listen: str) -> Iterator[int]:
    """Serve /metrics on HOST:PORT while the block runs; an empty address serves nowhere.

    Gives the port. Raises OSError when the address is in use.
    """
    if not listen:
        yield 0
        return
    host, _, port = listen.rpartition(":")
    server = ThreadingHTTPServer((host.strip("[]"), int(port)), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
