"""A `Lookup` for commands: reads the store one record at a time, remembers and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from authz.admin.catalog import Catalog
from authz.contracts import Lookup
from authz.hashes import verify_password
from authz.jose.key_set import KeySet
from authz.quotas import Quota, Spent
from authz.store.key_sets import KeySets
from authz.values import Consumer, Credential, Once


class Reading:
    """Every tenant's records, as the store has them now: a `Lookups`."""

    def __init__(self, catalog: Catalog, key_sets: KeySets) -> None:
        self._catalog = catalog
        self._key_sets = key_sets

    def within(self, tenant: str) -> Lookup:
        return _Reading(tenant, self._catalog, self._key_sets)


class _Reading:
    used = None

    def __init__(self, tenant: str, catalog: Catalog, key_sets: KeySets) -> None:
        self._tenant = tenant
        self._catalog = catalog
        self._key_sets = key_sets

    def find(self, kind: str, identifier: str) -> Credential | None:
        found: Credential | None = self._catalog.load(
            kind, self._catalog.keys.credential(self._tenant, kind, identifier)
        )
        return found

    def find_secret(self, kind: str, secret: str) -> Credential | None:
        digests = self._catalog.codec.ring.digests(kind, self._tenant, secret)
        return next(filter(None, (self.find(kind, digest) for digest in digests)), None)

    def consumer(self, username: str) -> Consumer | None:
        key = self._catalog.keys.consumer(self._tenant, username)
        found: Consumer | None = self._catalog.load("consumer", key)
        return found

    def password_matches(self, password: str, hashed: str) -> bool:
        return bool(hashed) and verify_password(password, hashed)

    def claim(self, nonce: str, seconds: int) -> bool:
        """Whether it could be recorded; asking must not use it up."""
        return not self._catalog.is_claimed(self._tenant, nonce)

    def spend(self, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        """What would become of it; nothing is taken, and nothing used up."""
        for index, once in enumerate(onces):
            if self._catalog.is_claimed(self._tenant, once.nonce):
                return Spent(replayed=index)
        return self._catalog.standings(self._tenant, quotas)

    def holds(self, *records: Credential | Consumer) -> bool:
        return False

    def beside(self, record: Credential | Consumer) -> dict[Any, Any] | None:
        return None

    def recall(self, secret: str) -> Any | None:
        return None

    def remember(self, secret: str, value: Any) -> None:
        pass

    def key_set(self, url: str, kid: str | None) -> KeySet:
        return self._key_sets.fetch(url, kid)
