"""What rests on which key of the ring, and moving it to the one that writes.

A record is sealed with a key, and what must be had back in it is encrypted with the same one: both
can be done again. The look-up key of an API key is a digest, and of that only its owner has the
text: it stays under its key until the credential is rotated, or applied again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec import Struct

from authz.admin.catalog import Catalog, ConsumerName
from authz.admin.credentials import Refused
from authz.admin.listing import Listing
from authz.admin.ring_file import RingFile
from authz.contracts import StoreDown
from authz.schemes import SCHEMES
from authz.store.records import ConsumerRecord, CredentialRecord, Locator
from authz.store.redis import StoreConflict, Writes

#: Consumers whose records are written in one transaction: few enough that neither the store nor a
#: worker, which hears of each, is held up.
BATCH = 200
#: How often a batch is tried against a store that others change, and the pause in between.
TRIES, PAUSE = 100, 0.02
#: So many are named.
NAMED = 20

#: Told how many consumers of how many are done, and how many records were written.
Progress = Callable[[int, int, int], None]


class Stored(NamedTuple):
    """A record as it is in the store, and what it is."""

    key: str
    raw: bytes
    type: type[Any]

    @property
    def sealed_with(self) -> str:
        return self.raw.partition(b".")[0].decode(errors="replace")


class Resting(Struct):
    """By the ids of keys: how many records are sealed, how many credentials are looked up, and of
    these the first few."""

    sealed: Counter[str]
    sought: Counter[str]
    named: dict[str, list[str]]
    total: int = 0


def resting(catalog: Catalog) -> Resting:
    """Raises `StoreDown` and `KeyRingError`."""
    found = Resting(Counter(), Counter(), {})
    for one in _general(catalog):
        found.sealed[one.sealed_with] += 1
    for names in Listing(catalog).names():
        found.total += len(names)
        for name, consumer in catalog.consumers(names).items():
            _seek(found, name, consumer)
        for one in _records(catalog, names):
            found.sealed[one.sealed_with] += 1
    return found


def _seek(found: Resting, name: ConsumerName, consumer: ConsumerRecord) -> None:
    for identifier, at in consumer.credentials.items():
        if not SCHEMES[at.kind].public_identifier:
            key = at.index.partition(".")[0]
            found.sought[key] += 1
            first = found.named.setdefault(key, [])
            if len(first) < NAMED:
                first.append("/".join(part for part in (*name, identifier) if part))


def reseal(catalog: Catalog, progress: Progress) -> tuple[int, list[str]]:
    """Seal and encrypt everything with the key that writes, a batch at a time: what is done is
    done, however it ends. How many records were written, and which do not open."""
    broken: list[str] = []
    written = _batch(catalog, lambda: _general(catalog), broken)
    listing, done = Listing(catalog), 0
    for names in listing.names(BATCH):
        written += _batch(catalog, lambda names=names: _records(catalog, names), broken)
        done += len(names)
        progress(done, listing.size, written)
    return written, broken


def _batch(catalog: Catalog, find: Callable[..., Iterator[Stored]], broken: list[str]) -> int:
    writer = catalog.codec.ring.writer
    for _ in range(TRIES):
        version = catalog.version()
        writes, bad, epoch = Writes(catalog.keys.consumers), [], False
        for one in find():
            if one.sealed_with == writer:
                continue
            if one.key == catalog.keys.epoch:
                epoch = True  # written anew with every change
                continue
            try:
                record = catalog.codec.decode(one.key, one.raw, one.type)
            except StoreDown:
                bad.append(one.key)
                continue
            writes.sets[one.key] = catalog.codec.encode(one.key, record)
        if not writes.sets and not epoch:
            broken += bad
            return 0
        with suppress(StoreConflict):
            catalog.commit(version, writes)
            broken += bad
            return len(writes.sets) + epoch
        time.sleep(PAUSE)
    raise StoreConflict("the store keeps changing; run the command again, it goes on from here")


def _general(catalog: Catalog) -> Iterator[Stored]:
    """What is there once."""
    for key in (catalog.keys.epoch, catalog.keys.config):
        (raw,) = catalog.raw([key])
        if raw is not None:
            yield Stored(key, raw, dict)


def _records(catalog: Catalog, names: list[ConsumerName]) -> Iterator[Stored]:
    """The records of these consumers."""
    keys = [catalog.keys.consumer(*name) for name in names]
    places: list[tuple[str, Locator]] = []
    for name, key, raw in zip(names, keys, catalog.raw(keys), strict=True):
        if raw is None:
            continue
        yield Stored(key, raw, ConsumerRecord)
        with suppress(StoreDown):
            consumer = catalog.codec.decode(key, raw, ConsumerRecord)
            places += [(name[0], at) for at in consumer.credentials.values()]
    keys = [catalog.keys.credential(tenant, at.kind, at.index) for tenant, at in places]
    for key, raw in zip(keys, catalog.raw(keys), strict=True):
        if raw is not None:
            yield Stored(key, raw, CredentialRecord)


# -- taking a key out ------------------------------------------------------------------------------


def retire(file: RingFile, catalog: Catalog, identifier: str) -> None:
    """Take a key out of the ring's file, on which nothing rests. Raises `Refused`."""
    with file.alone():
        ring = file.ring()
        if identifier not in ring.marks:
            known = ", ".join(ring.marks)
            raise Refused(f"{file.path} has no key {identifier!r}; it has: {known}")
        if identifier == ring.writer:
            raise Refused(f"{identifier} is the key that writes: `authz keyring rotate` first")
        while True:
            version = catalog.version()
            _require_free(catalog, identifier)
            before = file.remove(identifier)
            if catalog.version().raw == version.raw:
                return
            # Somebody wrote meanwhile, perhaps by what the ring was: look again.
            file.restore(before)


def _require_free(catalog: Catalog, identifier: str) -> None:
    found = resting(catalog)
    if sealed := found.sealed[identifier]:
        raise Refused(
            f"{sealed} records are sealed with {identifier}: `authz keyring reseal` first"
        )
    if sought := found.sought[identifier]:
        named = ", ".join(found.named[identifier])
        more = f" and {sought - NAMED} more" if sought > NAMED else ""
        raise Refused(
            f"{sought} credentials are looked up by {identifier}: {named}{more}; rotate each "
            "(`authz credential rotate`), or apply a document that has their keys"
        )
