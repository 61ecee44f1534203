"""The two ways of asking: from memory alone, and waiting for the store.

The same decision runs first against `Memory`, on any thread; only when that says `NotCached` does
it run again against `Waiting`, on a thread that may wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from authz.contracts import Lookup, NotCached, StoreDown
from authz.jose.key_set import KeySet
from authz.quotas import Quota, Spent
from authz.secrets import KeyRing
from authz.store.cache import Cache
from authz.store.counters import Counters
from authz.store.key_sets import KeySets
from authz.store.keys import Keys
from authz.store.passwords import Passwords
from authz.store.records import Codec, Epoch, WorkerConsumer
from authz.store.redis import EMPTY, RedisStore
from authz.store.remembered import Remembered
from authz.values import Consumer, Credential, Once

CONSUMER = "consumer"


class Records:
    """Reads single records, each with the epoch beside it: a store that lost its data answers
    `StoreDown`, not "unknown"."""

    def __init__(self, store: RedisStore, keys: Keys, codec: Codec) -> None:
        self._store = store
        self._keys = keys
        self._codec = codec
        self._trusted_epoch: bytes | None = None

    def load(self, kind: str, keys: Sequence[str]) -> list[Consumer | Credential | None]:
        """In their order, up to the first that is there; None for each before it. One read."""
        *stored, epoch = self._store.read([*keys, self._keys.epoch])
        self._check(epoch)
        type_ = WorkerConsumer if kind == CONSUMER else Credential
        found: list[Consumer | Credential | None] = []
        for key, value in zip(keys, stored, strict=True):
            if value is not None:
                return [*found, self._codec.decode(key, value, type_)]
            found.append(None)
        return found

    def _check(self, epoch: bytes | None) -> None:
        if epoch is None:
            raise StoreDown(EMPTY)
        if epoch != self._trusted_epoch:
            self._codec.decode(self._keys.epoch, epoch, Epoch)
            self._trusted_epoch = epoch


class Sources(Struct, frozen=True):
    """Where the answers come from: what this process remembers, and the store."""

    keys: Keys
    ring: KeyRing
    cache: Cache
    passwords: Passwords
    remembered: Remembered
    key_sets: KeySets
    store: RedisStore
    counters: Counters
    #: What `Lookup.used` is.
    used: dict[int, Credential] | None = None


class _TenantLookup:
    """What Memory and Waiting share: the names of records."""

    def __init__(self, tenant: str, sources: Sources) -> None:
        self._tenant = tenant
        self._sources = sources
        self._keys = sources.keys
        self._ring = sources.ring
        self.used = sources.used
        self._get: Callable[[str, str], Any] = sources.cache.recall

    def find(self, kind: str, identifier: str) -> Credential | None:
        found: Credential | None = self._get(
            kind, self._keys.credential(self._tenant, kind, identifier)
        )
        return found

    def find_secret(self, kind: str, secret: str) -> Credential | None:
        for digest in self._ring.digests(kind, self._tenant, secret):
            found = self.find(kind, digest)
            if found is not None:
                return found
        return None

    def consumer(self, username: str) -> Consumer | None:
        key = self._keys.consumer(self._tenant, username)
        found: Consumer | None = self._get(CONSUMER, key)
        return found

    def holds(self, *records: Credential | Consumer) -> bool:
        return self._sources.cache.holds(*records)

    def beside(self, record: Credential | Consumer) -> dict[Any, Any] | None:
        return self._sources.cache.beside(record)

    def recall(self, secret: str) -> Any | None:
        return self._sources.remembered.recall(self._tenant, secret)

    def remember(self, secret: str, value: Any) -> None:
        self._sources.remembered.remember(self._tenant, secret, value)


class _MemoryLookup(_TenantLookup):
    def __init__(self, tenant: str, sources: Sources) -> None:
        super().__init__(tenant, sources)
        self.password_matches = sources.passwords.recall

    def claim(self, nonce: str, seconds: int) -> bool:
        raise NotCached

    def spend(self, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        return self._sources.counters.recall(self._tenant, quotas, onces)

    def key_set(self, url: str, kid: str | None) -> KeySet:
        return self._sources.key_sets.recall(url, kid)


class _WaitingLookup(_TenantLookup):
    """For one decision: what it waited for the store is counted."""

    def __init__(self, tenant: str, sources: Sources) -> None:
        super().__init__(tenant, sources)
        self._waited = 0.0
        self._get = self._fetch

    def _fetch(self, kind: str, *keys: str) -> Any:
        return self._sources.cache.fetch(kind, *keys, waiting=self._waiting)

    def find_secret(self, kind: str, secret: str) -> Credential | None:
        """All digests are read at once: a secret under an older key costs what another costs."""
        digests = self._ring.digests(kind, self._tenant, secret)
        keys = (self._keys.credential(self._tenant, kind, digest) for digest in digests)
        found: Credential | None = self._fetch(kind, *keys)
        return found

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """A store that is slow is not waited for again and again."""
        if self._waited >= self._sources.store.timeout:
            raise StoreDown("store_timeout")
        started = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - started

    def password_matches(self, password: str, hashed: str) -> bool:
        try:
            return self._sources.passwords.recall(password, hashed)
        except NotCached:
            return self._sources.passwords.verify(password, hashed)

    def claim(self, nonce: str, seconds: int) -> bool:
        with self._waiting():
            return self._sources.store.claim(self._keys.nonce(self._tenant, nonce), seconds)

    def spend(self, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        with self._waiting():
            return self._sources.counters.spend(self._tenant, quotas, onces)

    def key_set(self, url: str, kid: str | None) -> KeySet:
        return self._sources.key_sets.fetch(url, kid)


class Memory:
    """Answers from this process's memory, at once, or raises `NotCached`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._tenants: dict[str, Lookup] = {}

    def within(self, tenant: str) -> Lookup:
        """One a tenant, made when it is first asked for."""
        lookup = self._tenants.get(tenant)
        if lookup is None:
            lookup = self._tenants[tenant] = _MemoryLookup(tenant, self._sources)
        return lookup


class Waiting:
    """Answers, reading the store if need be. Only for threads that may wait."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def within(self, tenant: str) -> Lookup:
        """One for each decision. It begins no call of the store once it has waited for as long as
        one call may take, so that a decision never waits for more than twice that."""
        return _WaitingLookup(tenant, self._sources)
