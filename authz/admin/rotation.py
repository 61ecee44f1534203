"""A credential's successor, and the end of the old one by itself.

While both hold, each has a look-up key of its own: a record has one, and one record is found by
one. So a scheme with a public identifier (a user name, a key id) gives the successor a fresh one.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from authz import document
from authz.admin.catalog import Catalog, Changes, Held
from authz.admin.credentials import Refused, consumer_of, credential_of
from authz.document import draft_of
from authz.plain import DocumentError
from authz.schemes import SCHEMES
from authz.store.records import ConsumerRecord, CredentialRecord, Locator

#: What an identifier ends with that was made here.
_MADE = re.compile(r"-[0-9a-f]{8}$")


class Wish(Struct, frozen=True):
    """`overlap` is for how many seconds both hold. Without `identifier` (the successor's id) and
    `login` (its user name or key id) they are made up; without `ends` (Unix seconds) the successor
    lasts as long as the old one was to."""

    overlap: float
    identifier: str | None = None
    login: str | None = None
    ends: float = 0.0


class Rotated(Struct, frozen=True):
    """What was done: the successor's id and its end, when the old one ends (0: it is replaced), and
    the new secret, which nobody sees again."""

    id: str
    expires_at: float
    old_ends: float
    managed: bool
    shown: dict[str, str]

    def __repr__(self) -> str:
        return f"Rotated({self.id})"


def rotate(
    catalog: Catalog, consumer: tuple[str, str], identifier: str, wish: Wish, at: float
) -> Rotated:
    """In one transaction. Raises `Unknown`, and `Refused` for what cannot work."""
    made: list[Rotated] = []

    def make(store: Catalog) -> Changes:
        owner = consumer_of(store, *consumer)
        held = credential_of(store, *consumer, identifier)
        _check(owner, held[1], wish, at)
        done, changes = _succeed(store, owner, held, wish, at)
        made[:] = [done]
        return changes

    catalog.change(make)
    return made[0]


def _check(owner: ConsumerRecord, old: CredentialRecord, wish: Wish, at: float) -> None:
    name = f"{old.consumer}/{old.id}"
    if wish.identifier is not None and wish.identifier in owner.credentials:
        raise Refused(f"consumer {old.consumer!r} has a credential {wish.identifier!r} already")
    if old.successor in owner.credentials:
        raise Refused(f"{name} was rotated already; rotate its successor {old.successor!r}")
    if old.disabled:
        raise Refused(f"{name} is disabled: enable it first, or issue another credential")
    if old.expires_at and old.expires_at <= at:
        raise Refused(f"{name} has ended: issue another credential")
    if old.not_before > at:
        raise Refused(f"{name} does not hold yet: revoke it and issue another credential")


def _succeed(
    store: Catalog, owner: ConsumerRecord, held: Held, wish: Wish, at: float
) -> tuple[Rotated, Changes]:
    place, old = held
    tenant = old.tenant
    locator, form, shown = _fresh(store, held, wish)
    (taken,) = store.credentials([(tenant, locator)])
    if locator != place and taken is not None:
        raise Refused(f"{locator.index!r} is taken by consumer {taken.consumer!r}; try again")
    name = wish.identifier or f"{old.kind}-{secrets.token_hex(4)}"
    ends = min(old.expires_at or at + wish.overlap, at + wish.overlap)
    until = wish.ends or _as_long(old, at)
    successor = replace(
        old,
        id=name,
        form=form,
        not_before=0.0,
        expires_at=until,
        managed=False,
        created_at=at,
        successor="",
    )
    retired = replace(old, expires_at=ends, successor=name)
    credentials = {**owner.credentials, name: locator}
    records: dict[tuple[str, Locator], CredentialRecord | None] = {(tenant, locator): successor}
    if locator == place:
        del credentials[old.id]
    else:
        records[tenant, place] = retired
    changes = Changes(
        consumers={(tenant, old.consumer): replace(owner, credentials=credentials)},
        credentials=records,
    )
    told = 0.0 if locator == place else ends
    return Rotated(name, until, told, old.managed, shown), changes


def _as_long(old: CredentialRecord, at: float) -> float:
    """When the successor ends, to last as long as the old one was to; 0: never."""
    if not old.expires_at:
        return 0.0
    return at + old.expires_at - (max(old.created_at, old.not_before) or at)


def _fresh(store: Catalog, held: Held, wish: Wish) -> tuple[Locator, Any, dict[str, str]]:
    """Where the successor is found, what is stored of it, and what is shown."""
    place, old = held
    public = SCHEMES[old.kind].public_identifier
    if wish.login is not None:
        if not public:
            raise Refused(f"{old.kind} has no user name or key id: leave --login away")
        return _named(store, held, wish.login, wish.overlap)
    base = _MADE.sub("", place.index) if public else place.index
    made = _issue(store, held, base)
    if made[0].index == base:  # what is given is taken: there must be another, or the same again
        login = f"{base}-{secrets.token_hex(4)}" if wish.overlap else place.index
        made = _issue(store, held, login)
    return made


def _named(
    store: Catalog, held: Held, login: str, overlap: float
) -> tuple[Locator, Any, dict[str, str]]:
    made = _issue(store, held, login)
    if made[0] == held[0] and overlap:
        raise Refused(f"{login!r} is the old one's: while both hold, each needs its own")
    return made


def _issue(store: Catalog, held: Held, login: str) -> tuple[Locator, Any, dict[str, str]]:
    """A credential with all the settings of the old one, another secret, and this identifier."""
    place, old = held
    draft = SCHEMES[old.kind].draft
    before = draft.reopen(place.index, old.form, store.vault)
    _, shown = draft.issue(login)
    if not shown.keys() <= before.keys():
        raise Refused(
            f"{old.consumer}/{old.id} is verified with what its owner made (a public key): add the "
            "new one to the document, and end this one with `authz credential expire`"
        )
    # Of a setting, which a fresh credential has too, the old value counts.
    shown = {name: _kept(before[name], place.index, value) for name, value in shown.items()}
    entry = {name: value for name, value in before.items() if name != "hint"} | shown
    consumer = {"username": old.consumer, "tenant": old.tenant, "credentials": [{old.kind: entry}]}
    try:
        [written] = document.decode({"consumers": [consumer]}).consumers
        index, form = draft_of(written.credentials[0])[1].seal(store.vault, old.tenant, None)
    except (DocumentError, ValueError) as error:
        raise Refused(f"{old.kind}: {error}") from None
    return Locator(old.kind, index), form, shown


def _kept(before: Any, index: str, fresh: str) -> str:
    return before if isinstance(before, str) and before != index else fresh
