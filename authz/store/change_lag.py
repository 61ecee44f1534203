"""How long a change takes to be felt here, by the store's own clock.

Every transaction leaves the store's time in one record. Once what changed is forgotten, that record
and the store's time are read, on a thread of its own, so that nothing waits for the measurement.
What is told is an upper bound: it includes the way of one question to the store. Of changes that
follow one another faster than they can be measured, the last is.
"""

from __future__ import annotations

import threading
import time

from authz.contracts import Observer, StoreDown
from authz.store.keys import Keys
from authz.store.redis import RedisStore

#: Seconds until a store that did not answer is asked again.
RETRY = 0.2
#: No time in microseconds has more digits.
DIGITS = 20


class ChangeLag:
    """Told of changes by the listener; tells the observer how late each was."""

    def __init__(self, store: RedisStore, keys: Keys, observer: Observer) -> None:
        self._store = store
        self._key = keys.changed
        self._observer = observer
        self._forgotten_at = 0.0
        self._news = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="change-lag", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._news.set()
        self._thread.join(timeout=1)

    def hear(self, names: list[str]) -> None:
        """These records changed, and are forgotten by now."""
        if self._key in names:
            self._forgotten_at = time.monotonic()
            self._news.set()

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            if self._stopped.is_set():
                return
            try:
                self._measure()
            except StoreDown:
                self._news.set()
                self._stopped.wait(RETRY)

    def _measure(self) -> None:
        forgotten_at, asked_at = self._forgotten_at, time.monotonic()
        now = self._store.clock(self._key)
        [written] = self._store.read([self._key])
        if self._news.is_set() or written is None:
            return  # another change: what was read may be its time
        if written.isdigit() and len(written) <= DIGITS:
            lag = (now - int(written)) / 1e6 - (asked_at - forgotten_at)
            # Else it was written after what was heard: it will be heard, too.
            if lag >= 0:
                self._observer.change_lag(lag)
