"""All records of a store, read whole and changed in one transaction.

The epoch guards every change: whoever plans against a store that has changed since is told so,
and nothing is half-written.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from authz.contracts import Observer, StoreDown
from authz.schemes import SCHEMES
from authz.secrets import KeyRing, KeyRingError, KeyRingVault
from authz.store.keys import Keys
from authz.store.lookups import Records
from authz.store.records import Codec, ConsumerRecord, CredentialRecord, Epoch, Locator
from authz.store.redis import RedisStore, StoreConflict
from authz.store.target import Target

#: Records read in one round trip.
CHUNK = 1000
#: Seconds that a command waits for the store; nobody's request hangs on it.
PATIENCE = 5.0
#: How often a single change is tried against a store that others change.
TRIES = 5

ConsumerName = tuple[str, str]  # tenant, username
CredentialName = tuple[str, str, str]  # tenant, username, credential id


class Unknown(Exception):
    """There is no such consumer or credential."""


class Snapshot(Struct):
    """Everything in the store at one epoch."""

    epoch: bytes | None
    revision: int
    epoch_id: str
    config: dict[str, Any]
    consumers: dict[ConsumerName, ConsumerRecord]
    credentials: dict[CredentialName, CredentialRecord]


class Changes(Struct):
    """What to write. A None deletes. `config` None leaves it as it is."""

    consumers: dict[ConsumerName, ConsumerRecord | None] = {}
    credentials: dict[tuple[str, Locator], CredentialRecord | None] = {}
    config: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.consumers or self.credentials or self.config is not None)


class Silent(Observer):
    """For commands, which are not measured."""

    def lookups(self, kind: str, *, hit: bool) -> Callable[[], object]:
        return lambda: None

    def store(self, seconds: float, error: str | None) -> None: ...

    def link(self, event: str) -> None: ...

    def refused(self, kind: str) -> None: ...

    def change_lag(self, seconds: float) -> None: ...

    def key_set(self, error: str | None) -> None: ...


class Catalog:
    """The records of one namespace, for commands."""

    def __init__(self, target: Target, namespace: str, ring: KeyRing) -> None:
        self.keys = Keys(namespace)
        self.codec = Codec(ring, {kind: scheme.form for kind, scheme in SCHEMES.items()})
        self.vault = KeyRingVault(ring)
        self._store = RedisStore(target, PATIENCE, Silent())
        self._records = Records(self._store, self.keys, self.codec)

    def read(self) -> Snapshot:
        """Everything. Raises `StoreDown`, and `KeyRingError` for another key ring's store."""
        raw_epoch, raw_config = self._store.read([self.keys.epoch, self.keys.config])
        epoch = self._epoch(raw_epoch)
        config = self._decode(self.keys.config, raw_config, dict) if raw_config else {}
        names = sorted(_consumer_name(m) for m in self._store.members(self.keys.consumers))
        consumers = dict(self._consumers(names))
        return Snapshot(
            epoch=raw_epoch,
            revision=epoch.revision if epoch else 0,
            epoch_id=epoch.id if epoch else secrets.token_hex(8),
            config=config,
            consumers=consumers,
            credentials=dict(self._credentials(consumers)),
        )

    def is_empty(self) -> bool:
        """Whether nothing was ever applied here."""
        return self._store.read([self.keys.epoch]) == [None]

    def load(self, kind: str, key: str) -> Any:
        """One record as the store has it now, or None. Raises `StoreDown`."""
        return self._records.load(kind, [key])[-1]

    def policy(self) -> dict[str, Any]:
        """The document without its consumers; empty when nothing was applied."""
        raw_epoch, raw_config = self._store.read([self.keys.epoch, self.keys.config])
        self._epoch(raw_epoch)
        found: dict[str, Any] = (
            self._decode(self.keys.config, raw_config, dict) if raw_config else {}
        )
        return found

    def is_claimed(self, tenant: str, nonce: str) -> bool:
        """Whether a nonce was used."""
        return self._store.read([self.keys.nonce(tenant, nonce)]) != [None]

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

    def _decode(self, key: str, stored: bytes, type_: type[Any]) -> Any:
        return self.codec.decode(key, stored, type_)

    def _consumers(
        self, names: list[ConsumerName]
    ) -> Iterator[tuple[ConsumerName, ConsumerRecord]]:
        keys = [self.keys.consumer(*name) for name in names]
        for name, key, stored in zip(names, keys, self._many(keys), strict=True):
            if stored is not None:
                yield name, self._decode(key, stored, ConsumerRecord)

    def _credentials(
        self, consumers: dict[ConsumerName, ConsumerRecord]
    ) -> Iterator[tuple[CredentialName, CredentialRecord]]:
        places = [
            ((tenant, username, identifier), self.keys.credential(tenant, at.kind, at.index))
            for (tenant, username), consumer in consumers.items()
            for identifier, at in consumer.credentials.items()
        ]
        stored = self._many([key for _, key in places])
        for (name, key), record in zip(places, stored, strict=True):
            if record is not None:
                yield name, self._decode(key, record, CredentialRecord)

    def _many(self, keys: list[str]) -> Iterator[bytes | None]:
        for start in range(0, len(keys), CHUNK):
            yield from self._store.read(keys[start : start + CHUNK])

    def write(self, snapshot: Snapshot, changes: Changes) -> None:
        """All of it or nothing, if the store is still as in the snapshot (`StoreConflict`)."""
        writes: dict[str, bytes] = {}
        deletes: list[str] = []
        for key, record in self._named(changes):
            if record is None:
                deletes.append(key)
            else:
                writes[key] = self.codec.encode(key, record)
        epoch = Epoch(snapshot.epoch_id, snapshot.revision + 1)
        writes[self.keys.epoch] = self.codec.encode(self.keys.epoch, epoch)
        added = [_member(n) for n, record in changes.consumers.items() if record is not None]
        removed = [_member(n) for n, record in changes.consumers.items() if record is None]
        writes[self.keys.changed] = b"%d" % self._store.clock(self.keys.changed)
        self._store.transaction(
            self.keys.epoch, snapshot.epoch, writes, deletes, (self.keys.consumers, added, removed)
        )

    def _named(self, changes: Changes) -> Iterator[tuple[str, Any]]:
        for name, consumer in changes.consumers.items():
            yield self.keys.consumer(*name), consumer
        for (tenant, at), credential in changes.credentials.items():
            yield self.keys.credential(tenant, at.kind, at.index), credential
        if changes.config is not None:
            yield self.keys.config, changes.config

    def change(self, make: Callable[[Snapshot], Changes]) -> None:
        """Make one change, again if somebody else was quicker. Raises what `make` raises."""
        for _ in range(TRIES):
            snapshot = self.read()
            with suppress(StoreConflict):
                self.write(snapshot, make(snapshot))
                return
        raise StoreConflict("the store keeps changing; try again")

    def erase(self) -> None:
        """Delete every record of this namespace."""
        snapshot = self.read()
        changes = Changes(
            consumers=dict.fromkeys(snapshot.consumers),
            credentials={
                (tenant, at): None
                for (tenant, _), consumer in snapshot.consumers.items()
                for at in consumer.credentials.values()
            },
        )
        self.write(snapshot, changes)
        keys = self.keys
        self._store.delete([keys.config, keys.epoch, keys.consumers, keys.changed])


def _member(name: ConsumerName) -> str:
    return msgspec.json.encode(name).decode()


def _consumer_name(member: str) -> ConsumerName:
    return msgspec.json.decode(member, type=tuple[str, str])
