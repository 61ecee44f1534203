"""A store in memory that keeps the promises of `authz.contracts.Lookup`, and cheap secrets."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from argon2 import PasswordHasher
from argon2.low_level import Type

from authz.contracts import Fault
from authz.document import ConsumerEntry, Document, credential_id, draft_of
from authz.hashes import verify_password
from authz.jose.key_set import KeySet
from authz.quotas import Quota, Spent, reckon
from authz.secrets import KeyRing, KeyRingVault
from authz.values import Consumer, Credential, Once

RING = KeyRing.parse("k1:" + base64.b64encode(bytes(range(32))).decode())
#: The least that argon2 computes: tests make thousands.
HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=16, type=Type.ID)
NOBODY = HASHER.hash("nobody", salt=bytes(16))


class CheapVault(KeyRingVault):
    """A vault whose password hashes take microseconds."""

    def __init__(self, ring: KeyRing = RING) -> None:
        super().__init__(ring)

    def hash_password(self, password: str) -> str:
        return HASHER.hash(password.encode("utf-8", "surrogateescape"))


class Memory:
    """Every tenant's consumers and credentials: a `Lookups`."""

    def __init__(self, ring: KeyRing = RING) -> None:
        self.ring = ring
        self.vault = CheapVault(ring)
        self.consumers: dict[tuple[str, str], Consumer] = {}
        self.credentials: dict[tuple[str, str, str], Credential] = {}
        self.nonces: set[str] = set()
        #: What limits count, and their clock in milliseconds.
        self.counters: dict[tuple[str, str], tuple[int, int]] = {}
        self.milliseconds = 0
        #: Credentials that proved themselves.
        self.used: dict[int, Credential] = {}
        self.remembered: dict[tuple[str, str], Any] = {}
        #: What follows from records.
        self.places: dict[int, tuple[Any, dict[Any, Any]]] = {}
        #: Remote key sets by URL.
        self.key_sets: dict[str, KeySet] = {}

    def within(self, tenant: str) -> MemoryLookup:
        return MemoryLookup(self, tenant)

    def load(self, document: Document) -> Memory:
        """Take a document's consumers, as applying it would."""
        for entry in document.consumers:
            self._take(entry)
        return self

    def _take(self, entry: ConsumerEntry) -> None:
        consumer = Consumer(
            entry.username,
            entry.tenant,
            tuple(entry.groups),
            entry.labels,
            entry.headers,
            entry.disabled,
            entry.not_before.timestamp() if entry.not_before else 0.0,
            entry.expires_at.timestamp() if entry.expires_at else 0.0,
            tuple(grant.granted() for grant in entry.grants),
            entry.access,
        )
        self.consumers[entry.tenant, entry.username] = consumer
        for each in entry.credentials:
            kind, draft = draft_of(each)
            index, form = draft.seal(self.vault, entry.tenant, None)
            self.credentials[entry.tenant, kind, index] = Credential(
                entry.username,
                credential_id(each),
                kind,
                form,
                entry.tenant,
                bool(each.id),
                each.disabled,
                each.not_before.timestamp() if each.not_before else 0.0,
                each.expires_at.timestamp() if each.expires_at else 0.0,
            )


class MemoryLookup:
    """One tenant's: a `Lookup`."""

    def __init__(self, memory: Memory, tenant: str) -> None:
        self._memory = memory
        self._tenant = tenant
        self.used: dict[int, Credential] | None = memory.used

    def holds(self, *records: Credential | Consumer) -> bool:
        known = (*self._memory.credentials.values(), *self._memory.consumers.values())
        return {id(record) for record in records} <= {id(each) for each in known}

    def beside(self, record: Credential | Consumer) -> dict[Any, Any] | None:
        if not self.holds(record):
            return None
        # With the record, so that no other one gets its place.
        return self._memory.places.setdefault(id(record), (record, {}))[1]

    def find(self, kind: str, identifier: str) -> Credential | None:
        return self._memory.credentials.get((self._tenant, kind, identifier))

    def find_secret(self, kind: str, secret: str) -> Credential | None:
        digests = self._memory.ring.digests(kind, self._tenant, secret)
        return next(filter(None, (self.find(kind, digest) for digest in digests)), None)

    def consumer(self, username: str) -> Consumer | None:
        return self._memory.consumers.get((self._tenant, username))

    def password_matches(self, password: str, hashed: str) -> bool:
        return verify_password(password, hashed or NOBODY) and bool(hashed)

    def claim(self, nonce: str, seconds: int) -> bool:
        fresh = nonce not in self._memory.nonces
        self._memory.nonces.add(nonce)
        return fresh

    def spend(self, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        memory = self._memory
        used = [index for index, once in enumerate(onces) if once.nonce in memory.nonces]
        if used:
            return Spent((), used[0])
        names = [(self._tenant, quota.name) for quota in quotas]
        counts = [memory.counters.get(name) for name in names]
        found = [reckon(*each, memory.milliseconds) for each in zip(quotas, counts, strict=True)]
        spent = Spent([standing for standing, _ in found])
        if not spent.refused:
            memory.nonces.update(once.nonce for once in onces)
            memory.counters.update(zip(names, (count for _, count in found), strict=True))
        return spent

    def recall(self, secret: str) -> Any | None:
        return self._memory.remembered.get((self._tenant, secret))

    def remember(self, secret: str, value: Any) -> None:
        self._memory.remembered[self._tenant, secret] = value

    def key_set(self, url: str, kid: str | None) -> KeySet:
        try:
            return self._memory.key_sets[url]
        except KeyError:
            raise Fault("keys_unavailable") from None
