"""One JSON line a decision, written by a thread of its own.

A reader that is slow, or a full disk, costs lines (they are counted), never a decision.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Any, Protocol

import msgspec

from authz.server.metrics import LOG_DROPPED

#: Lines that may wait for a slow reader.
CAPACITY = 10_000
#: Lines are gathered for so many seconds, then written at once.
GATHER = 0.02


class Line(Protocol):
    """Something to be logged."""

    def line(self) -> dict[str, Any]:
        """As plain values. Called on the log's own thread."""
        ...


class DecisionLog:
    """Writes to a file descriptor. Each write holds whole lines, so workers may share one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[Line] = deque()
        self._waiting = threading.Event()
        self._told = False
        self._stopping = threading.Event()
        self._encode = msgspec.json.Encoder().encode
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def write(self, line: Line) -> None:
        """Take what is to be a line; never waits."""
        if len(self._lines) >= CAPACITY:
            LOG_DROPPED.inc()
            return
        self._lines.append(line)
        if not self._told:
            self._told = True
            self._waiting.set()

    def close(self) -> None:
        """Write what is left, for a second at the most."""
        self._stopping.set()
        self._waiting.set()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        while True:
            self._waiting.wait()
            self._stopping.wait(GATHER)
            self._waiting.clear()
            self._told = False  # before looking, so that what comes later wakes again
            self._flush()
            if self._stopping.is_set():
                return

    def _flush(self) -> None:
        while self._lines:
            lines = (self._lines.popleft() for _ in range(min(len(self._lines), 64)))
            chunk = b"".join(self._encode(line.line()) + b"\n" for line in lines)
            try:
                while chunk:
                    chunk = chunk[os.write(self._descriptor, chunk) :]
            except OSError:
                LOG_DROPPED.inc(chunk.count(b"\n"))
