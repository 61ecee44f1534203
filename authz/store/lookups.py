"""The two ways of asking: from memory alone, and waiting for the store.

The same decision runs first against `Memory`, on any thread; only when that says `NotCached` does
it run again against `Waiting`, on a thread that may wait.
"""

from __future__ import annotations

from authz.contracts import Lookup, NotCached, StoreDown
from authz.secrets import KeyRing
from authz.store.cache import Cache
from authz.store.keys import Keys
from authz.store.passwords import Passwords
from authz.store.records import Codec, Epoch
from authz.store.redis import EMPTY, RedisStore
from authz.values import Consumer, Credential

CONSUMER = "consumer"


class Records:
    """Reads single records, each with the epoch beside it: a store that lost its data answers
    `StoreDown`, not "unknown"."""

    def __init__(self, store: RedisStore, keys: Keys, codec: Codec) -> None:
        self._store = store
        self._keys = keys
        self._codec = codec
        self._trusted_epoch: bytes | None = None

    def load(self, kind: str, key: str) -> Consumer | Credential | None:
        stored, epoch = self._store.read([key, self._keys.epoch])
        self._check(epoch)
        if stored is None:
            return None
        type_ = Consumer if kind == CONSUMER else Credential
        record: Consumer | Credential = self._codec.decode(key, stored, type_)
        return record

    def _check(self, epoch: bytes | None) -> None:
        if epoch is None:
            raise StoreDown(EMPTY)
        if epoch != self._trusted_epoch:
            self._codec.decode(self._keys.epoch, epoch, Epoch)
            self._trusted_epoch = epoch


class _TenantLookup:
    """What Memory and Waiting share: the names of records."""

    def __init__(self, tenant: str, keys: Keys, ring: KeyRing, cache: Cache) -> None:
        self._tenant = tenant
        self._keys = keys
        self._ring = ring
        self._cache = cache
        self._get = cache.recall

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


class _MemoryLookup(_TenantLookup):
    def __init__(
        self, tenant: str, keys: Keys, ring: KeyRing, cache: Cache, passwords: Passwords
    ) -> None:
        super().__init__(tenant, keys, ring, cache)
        self.password_matches = passwords.recall

    def claim(self, nonce: str, seconds: int) -> bool:
        raise NotCached


class _WaitingLookup(_TenantLookup):
    def __init__(
        self,
        tenant: str,
        keys: Keys,
        ring: KeyRing,
        cache: Cache,
        passwords: Passwords,
        store: RedisStore,
    ) -> None:
        super().__init__(tenant, keys, ring, cache)
        self._get = cache.fetch
        self._store = store
        self._passwords = passwords

    def password_matches(self, password: str, hashed: str) -> bool:
        try:
            return self._passwords.recall(password, hashed)
        except NotCached:
            return self._passwords.verify(password, hashed)

    def claim(self, nonce: str, seconds: int) -> bool:
        return self._store.claim(self._keys.nonce(self._tenant, nonce), seconds)


class Memory:
    """Answers from this process's memory, at once, or raises `NotCached`."""

    def __init__(self, keys: Keys, ring: KeyRing, cache: Cache, passwords: Passwords) -> None:
        self._parts = (keys, ring, cache, passwords)
        self._tenants: dict[str, Lookup] = {}

    def within(self, tenant: str) -> Lookup:
        lookup = self._tenants.get(tenant)
        if lookup is None:
            lookup = self._tenants[tenant] = _MemoryLookup(tenant, *self._parts)
        return lookup


class Waiting:
    """Answers, reading the store if need be. Only for threads that may wait."""

    def __init__(
        self, keys: Keys, ring: KeyRing, cache: Cache, passwords: Passwords, store: RedisStore
    ) -> None:
        self._parts = (keys, ring, cache, passwords, store)
        self._tenants: dict[str, Lookup] = {}

    def within(self, tenant: str) -> Lookup:
        lookup = self._tenants.get(tenant)
        if lookup is None:
            lookup = self._tenants[tenant] = _WaitingLookup(tenant, *self._parts)
        return lookup
