"""What would change if a document were applied, and the records that would say so.

The document owns what it once wrote: what is no longer in it goes. What the commands made
(`authz credential issue`) stays until it is revoked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from authz.admin.catalog import Catalog, Changes, ConsumerName, CredentialName, Snapshot
from authz.contracts import Vault
from authz.document import ConsumerEntry, Document, credential_id, draft_of, schemes_of
from authz.plain import DocumentError
from authz.routes import RouteTable
from authz.store.records import ConsumerRecord, CredentialRecord, Locator

Sign = Literal["+", "~", "-", "="]
#: Told how many of how many credentials are done.
Progress = Callable[[int, int], None]


class Line(Struct, frozen=True):
    """One change for people to read: `~ credential john/primary (expires_at)`."""

    sign: Sign
    what: str
    detail: str = ""


class Plan(Struct, frozen=True):
    """What to show, and what to write."""

    lines: tuple[Line, ...]
    warnings: tuple[str, ...]
    changes: Changes
    snapshot: Snapshot


class _Sealed(Struct, frozen=True):
    """A credential of the document, as it will be stored."""

    place: str
    name: CredentialName
    at: Locator
    record: CredentialRecord


def _quiet(done: int, total: int) -> None:
    pass


def plan(document: Document, catalog: Catalog, at: float, progress: Progress = _quiet) -> Plan:
    """Compare a document with the store. `at` is the creation time of what is new."""
    RouteTable(document)
    snapshot = catalog.read()
    sealed = _seal_all(document, snapshot, catalog.vault, at, progress)
    consumers, credentials = _wanted(document, snapshot, sealed)
    _refuse_duplicates(sealed, credentials)
    config = _config(document)
    changes = Changes(
        consumers=_difference(snapshot.consumers, consumers),
        credentials=_credential_changes(snapshot, credentials),
        config=config if config != snapshot.config else None,
    )
    lines = (
        *_config_lines(snapshot.config, config),
        *_lines("consumer", snapshot.consumers, consumers, ignore=("credentials", "managed")),
        *_lines("credential", _located(snapshot), credentials, ignore=("created_at", "managed")),
    )
    return Plan(lines, tuple(_warnings(document)), changes, snapshot)


def apply(catalog: Catalog, made: Plan) -> None:
    """Write a plan, all or nothing. A store without an epoch gets one even if nothing changes."""
    if made.changes or made.snapshot.epoch is None:
        catalog.write(made.snapshot, made.changes)


# -- the records that the document asks for --------------------------------------------------------

#: A credential's place in the store and its record.
_Stored = tuple[Locator, CredentialRecord]


def _seal_all(
    document: Document, snapshot: Snapshot, vault: Vault, at: float, progress: Progress
) -> list[_Sealed]:
    jobs = [
        (f"consumers[{index}].credentials[{number}]", consumer, entry)
        for index, consumer in enumerate(document.consumers)
        for number, entry in enumerate(consumer.credentials)
    ]
    sealed: list[_Sealed] = []
    # Password hashes take their time, off the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        made = pool.map(lambda job: _seal(job, snapshot, vault, at), jobs)
        for done, one in enumerate(made, 1):
            sealed.append(one)
            progress(done, len(jobs))
    return sealed


def _seal(
    job: tuple[str, ConsumerEntry, Any], snapshot: Snapshot, vault: Vault, at: float
) -> _Sealed:
    place, consumer, entry = job
    kind, draft = draft_of(entry)
    name = (consumer.tenant, consumer.username, credential_id(entry))
    before = snapshot.credentials.get(name)
    form = before.form if before is not None and before.kind == kind else None
    try:
        index, form = draft.seal(vault, consumer.tenant, form)
    except ValueError as error:
        raise DocumentError(f"{place}.{kind}.{error}") from None
    record = CredentialRecord(
        consumer=consumer.username,
        id=name[2],
        kind=kind,
        form=form,
        tenant=consumer.tenant,
        named=entry.id is not UNSET,
        disabled=entry.disabled,
        not_before=_instant(entry.not_before),
        expires_at=_instant(entry.expires_at),
        managed=True,
        created_at=before.created_at if before is not None else at,
    )
    return _Sealed(place, name, Locator(kind, index), record)


def _instant(value: datetime | msgspec.UnsetType | None) -> float:
    return value.timestamp() if isinstance(value, datetime) else 0.0


def _wanted(
    document: Document, snapshot: Snapshot, sealed: list[_Sealed]
) -> tuple[dict[ConsumerName, ConsumerRecord], dict[CredentialName, _Stored]]:
    """Every consumer and credential as they will be, what the commands made included."""
    entries = {(c.tenant, c.username): c for c in document.consumers}
    kept = {n: c for n, c in snapshot.consumers.items() if not c.managed and n not in entries}
    credentials = {
        name: stored
        for name, stored in _located(snapshot).items()
        if name[:2] in kept or (name[:2] in entries and not stored[1].managed)
    }
    credentials.update((one.name, (one.at, one.record)) for one in sealed)
    located: dict[ConsumerName, dict[str, Locator]] = {name: {} for name in entries}
    for (tenant, username, identifier), (at, _) in credentials.items():
        if (tenant, username) in located:
            located[tenant, username][identifier] = at
    made = {name: _consumer_record(entry, located[name]) for name, entry in entries.items()}
    return {**kept, **made}, credentials


def _located(snapshot: Snapshot) -> dict[CredentialName, _Stored]:
    return {
        name: (snapshot.consumers[name[:2]].credentials[name[2]], record)
        for name, record in snapshot.credentials.items()
    }


def _consumer_record(entry: ConsumerEntry, credentials: dict[str, Locator]) -> ConsumerRecord:
    return ConsumerRecord(
        username=entry.username,
        tenant=entry.tenant,
        groups=tuple(entry.groups),
        labels=entry.labels,
        headers=entry.headers,
        disabled=entry.disabled,
        not_before=_instant(entry.not_before),
        expires_at=_instant(entry.expires_at),
        managed=True,
        credentials=dict(sorted(credentials.items())),
    )


def _refuse_duplicates(sealed: list[_Sealed], wanted: dict[CredentialName, _Stored]) -> None:
    """One look-up key, one credential: otherwise which of two would be proven?"""
    places = {one.name: one.place for one in sealed}
    owners: dict[tuple[str, Locator], CredentialName] = {}
    for name, (at, record) in wanted.items():
        other = owners.setdefault((record.tenant, at), name)
        if other != name:
            second, first = (name, other) if name in places else (other, name)
            raise DocumentError(
                f"{places[second]}.{at.kind}: duplicate: credential {first[2]!r} of consumer "
                f"{first[1]!r} has it already"
            )


def _config(document: Document) -> dict[str, Any]:
    """What the workers need of a document: everything but the consumers, as JSON gives it back."""
    policy = msgspec.json.encode(msgspec.structs.replace(document, consumers=[]))
    config: dict[str, Any] = msgspec.json.decode(policy)
    return {"profile": document.profile, "services": config.get("services", [])}


# -- differences -----------------------------------------------------------------------------------


def _difference(
    before: dict[ConsumerName, ConsumerRecord], after: dict[ConsumerName, ConsumerRecord]
) -> dict[ConsumerName, ConsumerRecord | None]:
    changed: dict[ConsumerName, ConsumerRecord | None] = {
        name: record for name, record in after.items() if before.get(name) != record
    }
    return changed | dict.fromkeys(before.keys() - after.keys())


def _credential_changes(
    snapshot: Snapshot, after: dict[CredentialName, _Stored]
) -> dict[tuple[str, Locator], CredentialRecord | None]:
    """By place in the store: a credential with a new key leaves its old place."""
    old = {(record.tenant, at): record for at, record in _located(snapshot).values()}
    new = {(record.tenant, at): record for at, record in after.values()}
    changed: dict[tuple[str, Locator], CredentialRecord | None] = {
        place: record for place, record in new.items() if old.get(place) != record
    }
    return changed | dict.fromkeys(old.keys() - new.keys())


def _lines(kind: str, before: Any, after: Any, ignore: tuple[str, ...]) -> Iterator[Line]:
    for name in sorted({*before, *after}):
        shown = f"{kind} {'/'.join(part for part in name if part)}"
        if name not in after:
            yield Line("-", shown)
        elif name not in before:
            yield Line("+", shown)
        elif detail := ", ".join(_changed_fields(before[name], after[name], ignore)):
            yield Line("~", shown, detail)


def _changed_fields(old: Any, new: Any, ignore: tuple[str, ...]) -> Iterator[str]:
    if isinstance(old, tuple):
        if old[0] != new[0] or old[1].form != new[1].form:
            yield "secret"
        old, new, ignore = old[1], new[1], (*ignore, "form")
    for field in old.__struct_fields__:
        if field not in ignore and getattr(old, field) != getattr(new, field):
            yield field


def _config_lines(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Line]:
    before = {(service["id"],): service for service in old.get("services", [])}
    after = {(service["id"],): service for service in new["services"]}
    for name in sorted({*before, *after}):
        if name not in after:
            yield Line("-", f"service {name[0]}")
        elif name not in before:
            yield Line("+", f"service {name[0]}")
        elif before[name] != after[name]:
            fields = (f for f in after[name] if before[name].get(f) != after[name][f])
            yield Line("~", f"service {name[0]}", ", ".join(fields))
    if old and old.get("profile") != new["profile"]:
        yield Line("~", "profile", new["profile"])


def _is_open(auth: Any, document: Document) -> bool:
    """Whether those who prove nothing are let in."""
    guests = [scheme.anonymous_consumer for scheme in schemes_of(auth, document.profile)]
    return all(guests) if auth.all is not UNSET else any(guests)


def _warnings(document: Document) -> Iterator[str]:
    hostless = [index for index, service in enumerate(document.services) if not service.hosts]
    for index in hostless[1:]:
        yield (
            f"services[{index}]: no hosts, like services[{hostless[0]}]: where both would match, "
            "only Envoy's context_extensions can tell them apart"
        )
    names = {consumer.username for consumer in document.consumers}
    for index, service in enumerate(document.services):
        auths = [(f"services[{index}]", service.auth)] if not service.routes else []
        for number, route in enumerate(service.routes):
            place = f"services[{index}].routes[{number}]"
            if route.endpoint is None:
                auths.append((place, route.auth or service.auth))
                continue
            if route.auth is None or _is_open(route.auth, document):
                yield (
                    f"{place}: {route.endpoint} is open to everybody who knows a key, and tokens "
                    "show keys: guard it with an `auth` of its own, without anonymous_consumer"
                )
            auths += [(place, route.auth)] if route.auth is not None else []
        for place, auth in auths:
            if auth is None:
                yield f"{place}: no auth: it admits nobody"
                continue
            for scheme in schemes_of(auth, document.profile):
                guest = scheme.anonymous_consumer
                if guest and guest not in names:
                    yield f"{place}: anonymous_consumer {guest!r} is not in this document"
