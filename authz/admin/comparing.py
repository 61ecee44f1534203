"""Consumers of a document beside what the store has of them: the records that they will be.

The document owns what it once wrote: what is no longer in it goes. What the commands made
(`authz credential issue`) stays until it is revoked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from authz.admin.catalog import Account, Catalog, ConsumerName, Held, member
from authz.admin.lines import Lines, consumer_fields, credential_fields
from authz.admin.spool import Owner, Row, Spool, Taken
from authz.contracts import Vault
from authz.document import ConsumerEntry, Placed, credential_id, draft_of
from authz.plain import DocumentError
from authz.store.records import ConsumerRecord, CredentialRecord, Locator

#: Password hashes take their time, off the interpreter's lock. Nothing else gains by a thread.
THREADS = os.cpu_count() or 1
_NOTHING: dict[str, Held] = {}


class _Sealed(NamedTuple):
    """A credential of a document, as it will be stored, and its place there."""

    place: str
    held: Held


class Job(NamedTuple):
    """A credential of a document, by its number there, and whom the store knows by that name."""

    placed: Placed
    number: int
    known: Account | None


class _Hashes(Exception):
    """To seal this takes a password hash."""


class _Hurried:
    """A `Vault` that does what is quick, and raises `_Hashes` for the rest."""

    def __init__(self, vault: Vault) -> None:
        self.digest = vault.digest
        self.is_digest = vault.is_digest
        self.encrypt = vault.encrypt
        self.decrypt = vault.decrypt

    def hash_password(self, password: str) -> str:
        raise _Hashes

    def password_matches(self, password: str, hashed: str) -> bool:
        raise _Hashes


class Comparison:
    """Takes a gateway's consumers, a batch at a time, and spools what has to change for them.

    `at` is the creation time of what is new. Raises `DocumentError`.
    """

    def __init__(self, catalog: Catalog, spool: Spool, at: float) -> None:
        self.lines = Lines()
        self._catalog = catalog
        self._keys = catalog.keys
        self._spool = spool
        self._at = at
        self._hurried = _Hurried(catalog.vault)
        self._unit = 0
        self._pool = ThreadPoolExecutor(THREADS)

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    # -- consumers of the documents ----------------------------------------------------------------

    def take(self, batch: Sequence[Placed], progress: Callable[[int, int], None]) -> None:
        """`progress` is told how many credentials of how many are sealed."""
        names = [(placed.entry.tenant, placed.entry.username) for placed in batch]
        try:
            self._spool.want([(*n, p.at) for n, p in zip(names, batch, strict=True)])
        except Taken as taken:
            raise DocumentError(_twice(taken, batch)) from None
        found = self._catalog.accounts(names)
        known = [found.get(name) for name in names]
        sealed = self._seal(batch, known, progress)
        owners: list[tuple[str, Owner]] = []
        rows: list[Row] = []
        for name, placed, account in zip(names, batch, known, strict=True):
            own = {one.held[1].id: one for one in islice(sealed, len(placed.entry.credentials))}
            self._compare(name, placed, account, own, owners, rows)
        self._own(owners)
        self._spool.put(rows)

    def _seal(
        self,
        batch: Sequence[Placed],
        known: Sequence[Account | None],
        progress: Callable[[int, int], None],
    ) -> Iterator[_Sealed]:
        jobs = [
            Job(placed, number, account)
            for placed, account in zip(batch, known, strict=True)
            for number in range(len(placed.entry.credentials))
        ]
        made = [self._seal_now(job) for job in jobs]
        slow = [job for job, one in zip(jobs, made, strict=True) if one is None]
        done = len(jobs) - len(slow)
        if done:
            progress(done, len(jobs))
        hashed: list[_Sealed] = []
        for one in self._pool.map(self._seal_then, slow):
            hashed.append(one)
            progress(done + len(hashed), len(jobs))
        rest = iter(hashed)
        return (one if one is not None else next(rest) for one in made)

    def _seal_now(self, job: Job) -> _Sealed | None:
        """None for one that has to be hashed."""
        try:
            return seal(job, self._hurried, self._at)
        except _Hashes:
            return None

    def _seal_then(self, job: Job) -> _Sealed:
        return seal(job, self._catalog.vault, self._at)

    def _compare(
        self,
        name: ConsumerName,
        placed: Placed,
        known: Account | None,
        sealed: dict[str, _Sealed],
        owners: list[tuple[str, Owner]],
        rows: list[Row],
    ) -> None:
        before = known.credentials if known is not None else _NOTHING
        after = {i: held for i, held in before.items() if not held[1].managed}
        after.update((identifier, one.held) for identifier, one in sealed.items())
        places = {i: after[i][0] for i in sorted(after)}
        record = consumer_record(placed.entry, places, known.consumer if known else None)
        self._unit += 1
        if known is None or known.consumer != record:
            rows.append(self._row(self._keys.consumer(*name), record, member(name)))
        for identifier, held in after.items():
            key = self._key(name, held)
            place = sealed[identifier].place if identifier in sealed else ""
            owners.append((key, Owner(*name, identifier, place)))
            if before.get(identifier) != held:
                rows.append(self._row(key, held[1]))
        if before:
            staying = {at for at, _ in after.values()}
            rows += [self._row(self._key(name, h)) for h in before.values() if h[0] not in staying]
        self._tell(name, known, record, before, after)

    def _row(self, key: str, record: Any = None, name: str | None = None) -> Row:
        sealed = None if record is None else self._catalog.codec.encode(key, record)
        return Row(self._unit, key, sealed, name)

    def _key(self, name: ConsumerName, held: Held) -> str:
        return self._keys.credential(name[0], held[0].kind, held[0].index)

    def _tell(
        self,
        name: ConsumerName,
        known: Account | None,
        record: ConsumerRecord,
        before: dict[str, Held],
        after: dict[str, Held],
    ) -> None:
        if known is None:
            self.lines.add("+", "consumer", name)
        elif detail := consumer_fields(known.consumer, record):
            self.lines.add("~", "consumer", name, detail)
        for identifier, held in after.items():
            if identifier not in before:
                self.lines.add("+", "credential", (*name, identifier))
            elif detail := credential_fields(before[identifier], held):
                self.lines.add("~", "credential", (*name, identifier), detail)
        for identifier in before.keys() - after.keys():
            self.lines.add("-", "credential", (*name, identifier))

    # -- consumers that no document has ------------------------------------------------------------

    def leave(self, names: Sequence[ConsumerName]) -> None:
        """Those that a document once brought go, with all their credentials; the others stay."""
        owners: list[tuple[str, Owner]] = []
        rows: list[Row] = []
        for name, account in self._catalog.accounts(names).items():
            held = account.credentials.items()
            if not account.consumer.managed:
                owners += [(self._key(name, h), Owner(*name, i, "")) for i, h in held]
                continue
            self._unit += 1
            self.lines.add("-", "consumer", name)
            rows.append(self._row(self._keys.consumer(*name), None, member(name)))
            for identifier, one in held:
                self.lines.add("-", "credential", (*name, identifier))
                rows.append(self._row(self._key(name, one)))
        self._own(owners)
        self._spool.put(rows)

    def _own(self, owners: Sequence[tuple[str, Owner]]) -> None:
        """One look-up key, one credential: otherwise which of two would be proven?"""
        try:
            self._spool.own(owners)
        except Taken as taken:
            first, second = taken.first, taken.second
            if not second.place:  # what is in the store was there before
                first, second = second, first
            raise DocumentError(
                f"{second.place}: duplicate: credential {first.id!r} of consumer "
                f"{first.username!r} has it already"
            ) from None


def _twice(taken: Taken, batch: Iterable[Placed]) -> str:
    entry = next(placed.entry for placed in batch if placed.at == taken.second)
    first = taken.first.rstrip(":. ")
    return f"{taken.second}username: {entry.username!r} is already taken: {first}"


# -- records ---------------------------------------------------------------------------------------


def seal(job: Job, vault: Vault, at: float) -> _Sealed:
    """A document's credential as it will be stored. Raises `DocumentError` with its place."""
    placed, number, known = job
    consumer = placed.entry
    entry: Any = consumer.credentials[number]
    kind, draft = draft_of(entry)
    identifier = credential_id(entry)
    held = known.credentials.get(identifier) if known is not None else None
    before = held[1] if held is not None else None
    form = before.form if before is not None and before.kind == kind else None
    place = f"{placed.at}credentials[{number}].{kind}"
    try:
        index, form = draft.seal(vault, consumer.tenant, form)
    except ValueError as error:
        raise DocumentError(f"{place}.{error}") from None
    record = CredentialRecord(
        consumer=consumer.username,
        id=identifier,
        kind=kind,
        form=form,
        tenant=consumer.tenant,
        named=entry.id is not UNSET,
        disabled=entry.disabled,
        not_before=_instant(entry.not_before),
        expires_at=_instant(entry.expires_at),
        managed=True,
        created_at=before.created_at if before is not None else at,
        successor=before.successor if before is not None else "",
    )
    return _Sealed(place, (Locator(kind, index), record))


def _instant(value: datetime | msgspec.UnsetType | None) -> float:
    return value.timestamp() if isinstance(value, datetime) else 0.0


def consumer_record(
    entry: ConsumerEntry, credentials: dict[str, Locator], known: ConsumerRecord | None
) -> ConsumerRecord:
    """A document's consumer as it will be stored; `known` is what is stored of it now."""
    # What the commands granted stays, as what they issued does.
    own = () if known is None else tuple(grant for grant in known.grants if not grant.managed)
    return ConsumerRecord(
        username=entry.username,
        tenant=entry.tenant,
        groups=tuple(entry.groups),
        labels=entry.labels,
        headers=entry.headers,
        disabled=entry.disabled,
        not_before=_instant(entry.not_before),
        expires_at=_instant(entry.expires_at),
        grants=(*(grant.granted() for grant in entry.grants), *own),
        access=entry.access,
        managed=True,
        credentials=credentials,
    )
