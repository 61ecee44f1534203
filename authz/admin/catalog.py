"""The records of a store as commands read and change them: only those that are asked for.

The epoch guards every change: whoever decided by a store that has changed since is told so, and
nothing is half-written.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from authz.contracts import Observer, StoreDown
from authz.quotas import Quota, Spent
from authz.schemes import SCHEMES
from authz.secrets import KeyRing, KeyRingError, KeyRingVault
from authz.store import presence
from authz.store.counters import Counters
from authz.store.keys import Keys
from authz.store.lookups import Records
from authz.store.presence import Report
from authz.store.records import Codec, ConsumerRecord, CredentialRecord, Epoch, Locator
from authz.store.redis import RedisStore, StoreConflict, Writes
from authz.store.target import Target

#: Records read in one round trip.
CHUNK = 1000
#: Seconds that a command waits for the store; nobody's request hangs on it.
PATIENCE = 5.0
#: How often a single change is tried against a store that others change.
TRIES = 5

ConsumerName = tuple[str, str]  # tenant, username
#: Where a credential is, and what is there.
Held = tuple[Locator, CredentialRecord]


class Unknown(Exception):
    """There is no such consumer or credential."""


class Version(Struct, frozen=True):
    """What the store's epoch was; `raw` is None for a store that nothing was applied to."""

    raw: bytes | None
    epoch: Epoch


class Account(Struct, frozen=True):
    """A consumer with its credentials by id: those that are there, and are its own."""

    consumer: ConsumerRecord
    credentials: dict[str, Held]


class Changes(Struct):
    """What to write. A None deletes. `config` None leaves it as it is."""

    consumers: dict[ConsumerName, ConsumerRecord | None] = {}
    credentials: dict[tuple[str, Locator], CredentialRecord | None] = {}
    config: dict[str, Any] | None = None


class Silent(Observer):
    """For commands, which are not measured."""

    def lookups(self, kind: str, *, hit: bool) -> Callable[[], object]:
        return lambda: None

    def store(self, seconds: float, error: str | None) -> None: ...

    def link(self, event: str) -> None: ...

    def refused(self, kind: str) -> None: ...

    def limited(self, service: str, limit: str, result: str) -> None: ...

    def change_lag(self, seconds: float) -> None: ...

    def key_set(self, error: str | None) -> None: ...


class Catalog:
    """The records of one namespace, for commands. Every method raises `StoreDown`."""

    def __init__(self, target: Target, namespace: str, ring: KeyRing) -> None:
        self.keys = Keys(namespace)
        self.codec = Codec(ring, {kind: scheme.form for kind, scheme in SCHEMES.items()})
        self.vault = KeyRingVault(ring)
        self._store = RedisStore(target, PATIENCE, Silent())
        self._records = Records(self._store, self.keys, self.codec)
        self._counters = Counters(self._store, self.keys, Silent())

    # -- reading -----------------------------------------------------------------------------------

    def version(self) -> Version:
        """To be taken before anything is read that a change depends on. Raises `KeyRingError` for
        another key ring's store."""
        (raw,) = self._store.read([self.keys.epoch])
        return Version(raw, self._epoch(raw) or Epoch(secrets.token_hex(8), 0))

    def _epoch(self, stored: bytes | None) -> Epoch | None:
        if stored is None:
            return None
        try:
            epoch: Epoch = self.codec.decode(self.keys.epoch, stored, Epoch)
        except StoreDown:
            raise KeyRingError(
                "this store was written with another key ring; give the one that was used, "
                "or choose another --namespace"
            ) from None
        return epoch

    def is_empty(self) -> bool:
        """Whether nothing was ever applied here."""
        return self._store.read([self.keys.epoch]) == [None]

    def policy(self) -> dict[str, Any]:
        """The document without its consumers; empty when nothing was applied."""
        raw_epoch, raw_config = self._store.read([self.keys.epoch, self.keys.config])
        self._epoch(raw_epoch)
        found: dict[str, Any] = (
            self.codec.decode(self.keys.config, raw_config, dict) if raw_config else {}
        )
        return found

    def load(self, kind: str, key: str) -> Any:
        """One record as a worker would read it now, or None."""
        return self._records.load(kind, [key])[-1]

    def is_claimed(self, tenant: str, nonce: str) -> bool:
        """Whether a nonce was used."""
        return self._store.read([self.keys.nonce(tenant, nonce)]) != [None]

    def standings(self, tenant: str, quotas: Sequence[Quota]) -> Spent:
        """How limits would stand after one more request, of which nothing is taken."""
        return self._counters.look(tenant, quotas)

    def last_used(self, credentials: Sequence[tuple[str, str, str]]) -> Iterator[float]:
        """When these (tenant, username, id) were used last, in Unix seconds to the minute; 0 where
        nobody knows."""
        for raw in self.raw([self.keys.used(*each) for each in credentials]):
            yield float(raw) if raw is not None and raw.isdigit() else 0.0

    def workers(self) -> dict[str, Report]:
        """What the workers tell of themselves that are there."""
        return presence.living(self._store, self.keys)

    def names(self) -> Iterator[list[ConsumerName]]:
        """All consumers' names in batches, in no order; one may come twice."""
        for members in self._store.scan(self.keys.consumers, CHUNK):
            yield [msgspec.json.decode(member, type=ConsumerName) for member in members]

    def consumers(self, names: Sequence[ConsumerName]) -> dict[ConsumerName, ConsumerRecord]:
        """Those of these consumers that are there."""
        keys = [self.keys.consumer(*name) for name in names]
        stored = zip(names, keys, self.raw(keys), strict=True)
        return {
            name: self.codec.decode(key, raw, ConsumerRecord) for name, key, raw in stored if raw
        }

    def accounts(self, names: Sequence[ConsumerName]) -> dict[ConsumerName, Account]:
        """The same with their credentials."""
        found = self.consumers(names)
        places = [
            (name, identifier, at)
            for name, consumer in found.items()
            for identifier, at in consumer.credentials.items()
        ]
        made = {name: Account(consumer, {}) for name, consumer in found.items()}
        records = self.credentials([(name[0], at) for name, _, at in places])
        for (name, identifier, at), record in zip(places, records, strict=True):
            if record is not None and record.is_of(name[1], identifier):
                made[name].credentials[identifier] = (at, record)
        return made

    def credentials(
        self, places: Sequence[tuple[str, Locator]]
    ) -> Iterator[CredentialRecord | None]:
        """What is at these places of tenants, in their order."""
        keys = [self.keys.credential(tenant, at.kind, at.index) for tenant, at in places]
        for key, raw in zip(keys, self.raw(keys), strict=True):
            yield self.codec.decode(key, raw, CredentialRecord) if raw else None

    def raw(self, keys: list[str]) -> Iterator[bytes | None]:
        """What is under these keys, as it is."""
        for start in range(0, len(keys), CHUNK):
            yield from self._store.read(keys[start : start + CHUNK])

    # -- writing -----------------------------------------------------------------------------------

    def commit(self, version: Version, writes: Writes) -> Version:
        """All of it or nothing, if the store is still at that version (`StoreConflict`); returns
        the next one."""
        epoch = Epoch(version.epoch.id, version.epoch.revision + 1)
        raw = self.codec.encode(self.keys.epoch, epoch)
        at = b"%d" % self._store.clock(self.keys.changed)
        marks = {self.keys.changed: at, self.keys.epoch: raw}
        self._store.transaction(self.keys.epoch, version.raw, marks, writes)
        return Version(raw, epoch)

    def write(self, version: Version, changes: Changes) -> Version:
        """The same for records."""
        writes = Writes(self.keys.consumers)
        for key, record in self._named(changes):
            if record is None:
                writes.deletes.append(key)
            else:
                writes.sets[key] = self.codec.encode(key, record)
        for name, consumer in changes.consumers.items():
            (writes.removed if consumer is None else writes.added).append(member(name))
        return self.commit(version, writes)

    def _named(self, changes: Changes) -> Iterator[tuple[str, Any]]:
        for name, consumer in changes.consumers.items():
            yield self.keys.consumer(*name), consumer
        for (tenant, at), credential in changes.credentials.items():
            yield self.keys.credential(tenant, at.kind, at.index), credential
        if changes.config is not None:
            yield self.keys.config, changes.config

    def change(self, make: Callable[[Catalog], Changes]) -> None:
        """Make one change, again if somebody else was quicker: `make` reads what it needs of the
        store that it is given. Raises what `make` raises."""
        for _ in range(TRIES):
            version = self.version()
            with suppress(StoreConflict):
                self.write(version, make(self))
                return
        raise StoreConflict("the store keeps changing; try again")

    def erase(self) -> None:
        """Delete every record of this namespace. What workers noted, nonces and counts are no
        records, and end by themselves."""
        version = self.version()
        for names in self.names():
            version = self.write(version, removal(self.accounts(names).values()))
        keys = self.keys
        self._store.delete([keys.config, keys.epoch, keys.consumers, keys.changed])


def removal(accounts: Iterable[Account]) -> Changes:
    """Consumers go, with all their credentials."""
    gone = Changes()
    for account in accounts:
        tenant = account.consumer.tenant
        gone.consumers[tenant, account.consumer.username] = None
        gone.credentials.update(((tenant, at), None) for at, _ in account.credentials.values())
    return gone


def member(name: ConsumerName) -> str:
    """A consumer as the set of all names has it."""
    return msgspec.json.encode(name).decode()
