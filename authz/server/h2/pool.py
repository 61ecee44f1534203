"""Threads for calls that must wait, and a bound on how many may.

What is handed in comes to one end: finished, or dropped when its caller left or its time was up.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from authz.server.h2.calls import Failed, Unary
from authz.server.h2.stream import Stream

logger = logging.getLogger("authz")


class Pool:
    """All but the work itself happens on the loop's thread. `wake` is called from any."""

    def __init__(self, threads: int, most: int, wake: Callable[[], None]) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="check")
        self.waiting = 0
        self._most, self._wake = most, wake
        self._done: deque[tuple[Work, bytes | None]] = deque()

    def submit(self, owner: Any, stream: Stream, method: Unary, deferred: Any) -> Work | None:
        """None when too many wait or run already."""
        if self.waiting >= self._most:
            return None
        self.waiting += 1
        work = Work(self, owner, stream, method, deferred)
        work.future = self._threads.submit(self._run, work)
        return work

    def _run(self, work: Work) -> None:
        answer = None
        try:
            deadline = work.stream.deadline
            if work.stream.gone or (deadline is not None and time.monotonic() >= deadline):
                work.method.drop(work.deferred)
            else:
                answer = work.method.finish(work.deferred)
        except Failed:
            pass
        except Exception:
            logger.exception("a call crashed")
        self._done.append((work, answer))
        self._wake()

    def finish(self) -> set[Any]:
        """Give the answers that are there to their streams. The owners of these."""
        owners = set()
        while self._done:
            work, answer = self._done.popleft()
            self.waiting -= 1
            if work.stream.gone:
                continue
            work.owner.http.streams.finish(work.stream, answer)
            owners.add(work.owner)
        return owners

    def close(self) -> None:
        """Start nothing more; what runs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Work:
    """A `Job`: something deferred, for a stream of an owner."""

    def __init__(
        self, pool: Pool, owner: Any, stream: Stream, method: Unary, deferred: Any
    ) -> None:
        self._pool = pool
        self.owner, self.stream, self.method, self.deferred = owner, stream, method, deferred
        self.future: Future[None] | None = None

    def cancel(self) -> None:
        """Its place in the queue becomes free, if it still has one."""
        if self.future is not None and self.future.cancel():
            self._pool.waiting -= 1
            self.method.drop(self.deferred)
