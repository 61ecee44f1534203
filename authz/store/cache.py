"""The store's records as one process remembers them.

Bounded, emptied by change notices, read again when the link that brings these was lost. Records
and misses are kept apart, so that a flood of unknown keys pushes no known one out. Of many
requests that miss the same record one reads it and the others wait.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, NamedTuple

from authz.contracts import NotCached, Observer, StoreDown
from authz.store.link import Link
from authz.store.redis import RedisStore

#: A reader waits no longer than this for another reader of the same record, in seconds.
PATIENCE = 0.05
#: What is not there is not remembered under a longer name: a stranger chose it, and thousands of
#: them, each as long as a header may be, would fill the memory.
LONGEST_MISS = 1024

#: What surrounds the time in which a reader waits.
Waiting = Callable[[], AbstractContextManager[None]]


class Entry(NamedTuple):
    """A record (None: there is none), and what it takes to know whether it still holds."""

    value: Any
    read_at: float
    generation: int


class _Flight(Future[Entry]):
    changed = False


class Cache:
    """Thread-safe. `load` reads one record: its value, or None when it is not there."""

    def __init__(
        self,
        load: Callable[[str, str], Any],
        store: RedisStore,
        link: Link,
        observer: Observer,
        *,
        size: int,
        misses: int,
        stale_seconds: float,
    ) -> None:
        self._load = load
        self._store = store
        self._link = link
        self._observer = observer
        self._stale = stale_seconds
        self._limits = (size, misses)
        self._records: OrderedDict[str, Entry] = OrderedDict()
        self._misses: OrderedDict[str, Entry] = OrderedDict()
        self._flights: dict[str, _Flight] = {}
        self._lock = threading.Lock()

    def recall(self, kind: str, key: str) -> Any:
        """The record, or None if there is none. Raises `NotCached` when memory cannot say."""
        entry = self._records.get(key)
        if entry is None:
            entry = self._misses.get(key)
        elif len(self._records) >= self._limits[0]:
            self._touch(key)
        if entry is not None and self._holds(key, entry):
            self._observer.cache(kind, hit=True)
            return entry.value
        raise NotCached

    def _touch(self, key: str) -> None:
        """When something must go, what was used last goes last."""
        with suppress(KeyError):
            self._records.move_to_end(key)

    def fetch(self, kind: str, key: str, waiting: Waiting = nullcontext) -> Any:
        """The record, or None if there is none, read if need be, within `waiting()`, which may
        raise `StoreDown`, too. Raises `StoreDown`."""
        try:
            return self.recall(kind, key)
        except NotCached:
            self._observer.cache(kind, hit=False)
        try:
            with waiting():
                return self._read(kind, key).value
        except StoreDown:
            entry = self._records.get(key)
            if entry is not None and self._young(entry, time.monotonic()):
                return entry.value
            raise

    def _holds(self, key: str, entry: Entry) -> bool:
        now = time.monotonic()
        if entry.generation == self._link.generation and self._link.alive(now):
            return True
        # The store is away: what was true a moment ago is used, what was not there is asked for.
        return entry.value is not None and self._store.is_down(key) and self._young(entry, now)

    def _young(self, entry: Entry, now: float) -> bool:
        return now - self._link.true_at(entry.read_at, entry.generation) < self._stale

    def _read(self, kind: str, key: str) -> Entry:
        with self._lock:
            flight = self._flights.get(key)
            leading = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
        if not leading:
            try:
                return flight.result(PATIENCE)
            except TimeoutError:
                raise StoreDown("store_timeout") from None
        return self._lead(kind, key, flight)

    def _lead(self, kind: str, key: str, flight: _Flight) -> Entry:
        # Taken before the read: a change during it makes the entry one of the past.
        generation, started = self._link.generation, time.monotonic()
        try:
            entry = Entry(self._load(kind, key), started, generation)
        except BaseException as error:
            self._land(key, flight, None)
            flight.set_exception(error)
            flight.exception()
            raise
        self._land(key, flight, entry)
        flight.set_result(entry)
        return entry

    def _land(self, key: str, flight: _Flight, entry: Entry | None) -> None:
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if entry is None or flight.changed:
                return
            table, limit = self._records, self._limits[0]
            if entry.value is None:
                self._records.pop(key, None)
                if len(key) > LONGEST_MISS:
                    return
                table, limit = self._misses, self._limits[1]
            else:
                self._misses.pop(key, None)
            table[key] = entry
            table.move_to_end(key)
            while len(table) > limit:
                table.popitem(last=False)

    def forget(self, keys: list[str]) -> None:
        """These records changed. Reads of them that are under way are not kept."""
        with self._lock:
            for key in keys:
                self._records.pop(key, None)
                self._misses.pop(key, None)
                flight = self._flights.pop(key, None)
                if flight is not None:
                    flight.changed = True

    def __len__(self) -> int:
        return len(self._records) + len(self._misses)
