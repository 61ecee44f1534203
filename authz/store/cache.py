"""The store's records as one process remembers them.

Bounded, emptied by change notices, read again when the link that brings these was lost. Records
and misses are kept apart, so that a flood of unknown keys pushes no known one out, and how often
the store is asked for what is not there is limited (`authz.store.unknown`). Of many requests that
miss the same record one reads it and the others wait.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from time import monotonic
from typing import Any

from msgspec import Struct

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


class Entry(Struct, frozen=True, gc=False):
    """A record (None: there is none), and what it takes to know whether it still holds.

    The collector of cycles is not told of it, as it is not of records: looking through a million of
    them, for what they cannot be part of, would hold up every Check for a second.
    """

    key: str
    value: Any
    read_at: float
    generation: int
    hit: Callable[[], object]


#: In the place of a record that changed: it was known, and what it is now must be asked.
CHANGED = Entry("", None, float("-inf"), -1, lambda: None)


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
        #: Records that are there, by what they are (`id`): each is held by its entry.
        self._entries: dict[int, Entry] = {}
        #: What others keep beside them.
        self._beside: dict[int, dict[Any, Any]] = {}
        self._flights: dict[tuple[str, ...], _Flight] = {}
        self._lock = threading.Lock()

    def recall(self, kind: str, key: str) -> Any:
        """The record, or None if there is none. Raises `NotCached` when memory cannot say."""
        entry = self._records.get(key) or self._misses.get(key)
        if entry is None or not self._serves(entry, monotonic()):
            raise NotCached
        return entry.value

    def holds(self, *records: Any) -> bool:
        """Whether `recall` would give these very records again."""
        now, link, known = monotonic(), self._link, self._entries
        # As `_serves` says, of which nothing else is left while there is room for all.
        current = link.generation if now - link.seen < link.bound else None
        roomy = len(self._records) < self._limits[0]
        for record in records:
            entry = known.get(id(record))
            if entry is None or entry.value is not record:
                return False
            if roomy and entry.generation == current:
                entry.hit()
            elif not self._serves(entry, now):
                return False
        return True

    def beside(self, record: Any) -> dict[Any, Any] | None:
        """A place for what follows from a record, which goes when the record goes; None if it is
        not here."""
        place = self._beside.get(id(record))
        if place is not None:
            return place
        with self._lock:
            entry = self._entries.get(id(record))
            if entry is None or entry.value is not record:
                return None
            return self._beside.setdefault(id(record), {})

    def fetch(self, kind: str, *keys: str, waiting: Waiting = nullcontext) -> Any:
        """The first of these records that is there, or None if there is none, read if need be, all
        of them at once, within `waiting()`, which may raise `StoreDown`, too.

        Raises `StoreDown`, and `Overloaded` when too much is asked for that is not there.
        """
        try:
            return self._known(kind, keys)
        except NotCached:
            self._observer.lookups(kind, hit=False)()
        try:
            with waiting():
                return self._read(kind, keys)
        except StoreDown:
            value = self._last_known(keys)
            if value is None:
                raise
            return value

    def _known(self, kind: str, keys: Sequence[str]) -> Any:
        return next((value for key in keys if (value := self.recall(kind, key)) is not None), None)

    def _serves(self, entry: Entry, now: float) -> bool:
        """Whether an entry may be used; then it counts as used."""
        link = self._link
        if entry.generation != link.generation or now - link.seen >= link.bound:
            # The store is away: what was true a moment ago is used, and what was not there is not.
            away = entry.value is not None and self._store.is_down(entry.key)
            if not away or not self._young(entry, now):
                return False
        if len(self._records) >= self._limits[0]:
            self._touch(self._records, entry.key)
        if entry.value is None and len(self._misses) >= self._limits[1]:
            self._touch(self._misses, entry.key)
        entry.hit()
        return True

    @staticmethod
    def _touch(table: OrderedDict[str, Entry], key: str) -> None:
        """When something must go, what was used last goes last."""
        with suppress(KeyError):
            table.move_to_end(key)

    def _young(self, entry: Entry, now: float) -> bool:
        return now - self._link.true_at(entry.read_at, entry.generation) < self._stale

    def _last_known(self, keys: Sequence[str]) -> Any:
        """For a store that is away: the first of these records if it is young enough, and none
        before it is known to have changed or may have."""
        now = monotonic()
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
                    return self._known(kind, keys)
                flight = self._flights[keys] = _Flight()
        if leading:
            return self._lead(kind, keys, flight)
        try:
            # As long as a call may take, to connect and to be answered: whoever reads has begun.
            return flight.result(2 * self._store.timeout)
        except TimeoutError:
            raise StoreDown("store_timeout") from None

    def _lead(self, kind: str, keys: tuple[str, ...], flight: _Flight) -> Any:
        # Taken before the read: a change during it makes the entries ones of the past.
        generation, started = self._link.generation, monotonic()
        try:
            values = self._ask(kind, keys)
        except BaseException as error:
            self._land(keys, flight, [])
            flight.set_exception(error)
            flight.exception()
            raise
        hit = self._observer.lookups(kind, hit=True)
        entries = [
            Entry(key, value, started, generation, hit)
            for key, value in zip(keys, values, strict=False)
        ]
        self._land(keys, flight, entries)
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
            for entry in entries:
                self._keep(entry, known=known)

    def _keep(self, entry: Entry, *, known: bool) -> None:
        key = entry.key
        self._drop(key)
        table, limit = self._records, self._limits[0]
        if not known:
            if len(key) > LONGEST_MISS:
                return
            table, limit = self._misses, self._limits[1]
        table[key] = entry
        if entry.value is not None:
            self._entries[id(entry.value)] = entry
        while len(table) > limit:
            self._let_go(table.popitem(last=False)[1])

    def _drop(self, key: str) -> bool:
        """Whether it was known to be there, or to be absent beside what is."""
        self._misses.pop(key, None)
        entry = self._records.pop(key, None)
        if entry is not None:
            self._let_go(entry)
        return entry is not None

    def _let_go(self, entry: Entry) -> None:
        self._entries.pop(id(entry.value), None)
        self._beside.pop(id(entry.value), None)

    def forget(self, keys: list[str]) -> None:
        """These records changed. Reads of them that are under way are not kept."""
        changed = set(keys)
        with self._lock:
            for key in keys:
                if self._drop(key):
                    self._records[key] = CHANGED
            for names in [n for n in self._flights if not changed.isdisjoint(n)]:
                self._flights.pop(names).changed = True

    def __len__(self) -> int:
        return len(self._records) + len(self._misses)
