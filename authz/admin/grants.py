"""Grants of single consumers: asked for, approved, refused, given and taken away. Each is one
transaction, heard by every worker.

A service says what becomes of a request (`access: {approval: auto}` approves it at once).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from msgspec import UNSET, Struct

from authz.access.grants import STAGE
from authz.admin.catalog import Catalog, Changes, ConsumerName, Unknown
from authz.admin.credentials import Refused, Validity, consumer_of
from authz.admin.listing import Listing
from authz.document import Document, decode
from authz.values import RELEASE, Consumer, Grant

NOTHING = Validity()
#: Characters: each Check of the consumer reads its grants.
MAX_NOTE = 256


class Wanted(Struct, frozen=True):
    """For what: a service, or one route of it, in a stage."""

    service: str
    route: str = ""
    stage: str = RELEASE

    def __post_init__(self) -> None:
        if not STAGE.fullmatch(self.stage):
            raise Refused(f"stage {self.stage!r}: 1 to 64 letters, digits, `_`, `.`, `-`; or `*`")

    def is_of(self, grant: Grant) -> bool:
        return (grant.service, grant.route, grant.stage) == (self.service, self.route, self.stage)

    def __str__(self) -> str:
        where = f"{self.service}/{self.route}" if self.route else self.service
        return where if self.stage == RELEASE else f"{where} in stage {self.stage}"


class Held(Struct, frozen=True):
    """A grant and whose it is: a consumer's, or a group's."""

    tenant: str
    consumer: str
    group: str
    grant: Grant


def request(
    catalog: Catalog,
    name: ConsumerName,
    wanted: Wanted,
    *,
    validity: Validity = NOTHING,
    note: str = "",
    at: float,
) -> Grant:
    """Ask for a grant; it waits for somebody to approve it, unless the service says otherwise.
    Raises `Unknown`, and `Refused` where one waits already or holds."""
    made = _made(wanted, validity, note, at)
    if not _is_approved_at_once(catalog, name[0], wanted):
        made = msgspec.structs.replace(made, state="requested")

    def edit(consumer: Consumer) -> tuple[Grant, ...]:
        for grant in filter(wanted.is_of, consumer.grants):
            if grant.state == "requested":
                raise Refused(f"{name[1]!r} has asked for {wanted} already")
            if grant.state == "approved" and not 0 < grant.not_after <= at:
                raise Refused(f"{name[1]!r} has a grant for {wanted} already")
        kept = (g for g in consumer.grants if not (wanted.is_of(g) and g.state == "refused"))
        return (*kept, made)

    _change(catalog, name, edit)
    return made


def give(
    catalog: Catalog,
    name: ConsumerName,
    wanted: Wanted,
    *,
    validity: Validity = NOTHING,
    note: str = "",
    at: float,
) -> Grant:
    """Grant without being asked; several of one kind may follow each other in time. What was asked
    for, or refused, is settled by it. Raises `Unknown`."""
    _require_service(catalog, name[0], wanted)
    made = _made(wanted, validity, note, at)

    def edit(consumer: Consumer) -> tuple[Grant, ...]:
        kept = (g for g in consumer.grants if not wanted.is_of(g) or g.state == "approved")
        return (*kept, made)

    _change(catalog, name, edit)
    return made


def approve(
    catalog: Catalog,
    name: ConsumerName,
    wanted: Wanted,
    *,
    validity: Validity = NOTHING,
    note: str = "",
    at: float,
) -> None:
    """Say yes to what was asked for, within its own time or another. Raises `Unknown`, and
    `Refused` where both together leave no time."""
    begins, ends = validity.not_before, validity.expires_at

    def settle(grant: Grant) -> Grant:
        first, last = begins or grant.not_before, ends or grant.not_after
        _require_time(first, last)
        return msgspec.structs.replace(
            grant,
            state="approved",
            not_before=first,
            not_after=last,
            note=note or grant.note,
            changed_at=at,
        )

    _settle(catalog, name, wanted, settle)


def refuse(
    catalog: Catalog, name: ConsumerName, wanted: Wanted, *, note: str = "", at: float
) -> None:
    """Say no to what was asked for. Raises `Unknown`."""

    def settle(grant: Grant) -> Grant:
        return msgspec.structs.replace(
            grant, state="refused", note=note or grant.note, changed_at=at
        )

    _settle(catalog, name, wanted, settle)


def revoke(catalog: Catalog, name: ConsumerName, wanted: Wanted) -> tuple[Grant, ...]:
    """Take away every grant of this kind, and what is asked for; returns what they were. Raises
    `Unknown`."""
    gone: list[Grant] = []

    def edit(consumer: Consumer) -> tuple[Grant, ...]:
        gone[:] = filter(wanted.is_of, consumer.grants)
        if not gone:
            raise _none(name, wanted, consumer)
        return tuple(grant for grant in consumer.grants if not wanted.is_of(grant))

    _change(catalog, name, edit)
    return tuple(gone)


def held(catalog: Catalog) -> Iterator[Held]:
    """All grants: those of groups, then those of consumers, in the order of their names."""
    for named in _policy(catalog).grants:
        yield Held(named.tenant, "", named.group or "", named.granted())
    for consumer in Listing(catalog).consumers():
        for grant in consumer.grants:
            yield Held(consumer.tenant, consumer.username, "", grant)


# -- how -------------------------------------------------------------------------------------------


def _made(wanted: Wanted, validity: Validity, note: str, at: float) -> Grant:
    begins, ends = validity.not_before, validity.expires_at
    if len(note) > MAX_NOTE:
        raise Refused(f"a note is no longer than {MAX_NOTE} characters")
    _require_time(begins, ends)
    return Grant(wanted.service, wanted.route, wanted.stage, begins, ends, note=note, changed_at=at)


def _require_time(begins: float, ends: float) -> None:
    if begins and ends and ends <= begins:
        raise Refused("a grant that ends before it begins")


def _settle(
    catalog: Catalog, name: ConsumerName, wanted: Wanted, settle: Callable[[Grant], Grant]
) -> None:
    """Change what waits."""

    def edit(consumer: Consumer) -> tuple[Grant, ...]:
        waiting = [g for g in consumer.grants if wanted.is_of(g) and g.state == "requested"]
        if not waiting:
            raise Unknown(f"{name[1]!r} has not asked for {wanted}, or it is settled")
        return tuple(settle(grant) if grant in waiting else grant for grant in consumer.grants)

    _change(catalog, name, edit)


def _change(
    catalog: Catalog, name: ConsumerName, edit: Callable[[Consumer], tuple[Grant, ...]]
) -> None:
    def make(store: Catalog) -> Changes:
        found = consumer_of(store, *name)
        return Changes(consumers={name: msgspec.structs.replace(found, grants=edit(found))})

    catalog.change(make)


def _none(name: ConsumerName, wanted: Wanted, consumer: Consumer) -> Unknown:
    has = sorted({str(Wanted(g.service, g.route, g.stage)) for g in consumer.grants})
    known = ", ".join(has) or "none"
    return Unknown(f"consumer {name[1]!r} has no grant for {wanted}; it has: {known}")


def _policy(catalog: Catalog) -> Document:
    return decode(catalog.policy())


def _require_service(catalog: Catalog, tenant: str, wanted: Wanted) -> Document:
    """Raises `Unknown` for a service or a route that nobody could call."""
    policy = _policy(catalog)
    services = {s.id: {r.id for r in s.routes} for s in policy.services if s.tenant == tenant}
    if wanted.service not in services:
        known = ", ".join(sorted(services)) or "none"
        raise Unknown(f"there is no service {wanted.service!r}; there are: {known}")
    if wanted.route and wanted.route not in services[wanted.service]:
        known = ", ".join(sorted(services[wanted.service])) or "none"
        raise Unknown(f"{wanted.service} has no route {wanted.route!r}; it has: {known}")
    return policy


def _is_approved_at_once(catalog: Catalog, tenant: str, wanted: Wanted) -> bool:
    policy = _require_service(catalog, tenant, wanted)
    service = next(s for s in policy.services if (s.tenant, s.id) == (tenant, wanted.service))
    routes = [route.access for route in service.routes if route.id == wanted.route]
    said = [getattr(access, "approval", UNSET) for access in (*routes, service.access)]
    return next((each for each in said if each is not UNSET), "manual") == "auto"
