"""The group of commands `grant`: who may call what."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from authz.admin import grants
from authz.admin.catalog import Catalog
from authz.admin.credentials import Validity
from authz.admin.grants import Held, Wanted
from authz.admin.options import Tenant, with_catalog
from authz.admin.terminal import Row, err, out, print_rows
from authz.admin.typed import instant, written
from authz.values import RELEASE

grant = typer.Typer(
    no_args_is_help=True,
    help="""Who may call what: ask for grants, settle and give them, take them away.

    A service asks for grants with [bold]access: {grant: required}[/]. They come from the document,
    or from these commands:

    authz grant request john orders --note 'for the mobile app'

    authz grant list --state requested

    authz grant approve john orders --until 2027-06-01T00:00:00Z""",
    rich_markup_mode="rich",
)

Username = Annotated[str, typer.Argument(metavar="CONSUMER", help="The consumer's username.")]
Service = Annotated[str, typer.Argument(metavar="SERVICE", help="The service's id.")]
Route = Annotated[str, typer.Option(help="One route of it.", show_default="all of them")]
Stage = Annotated[str, typer.Option(help="RELEASE, PRE, TEST, your own; `*` for every one.")]
Begins = Annotated[
    str | None, typer.Option("--from", metavar="INSTANT", help="Such as 2027-01-15T08:00:00Z.")
]
Ends = Annotated[
    str | None, typer.Option("--until", metavar="INSTANT", help="From then on it is no more.")
]
Note = Annotated[str, typer.Option(help="Why; kept with the grant.")]


class State(StrEnum):
    """What became of a grant."""

    approved = "approved"
    requested = "requested"
    refused = "refused"


@grant.command("request")
@with_catalog
def grant_request(
    store: Catalog,
    username: Username,
    service: Service,
    route: Route = "",
    stage: Stage = RELEASE,
    begins: Begins = None,
    ends: Ends = None,
    note: Note = "",
    tenant: Tenant = "",
) -> None:
    """Ask for a grant. It waits until somebody approves or refuses it, unless the service has
    `approval: auto`."""
    wanted = Wanted(service, route, stage)
    validity = _validity(begins, ends)
    made = grants.request(
        store, (tenant, username), wanted, validity=validity, note=note, at=time.time()
    )
    done = "granted" if made.state == "approved" else "waits for approval"
    out.print(f"{escape(username)}: {escape(str(wanted))} {done}")


@grant.command("add")
@with_catalog
def grant_add(
    store: Catalog,
    username: Username,
    service: Service,
    route: Route = "",
    stage: Stage = RELEASE,
    begins: Begins = None,
    ends: Ends = None,
    note: Note = "",
    tenant: Tenant = "",
) -> None:
    """Give a grant without being asked. Several may follow each other in time."""
    wanted = Wanted(service, route, stage)
    validity = _validity(begins, ends)
    grants.give(store, (tenant, username), wanted, validity=validity, note=note, at=time.time())
    out.print(f"{escape(username)}: {escape(str(wanted))} granted")


@grant.command("approve")
@with_catalog
def grant_approve(
    store: Catalog,
    username: Username,
    service: Service,
    route: Route = "",
    stage: Stage = RELEASE,
    begins: Begins = None,
    ends: Ends = None,
    note: Note = "",
    tenant: Tenant = "",
) -> None:
    """Say yes to what was asked for, at once."""
    wanted = Wanted(service, route, stage)
    validity = _validity(begins, ends)
    grants.approve(store, (tenant, username), wanted, validity=validity, note=note, at=time.time())
    out.print(f"{escape(username)}: {escape(str(wanted))} granted")


@grant.command("refuse")
@with_catalog
def grant_refuse(
    store: Catalog,
    username: Username,
    service: Service,
    route: Route = "",
    stage: Stage = RELEASE,
    note: Note = "",
    tenant: Tenant = "",
) -> None:
    """Say no to what was asked for."""
    wanted = Wanted(service, route, stage)
    grants.refuse(store, (tenant, username), wanted, note=note, at=time.time())
    out.print(f"{escape(username)}: {escape(str(wanted))} refused")


@grant.command("revoke")
@with_catalog
def grant_revoke(
    store: Catalog,
    username: Username,
    service: Service,
    route: Route = "",
    stage: Stage = RELEASE,
    tenant: Tenant = "",
) -> None:
    """Take away a consumer's grants for a service, at once."""
    wanted = Wanted(service, route, stage)
    gone = grants.revoke(store, (tenant, username), wanted)
    out.print(f"{escape(username)}: {escape(str(wanted))} no longer granted")
    if any(each.managed for each in gone):
        err.print("it came from a document: take it out there too, or the next apply restores it")


@grant.command("list")
@with_catalog
def grant_list(
    store: Catalog,
    service: Annotated[str | None, typer.Option(help="Of this service alone.")] = None,
    state: Annotated[State | None, typer.Option(help="In this state alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """All grants: those of groups, then those of consumers."""
    rows = (
        _row(held)
        for held in grants.held(store)
        if service in (None, held.grant.service) and state in (None, held.grant.state)
    )
    print_rows(rows, as_json=as_json)


def _row(held: Held) -> Row:
    grant = held.grant
    return {
        "consumer": held.consumer,
        "group": held.group,
        "tenant": held.tenant,
        "service": grant.service,
        "route": grant.route,
        "stage": grant.stage,
        "state": grant.state,
        "not_before": written(grant.not_before),
        "not_after": written(grant.not_after),
        "changed_at": written(grant.changed_at),
        "from": "document" if grant.managed else "command",
        "note": grant.note,
    }


def _validity(begins: str | None, ends: str | None) -> Validity:
    return Validity(
        instant(begins, "--from") if begins else 0.0, instant(ends, "--until") if ends else 0.0
    )
