"""From CheckRequest bytes to CheckResponse bytes, without a transport: the service's own cost.

`python -m authz.bench.in_process` reads a `Task` as JSON from standard input, and prints an
`Outcome` as JSON.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from authz.bench.calls import verdict
from authz.bench.order import Latency, Sent, Wrong, percentiles, read
from authz.config import Settings
from authz.server.decision_log import DecisionLog
from authz.server.worker import Worker

#: Seconds to wait for the policy.
PATIENCE = 20.0
#: Checks in a slice, some ten milliseconds: short enough that a shared machine leaves some alone.
SLICE = 500


class Task(Struct, frozen=True):
    """`requests` are files by scheme; each is asked once to be remembered, then `rounds` times."""

    settings: Settings
    address: str
    requests: dict[str, str]
    rounds: int = 3


class Outcome(Struct, frozen=True):
    """For each scheme the time of one Check in each slice of each round, or what was wrong."""

    schemes: dict[str, list[Latency]] = {}
    wrong: str = ""


def run(task: Task) -> Outcome:
    """Do it, with everything that a worker has, its decision log included."""
    with open(os.devnull, "wb") as sink, contextlib.ExitStack() as ending:
        log = DecisionLog(sink.fileno())
        ending.callback(log.close)
        worker = Worker(task.settings, log=log)
        ending.callback(worker.stop, 0)
        worker.start(task.address, PATIENCE)
        if not worker.ready:
            return Outcome(wrong=f"no policy within {PATIENCE:.0f} s")
        found: dict[str, list[Latency]] = {}
        for scheme, path in task.requests.items():
            try:
                found[scheme] = _rounds(worker.service.check, read(Path(path)), task.rounds)
            except Wrong as wrong:
                return Outcome(wrong=f"{scheme}: {wrong}")
        return Outcome(found)


def _rounds(check: Callable[[bytes], bytes], requests: list[Sent], rounds: int) -> list[Latency]:
    for request in requests:
        found = verdict(check(request.octets))
        if found != request.expected:
            raise Wrong(f"expected {request.expected}, was answered {found}")
    slices = [requests[at : at + SLICE] for at in range(0, len(requests), SLICE)]
    return [
        percentiles([_timed(check, request.octets) for request in part])
        for _ in range(rounds)
        for part in slices
    ]


def _timed(check: Callable[[bytes], bytes], octets: bytes) -> float:
    began = time.perf_counter()
    check(octets)
    return time.perf_counter() - began


def main() -> None:
    # Ctrl-C is for who started us, and ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    sys.stdout.buffer.write(msgspec.json.encode(run(task)))


if __name__ == "__main__":
    main()
