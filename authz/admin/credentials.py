"""Single changes to consumers and credentials, each one transaction, heard by every worker. Each
reads the records that it is about, however many there are."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from authz.admin.catalog import Account, Catalog, Changes, Held, Unknown, removal
from authz.schemes import SCHEMES
from authz.store.records import ConsumerRecord, CredentialRecord, Locator


class Refused(Exception):
    """The change makes no sense. The text says why."""


class Validity(Struct, frozen=True):
    """From when until when, in Unix seconds; 0 means no bound."""

    not_before: float = 0.0
    expires_at: float = 0.0


class Issued(Struct, frozen=True):
    """A new credential, and its secret: this is the only time that anyone sees it."""

    id: str
    shown: dict[str, str]

    def __repr__(self) -> str:
        return f"Issued({self.id})"


def consumer_of(catalog: Catalog, tenant: str, username: str) -> ConsumerRecord:
    """Raises `Unknown`."""
    found = catalog.consumers([(tenant, username)])
    if not found:
        raise _unknown(tenant, username)
    return found[tenant, username]


def account_of(catalog: Catalog, tenant: str, username: str) -> Account:
    """Raises `Unknown`."""
    found = catalog.accounts([(tenant, username)])
    if not found:
        raise _unknown(tenant, username)
    return found[tenant, username]


def _unknown(tenant: str, username: str) -> Unknown:
    where = f" in tenant {tenant!r}" if tenant else ""
    return Unknown(f"there is no consumer {username!r}{where}")


def credential_of(catalog: Catalog, tenant: str, username: str, identifier: str) -> Held:
    """Raises `Unknown`."""
    consumer = consumer_of(catalog, tenant, username)
    at = consumer.credentials.get(identifier)
    if at is not None:
        (record,) = catalog.credentials([(tenant, at)])
        if record is not None and record.is_of(username, identifier):
            return at, record
    known = ", ".join(consumer.credentials) or "none"
    raise Unknown(f"consumer {username!r} has no credential {identifier!r}; it has: {known}")


def add_consumer(catalog: Catalog, consumer: ConsumerRecord) -> None:
    """Create a consumer without credentials. Raises `Refused` if it is there."""
    name = (consumer.tenant, consumer.username)

    def make(store: Catalog) -> Changes:
        if store.consumers([name]):
            raise Refused(f"consumer {consumer.username!r} is there already")
        return Changes(consumers={name: consumer})

    catalog.change(make)


def set_consumer_disabled(catalog: Catalog, tenant: str, username: str, *, disabled: bool) -> None:
    """Suspend a consumer with all its credentials, or let it in again. Raises `Unknown`."""

    def make(store: Catalog) -> Changes:
        found = consumer_of(store, tenant, username)
        changed = msgspec.structs.replace(found, disabled=disabled)
        return Changes(consumers={(tenant, username): changed})

    catalog.change(make)


def revoke_consumer(catalog: Catalog, tenant: str, username: str) -> None:
    """Delete a consumer and all its credentials. Raises `Unknown`."""

    def make(store: Catalog) -> Changes:
        return removal([account_of(store, tenant, username)])

    catalog.change(make)


def issue(
    catalog: Catalog,
    consumer: tuple[str, str],
    kind: str,
    *,
    identifier: str | None = None,
    login: str | None = None,
    validity: Validity = Validity(),  # noqa: B008 - frozen
    at: float,
) -> Issued:
    """Give a consumer a fresh credential. Raises `Unknown` and `Refused`.

    `login` is the public identifier where a scheme has one (a user name); else the consumer's.
    """
    tenant, username = consumer
    scheme = SCHEMES[kind]
    try:
        draft, shown = scheme.draft.issue(login or username)
        index, form = draft.seal(catalog.vault, tenant, None)
    except ValueError as error:
        raise Refused(f"{kind}: {error}") from None
    name = identifier or f"{kind}-{secrets.token_hex(4)}"
    record = CredentialRecord(
        consumer=username,
        id=name,
        kind=kind,
        form=form,
        tenant=tenant,
        not_before=validity.not_before,
        expires_at=validity.expires_at,
        created_at=at,
    )

    def make(store: Catalog) -> Changes:
        return _add(store, record, Locator(kind, index))

    catalog.change(make)
    return Issued(name, shown)


def _add(store: Catalog, record: CredentialRecord, at: Locator) -> Changes:
    owner = (record.tenant, record.consumer)
    consumer = consumer_of(store, *owner)
    if record.id in consumer.credentials:
        raise Refused(f"consumer {record.consumer!r} has a credential {record.id!r} already")
    (other,) = store.credentials([(record.tenant, at)])
    if other is not None:
        raise Refused(f"{at.kind} {at.index!r} is taken by consumer {other.consumer!r}")
    credentials = {**consumer.credentials, record.id: at}
    changed = msgspec.structs.replace(consumer, credentials=credentials)
    return Changes(consumers={owner: changed}, credentials={(record.tenant, at): record})


def set_disabled(
    catalog: Catalog, consumer: tuple[str, str], identifier: str, *, disabled: bool
) -> None:
    """Suspend one credential, or let it in again. Raises `Unknown`."""
    change(catalog, consumer, identifier, lambda r: msgspec.structs.replace(r, disabled=disabled))


def change(
    catalog: Catalog,
    consumer: tuple[str, str],
    identifier: str,
    edit: Callable[[CredentialRecord], CredentialRecord],
) -> CredentialRecord:
    """Change one credential's record; returns what it was. Raises `Unknown`."""
    before: list[CredentialRecord] = []

    def make(store: Catalog) -> Changes:
        at, record = credential_of(store, *consumer, identifier)
        before[:] = [record]
        return Changes(credentials={(consumer[0], at): edit(record)})

    catalog.change(make)
    return before[0]


def revoke(catalog: Catalog, consumer: tuple[str, str], identifier: str) -> CredentialRecord:
    """Delete one credential; returns what it was. Raises `Unknown`."""
    gone: list[CredentialRecord] = []

    def make(store: Catalog) -> Changes:
        at, record = credential_of(store, *consumer, identifier)
        gone[:] = [record]
        owner = consumer_of(store, *consumer)
        rest = {name: place for name, place in owner.credentials.items() if name != identifier}
        changed = msgspec.structs.replace(owner, credentials=rest)
        return Changes(consumers={consumer: changed}, credentials={(consumer[0], at): None})

    catalog.change(make)
    return gone[0]


def describe(record: CredentialRecord) -> dict[str, Any]:
    """A credential for people: everything but what could be used."""
    hint = getattr(record.form, "hint", "")
    return {
        "id": record.id,
        "kind": record.kind,
        "hint": hint,
        "disabled": record.disabled,
        "not_before": record.not_before,
        "expires_at": record.expires_at,
        "managed": record.managed,
        "created_at": record.created_at,
        "successor": record.successor,
    }
