"""The store's records as one process remembers them.

Bounded, emptied by change notices, read again when the link that brings these was lost. Records
and misses are kept apart, so that a flood of unknown keys pushes no known one out, and how often
the store is asked for what is not there is limited (`authz.store.unknown`). Of many requests that
miss the same record one reads it and the others wait.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, NamedTuple

from authz.contracts import NotCached, Observer, Overloaded, StoreDown
from authz.store.link import Link
from authz.store.redis import RedisStore
from authz.store.unknown import TOO_MANY, Allowance

#: What is not there is not remembered under a longer name: a stranger chose it, and thousands of
#: them, each as long as a header may be, would fill the memory.
LONGEST_MISS = 1024

#: What surrounds the time in which a reader waits.
Waiting = Callable[[], AbstractContextManager[None]]
#: Reads records of a kind in their order, up to the first that is there; None for each before it.
Load = Callable[[str, Sequence[str]], Sequence[Any]]


class Entry(NamedTuple):
    """A record (None: there is none), and what it takes to know whether it still holds."""

    value: Any
    read_at: float
    generation: int


#: In the place of a record that changed: it was known, and what it is now must be asked.
CHANGED = Entry(None, float("-inf"), -1)


class _Flight(Future[Any]):
    changed = False


class Cache:
    """Thread-safe. `allowance` says for each kind what limits how often it is asked for what is
    not there."""

    def __init__(
        self,
        load: Load,
        store: RedisStore,
        link: Link,
        observer: Observer,
        *,
        size: int,
        misses: int,
        stale_seconds: float,
        allowance: Callable[[str], Allowance],
    ) -> None:
        self._load = load
        self._store = store
        self._link = link
        self._observer = observer
        self._stale = stale_seconds
        self._allowance = allowance
        self._limits = (size, misses)
        #: With what is known to be absent beside a record: older names of the same secret.
        self._records: OrderedDict[str, Entry] = OrderedDict()
        self._misses: OrderedDict[str, Entry] = OrderedDict()
        self._flights: dict[tuple[str, ...], _Flight] = {}
        self._lock = threading.Lock()

    def recall(self, kind: str, key: str) -> Any:
        """The record, or None if there is none. Raises `NotCached` when memory cannot say."""
        entry = self._records.get(key)
        if entry is None:
            entry = self._misses.get(key)
            if entry is not None and len(self._misses) >= self._limits[1]:
                self._touch(self._misses, key)
        elif len(self._records) >= self._limits[0]:
            self._touch(self._records, key)
        if entry is not None and self._holds(entry):
            self._observer.cache(kind, hit=True)
            return entry.value
        raise NotCached

    @staticmethod
    def _touch(table: OrderedDict[str, Entry], key: str) -> None:
        """When something must go, what was used last goes last."""
        with suppress(KeyError):
            table.move_to_end(key)

    def fetch(self, kind: str, *keys: str, waiting: Waiting = nullcontext) -> Any:
        """The first of these records that is there, or None if there is none, read if need be, all
        of them at once, within `waiting()`, which may raise `StoreDown`, too.

        Raises `StoreDown`, and `Overloaded` when too much is asked for that is not there.
        """
        try:
            return self._first(keys, lambda key: self.recall(kind, key))
        except NotCached:
            self._observer.cache(kind, hit=False)
        try:
            with waiting():
                return self._read(kind, keys)
        except StoreDown:
            value = self._last_known(keys)
            if value is None:
                raise
            return value

    @staticmethod
    def _first(keys: Sequence[str], recall: Callable[[str], Any]) -> Any:
        return next((value for key in keys if (value := recall(key)) is not None), None)

    def _holds(self, entry: Entry) -> bool:
        now = time.monotonic()
        if entry.generation == self._link.generation and self._link.alive(now):
            return True
        # The store is away: what was true a moment ago is used, what was not there is asked for.
        return entry.value is not None and self._store.is_down() and self._young(entry, now)

    def _young(self, entry: Entry, now: float) -> bool:
        return now - self._link.true_at(entry.read_at, entry.generation) < self._stale

    def _last_known(self, keys: Sequence[str]) -> Any:
        """For a store that is away: the first of these records if it is young enough, and none
        before it is known to have changed or may have."""
        now = time.monotonic()
        for key in keys:
            entry = self._records.get(key)
            if entry is None or entry is CHANGED:
                return None
            if entry.value is not None:
                return entry.value if self._young(entry, now) else None
        return None

    def _read(self, kind: str, keys: tuple[str, ...]) -> Any:
        with self._lock:
            flight = self._flights.get(keys)
            leading = flight is None
            if flight is None:
                # Somebody may have read it since memory was asked.
                with suppress(NotCached):
                    return self._first(keys, self._landed)
                flight = self._flights[keys] = _Flight()
        if leading:
            return self._lead(kind, keys, flight)
        try:
            # As long as a call may take, to connect and to be answered: whoever reads has begun.
            return flight.result(2 * self._store.timeout)
        except TimeoutError:
            raise StoreDown("store_timeout") from None

    def _landed(self, key: str) -> Any:
        entry = self._records.get(key) or self._misses.get(key)
        if entry is None or not self._holds(entry):
            raise NotCached
        return entry.value

    def _lead(self, kind: str, keys: tuple[str, ...], flight: _Flight) -> Any:
        # Taken before the read: a change during it makes the entries ones of the past.
        generation, started = self._link.generation, time.monotonic()
        try:
            values = self._ask(kind, keys)
        except BaseException as error:
            self._land(keys, flight, [])
            flight.set_exception(error)
            flight.exception()
            raise
        self._land(keys, flight, [Entry(value, started, generation) for value in values])
        flight.set_result(values[-1])
        return values[-1]

    def _ask(self, kind: str, keys: tuple[str, ...]) -> Sequence[Any]:
        """Ask the store for what was known, and as far as allowed for what was not."""
        if any(key in self._records for key in keys):
            return self._load(kind, keys)
        allowance = self._allowance(kind)
        charged = allowance.admit(keys[0])
        if charged is None:
            self._observer.refused(kind)
            raise Overloaded(TOO_MANY)
        values = self._load(kind, keys)
        if values[-1] is None:
            allowance.charge(charged)
        return values

    def _land(self, keys: tuple[str, ...], flight: _Flight, entries: list[Entry]) -> None:
        with self._lock:
            if self._flights.get(keys) is flight:
                del self._flights[keys]
            if not entries or flight.changed:
                return
            known = entries[-1].value is not None
            for key, entry in zip(keys, entries, strict=False):
                self._keep(key, entry, known=known)

    def _keep(self, key: str, entry: Entry, *, known: bool) -> None:
        table, other, limit = self._records, self._misses, self._limits[0]
        if not known:
            table, other, limit = self._misses, self._records, self._limits[1]
        other.pop(key, None)
        if not known and len(key) > LONGEST_MISS:
            return
        table[key] = entry
        table.move_to_end(key)
        while len(table) > limit:
            table.popitem(last=False)

    def forget(self, keys: list[str]) -> None:
        """These records changed. Reads of them that are under way are not kept."""
        changed = set(keys)
        with self._lock:
            for key in keys:
                self._misses.pop(key, None)
                if key in self._records:
                    self._records[key] = CHANGED
            for names in [n for n in self._flights if not changed.isdisjoint(n)]:
                self._flights.pop(names).changed = True

    def __len__(self) -> int:
        return len(self._records) + len(self._misses)
