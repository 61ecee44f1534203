"""A `Lookups` of what documents say and no store holds: for decisions about them beforehand."""

from __future__ import annotations

import base64
import copy
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from argon2 import PasswordHasher
from argon2.low_level import Type

from authz.admin.comparing import Job, consumer_record, seal
from authz.contracts import Fault, Lookup
from authz.document import Placed, draft_of
from authz.hashes import verify_password
from authz.jose.key_set import KeySet
from authz.plain import DocumentError
from authz.quotas import Count, Quota, Spent, reckon
from authz.references import Secret
from authz.secrets import KEY_BYTES, KeyRing, KeyRingVault
from authz.values import Consumer, Credential, Once

#: The least that argon2id computes: these hashes are never stored.
_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=16, type=Type.ID)
#: An unknown user is compared with it.
_NOBODY = _HASHER.hash("nobody", salt=bytes(16))


class CheapVault(KeyRingVault):
    """A vault for what is never stored."""

    def hash_password(self, password: str) -> str:
        return _HASHER.hash(password.encode("utf-8", "surrogateescape"))


class Offline:
    """Every tenant's consumers and credentials, in memory. `at` is the time, in Unix seconds, by
    which nonces are forgotten.

    `unread` names the credentials that cannot be had without the key ring that exported them, as
    (place, consumer, id): nobody is proven by one of them.
    """

    def __init__(self, ring: KeyRing | None = None) -> None:
        self._given = ring is not None
        self.ring = ring or fresh_ring()
        self.at = 0.0
        self.unread: list[tuple[str, str, str]] = []
        self._consumers: dict[tuple[str, str], Consumer] = {}
        self._credentials: dict[tuple[str, str, str], Credential] = {}
        self._nonces: dict[tuple[str, str], float] = {}
        self._counts: dict[tuple[str, str], Count] = {}
        self._spends = True

    def load(self, entries: Iterable[Placed]) -> Offline:
        """Take consumers as an apply would. Raises `DocumentError` with the place."""
        vault = CheapVault(self.ring)
        for placed in entries:
            name = (placed.entry.tenant, placed.entry.username)
            if name in self._consumers:
                raise DocumentError(f"{placed.at}username: {name[1]!r} is already taken")
            self._consumers[name] = consumer_record(placed.entry, {}, None)
            for number in range(len(placed.entry.credentials)):
                self._take(placed, number, vault)
        return self

    def _take(self, placed: Placed, number: int, vault: KeyRingVault) -> None:
        entry = placed.entry
        try:
            place, (at, record) = seal(Job(placed, number, None), vault, 0.0)
        except DocumentError:
            kind, draft = draft_of(entry.credentials[number])
            if self._given or not _needs_ring(draft):
                raise
            place = f"{placed.at}credentials[{number}].{kind}"
            identifier = getattr(entry.credentials[number], "id", None) or kind
            self.unread.append((place, entry.username, str(identifier)))
            return
        key = (entry.tenant, at.kind, at.index)
        if key in self._credentials:
            first = self._credentials[key]
            raise DocumentError(
                f"{place}: duplicate: credential {first.id!r} of consumer {first.consumer!r} "
                "has it already"
            )
        self._credentials[key] = record

    def within(self, tenant: str) -> Lookup:
        return _Within(self, tenant)

    def apart(self, *, spends: bool = True) -> Offline:
        """The same records, and nonces and counts of its own: what is used up here is not used up
        there. Without `spends` nothing is used up at all."""
        made = copy.copy(self)
        made._nonces, made._spends = dict(self._nonces), spends
        made._counts = dict(self._counts)
        return made

    def credential(self, tenant: str, kind: str, index: str) -> Credential | None:
        return self._credentials.get((tenant, kind, index))

    def consumer(self, tenant: str, username: str) -> Consumer | None:
        return self._consumers.get((tenant, username))

    def claim(self, tenant: str, nonce: str, seconds: int) -> bool:
        key = tenant, nonce
        if self._nonces.get(key, self.at) > self.at:
            return False
        if self._spends:
            self._nonces[key] = self.at + seconds
        return True

    def spend(self, tenant: str, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        for index, once in enumerate(onces):
            if self._nonces.get((tenant, once.nonce), self.at) > self.at:
                return Spent(replayed=index)
        names = [(tenant, quota.name) for quota in quotas]
        now = round(self.at * 1000)
        found = [
            reckon(quota, self._counts.get(name), now)
            for quota, name in zip(quotas, names, strict=True)
        ]
        spent = Spent([standing for standing, _ in found])
        if self._spends and not spent.refused:
            self._counts.update(zip(names, (count for _, count in found), strict=True))
            for once in onces:
                self.claim(tenant, once.nonce, once.seconds)
        return spent


def fresh_ring() -> KeyRing:
    """A key ring that nobody has."""
    return KeyRing.parse(f"k:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}")


def _needs_ring(draft: Any) -> bool:
    values = (getattr(draft, name) for name in draft.__struct_fields__)
    return any(isinstance(v, Secret) and v.source in ("digest", "encrypted") for v in values)


class _Within:
    """One tenant's. It remembers nothing of what it was asked, so that each decision is whole."""

    used = None

    def __init__(self, offline: Offline, tenant: str) -> None:
        self._offline = offline
        self._tenant = tenant

    def find(self, kind: str, identifier: str) -> Credential | None:
        return self._offline.credential(self._tenant, kind, identifier)

    def find_secret(self, kind: str, secret: str) -> Credential | None:
        digests = self._offline.ring.digests(kind, self._tenant, secret)
        return next(filter(None, (self.find(kind, digest) for digest in digests)), None)

    def consumer(self, username: str) -> Consumer | None:
        return self._offline.consumer(self._tenant, username)

    def password_matches(self, password: str, hashed: str) -> bool:
        return verify_password(password, hashed or _NOBODY) and bool(hashed)

    def claim(self, nonce: str, seconds: int) -> bool:
        return self._offline.claim(self._tenant, nonce, seconds)

    def spend(self, quotas: Sequence[Quota], onces: Sequence[Once]) -> Spent:
        return self._offline.spend(self._tenant, quotas, onces)

    def holds(self, *records: Credential | Consumer) -> bool:
        return False

    def beside(self, record: Credential | Consumer) -> dict[Any, Any] | None:
        return None

    def recall(self, secret: str) -> Any | None:
        return None

    def remember(self, secret: str, value: Any) -> None:
        pass

    def key_set(self, url: str, kid: str | None) -> KeySet:
        """No network: keys that are published elsewhere are not to be had."""
        raise Fault("keys_unavailable")
