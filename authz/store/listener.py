"""A thread that listens for changes, for as long as the process lives."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from authz.contracts import Observer, StoreDown
from authz.store.cache import Cache
from authz.store.change_lag import ChangeLag
from authz.store.keys import Keys
from authz.store.link import Link
from authz.store.redis import LINK_TIMEOUT, RedisStore

logger = logging.getLogger("authz")

#: Seconds between signs of life, and between attempts to link again (the first is made at once).
HEARTBEAT = 0.25
RETRY = 0.2


class Listener:
    """Keeps the cache true. `on_change` is told the names of changed records, None for any."""

    def __init__(
        self,
        store: RedisStore,
        keys: Keys,
        cache: Cache,
        link: Link,
        observer: Observer,
        on_change: Callable[[list[str] | None], None],
    ) -> None:
        self._store = store
        self._keys = keys
        self._cache = cache
        self._link = link
        self._observer = observer
        self._on_change = on_change
        self._lag = ChangeLag(store, keys, observer)
        self._tried = threading.Event()
        self._complaint = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-link", daemon=True)

    def start(self) -> None:
        """Listen. Returns when there is a link or there can be none for now: what is read before
        is not remembered, and after a restart everything is asked for at once."""
        self._lag.start()
        self._thread.start()
        self._tried.wait(LINK_TIMEOUT)

    def stop(self) -> None:
        """Stop listening; returns when the link is closed."""
        self._stopped.set()
        self._thread.join(timeout=2 * HEARTBEAT + 1)
        self._lag.stop()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except Exception as error:
                self._link.lose()
                self._observer.link("lost")
                self._complain(error)
            self._tried.set()
            self._stopped.wait(RETRY)

    def _listen(self) -> None:
        changes = self._store.changes(self._keys.records, self._keys.nothing, HEARTBEAT)
        self._begin(next(changes).at)
        for at, names in changes:
            self._link.hear(at)
            self._observer.link("alive")
            if names is None:
                self._link.lose()
                self._begin(at)
            elif names:
                self._cache.forget(names)
                self._lag.hear(names)
                self._observer.link("change")
                self._on_change(names)
            if self._stopped.is_set():
                return

    def _complain(self, error: Exception) -> None:
        """Once for each reason: a link that never comes is seen in nothing but the load."""
        reason, told = type(error).__name__, repr(error)
        if isinstance(error, StoreDown):
            reason, told = error.reason, error.told
        if reason != self._complaint:
            self._complaint = reason
            logger.warning("no change notices from %s: %s", self._store.target.shown, told)

    def _begin(self, at: float) -> None:
        self._link.begin(at)
        self._store.reopen(self._keys.nothing)
        self._observer.link("up")
        self._tried.set()
        self._complaint = ""
        self._on_change(None)
