"""What a worker does beside answering, on a thread of its own, once a second: it follows its key
ring's file, tells that it is there, and writes which credentials were used."""

from __future__ import annotations

import logging
import threading
import time

from authz.contracts import StoreDown
from authz.server.ring_watch import RingWatch
from authz.store import presence
from authz.store.open import Store

logger = logging.getLogger("authz")

#: Seconds between two rounds.
TICK = 1.0


class Chores:
    """`start`, then `stop`. `worker` is its name among all of the namespace's; every `noting`
    seconds it is written what was used."""

    def __init__(self, store: Store, watch: RingWatch, worker: str, noting: float) -> None:
        self._store = store
        self._watch = watch
        self._worker = worker
        self._noting = noting
        self._report_at = self._swept_at = float("-inf")
        self._note_at = time.monotonic() + noting
        self._complaint = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The last round: what was used is written, and that this worker is no longer there."""
        self._stopped.set()
        self._thread.join(timeout=5)
        self._note()
        presence.leave(self._store.redis, self._store.keys, self._worker)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._round(time.monotonic())
            except StoreDown as down:
                self._complain(down)
            except Exception:
                logger.exception("a chore failed")
            self._stopped.wait(TICK)

    def _complain(self, down: StoreDown) -> None:
        """Once for each reason: of a store that is away, others speak, too."""
        if down.reason != self._complaint:
            self._complaint = down.reason
            logger.warning("commands cannot see this worker: %s", down.told)

    def _round(self, now: float) -> None:
        changed = self._watch.look(self._store)
        if self._store.used is not None:
            self._store.used.gather()
            if now >= self._note_at:
                self._note_at = now + self._noting
                self._note()
        if changed or now >= self._report_at:
            self._report_at = now + presence.EVERY
            self._report(now)
            self._complaint = ""

    def _note(self) -> None:
        if self._store.used is not None:
            self._store.used.gather()
            self._store.used.flush(self._store.redis)

    def _report(self, now: float) -> None:
        redis, keys, watch = self._store.redis, self._store.keys, self._watch
        presence.report(redis, keys, self._worker, watch.ring, watched=watch.watched)
        if now - self._swept_at > presence.FORGOTTEN:
            presence.sweep(redis, keys)
            self._swept_at = now
