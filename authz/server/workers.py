"""One process per core, kept alive. This one serves no Check, and imports no gRPC and no Redis.

Workers are started fresh, never forked: gRPC does not survive a fork.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import msgspec

logger = logging.getLogger("authz")

#: Pause before a worker is replaced: it doubles while workers die young, from and up to this.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
#: A worker that lived this long, in seconds, did not die young.
GROWN_UP = 10.0
#: A worker's exit status that no restart would mend.
HOPELESS = 2


class Supervisor:
    """Runs a worker on each address until `stop`. `order` makes a worker's first line of input."""

    def __init__(self, orders: list[bytes], patience: float) -> None:
        self._orders = orders
        self._patience = patience
        self._stopping = threading.Event()
        self.hopeless = False
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def run(self) -> None:
        """Returns when all workers have ended after `stop`, or when one is hopeless."""
        threads = [
            threading.Thread(target=self._keep, args=(number, order), name=f"worker-{number}")
            for number, order in enumerate(self._orders)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # a join without limit would hold signals back
                thread.join(0.2)

    def stop(self) -> None:
        """Let every worker finish what it has; end those that take longer than their patience."""
        self._stopping.set()
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            process.terminate()
        deadline = threading.Timer(self._patience, self._kill)
        deadline.daemon = True
        deadline.start()

    def _kill(self) -> None:
        with self._lock:
            for process in self._processes.values():
                process.kill()

    def _keep(self, number: int, order: bytes) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            process = self._start(number, order)
            if process is None:
                return
            status = process.wait()
            if self._stopping.is_set():
                return
            if status == HOPELESS:
                self.hopeless = True
                self.stop()
                return
            from authz.server.metrics import RESTARTS

            RESTARTS.inc()
            _bury(process.pid)
            pause = FIRST_PAUSE if time.monotonic() - started > GROWN_UP else pause
            logger.error(
                "worker %d ended with status %d; a new one in %.1f s", number, status, pause
            )
            self._stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _start(self, number: int, order: bytes) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            process = subprocess.Popen(
                [sys.executable, "-m", "authz.server.worker"], stdin=subprocess.PIPE
            )
            self._processes[number] = process
        assert process.stdin is not None
        try:
            process.stdin.write(order + b"\n")
            process.stdin.flush()  # kept open: when we are gone it closes, and the worker stops
        except BrokenPipeError:
            pass
        return process


def _bury(pid: int) -> None:
    """A dead worker's gauges are no longer true; its counters are."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


def addresses(listen: str, workers: int) -> list[str]:
    """What each worker listens on, with a comma between several. Raises ValueError that says what
    is expected."""
    each = [_addresses(place.strip(), workers) for place in listen.split(",")]
    return [",".join(places) for places in zip(*each, strict=True)]


def _addresses(listen: str, workers: int) -> list[str]:
    if listen.startswith("unix:"):
        if workers > 1 and "{worker}" not in listen:
            raise ValueError("--listen: a Unix socket for each worker needs {worker} in its name")
        return [listen.replace("{worker}", str(number)) for number in range(workers)]
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) <= 65536 - workers:
        raise ValueError("--listen: expected HOST:PORT or unix:/DIR/{worker}.sock")
    return [f"{host}:{int(port) + number}" for number in range(workers)]


def serve(settings: dict[str, object], listen: str, count: int, metrics: str, wait: float) -> int:
    """Run `count` workers until a signal. `settings` is what each is told; `wait`, in seconds, is
    how long one may take to stop. Returns the exit status."""
    places = addresses(listen, count)
    orders = [msgspec.json.encode({"settings": settings, "address": a}) for a in places]
    shared = tempfile.mkdtemp(prefix="authz-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
    try:
        from authz.server.exporter import exporting

        supervisor = Supervisor(orders, wait)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stop())
        with exporting(metrics):
            logger.info("workers on %s", ", ".join(places))
            supervisor.run()
        return HOPELESS if supervisor.hopeless else 0
    finally:
        shutil.rmtree(shared, ignore_errors=True)
