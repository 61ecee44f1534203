"""The store's records as one process remembers them.

Bounded, emptied by change notices, read again when the link that brings these was lost. Records
and misses are kept apart, so that a flood of unknown keys pushes no known one out. Of many
requests that miss the same record one reads it and the others wait.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from time import monotonic
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

    key: str
    value: Any
    read_at: float
    generation: int
    hit: Callable[[], object]


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
        #: The same records, by what they are (`id`): each is held by its entry.
        self._entries: dict[int, Entry] = {}
        self._flights: dict[str, _Flight] = {}
        self._lock = threading.Lock()

    def recall(self, kind: str, key: str) -> Any:
        """The record, or None if there is none. Raises `NotCached` when memory cannot say."""
        entry = self._records.get(key) or self._misses.get(key)
        if entry is None or not self._serves(entry, monotonic()):
            raise NotCached
        return entry.value

    def holds(self, *records: Any) -> bool:
        """Whether `recall` would give these very records again."""
        now = monotonic()
        for record in records:
            entry = self._entries.get(id(record))
            if entry is None or entry.value is not record or not self._serves(entry, now):
                return False
        return True

    def fetch(self, kind: str, key: str, waiting: Waiting = nullcontext) -> Any:
        """The record, or None if there is none, read if need be, within `waiting()`, which may
        raise `StoreDown`, too. Raises `StoreDown`."""
        try:
            return self.recall(kind, key)
        except NotCached:
            self._observer.lookups(kind, hit=False)()
        try:
            with waiting():
                return self._read(kind, key).value
        except StoreDown:
            entry = self._records.get(key)
            if entry is not None and self._young(entry, monotonic()):
                return entry.value
            raise

    def _serves(self, entry: Entry, now: float) -> bool:
        """Whether an entry may be used; then it counts as used."""
        link = self._link
        if (entry.generation != link.generation or now - link.seen >= link.bound) and (
            # The store is away: what was true a moment ago is used, and what was not there is not.
            entry.value is None or not self._store.is_down() or not self._young(entry, now)
        ):
            return False
        if len(self._records) >= self._limits[0]:
            self._touch(entry.key)
        entry.hit()
        return True

    def _touch(self, key: str) -> None:
        """When something must go, what was used last goes last."""
        with suppress(KeyError):
            self._records.move_to_end(key)

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
        generation, started = self._link.generation, monotonic()
        try:
            value = self._load(kind, key)
            entry = Entry(key, value, started, generation, self._observer.lookups(kind, hit=True))
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
            self._drop(key)
            table, limit = self._records, self._limits[0]
            if entry.value is None:
                if len(key) > LONGEST_MISS:
                    return
                table, limit = self._misses, self._limits[1]
            else:
                self._entries[id(entry.value)] = entry
            table[key] = entry
            while len(table) > limit:
                _, oldest = table.popitem(last=False)
                self._entries.pop(id(oldest.value), None)

    def _drop(self, key: str) -> None:
        self._misses.pop(key, None)
        entry = self._records.pop(key, None)
        if entry is not None:
            self._entries.pop(id(entry.value), None)

    def forget(self, keys: list[str]) -> None:
        """These records changed. Reads of them that are under way are not kept."""
        with self._lock:
            for key in keys:
                self._drop(key)
                flight = self._flights.pop(key, None)
                if flight is not None:
                    flight.changed = True

    def __len__(self) -> int:
        return len(self._records) + len(self._misses)
