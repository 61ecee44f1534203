"""The groups of commands `consumer` and `credential`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.markup import escape

from authz import document
from authz.admin import credentials as changes
from authz.admin.catalog import Account, Catalog
from authz.admin.credentials import Refused, Validity, describe
from authz.admin.lifecycle import with_use
from authz.admin.listing import Listing
from authz.admin.options import Tenant, with_catalog
from authz.admin.spans import Instant, Span, bounds
from authz.admin.terminal import Row, err, out, print_rows
from authz.admin.typed import written
from authz.schemes import SCHEMES
from authz.store.records import ConsumerRecord, CredentialRecord

consumer = typer.Typer(no_args_is_help=True, help="List, show, add, suspend and remove consumers.")
credential = typer.Typer(no_args_is_help=True, help="Issue, list, suspend and revoke credentials.")

Username = Annotated[str, typer.Argument(metavar="CONSUMER", help="The consumer's username.")]
CredentialId = Annotated[str, typer.Argument(metavar="ID", help="The credential's id.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


# -- consumers -------------------------------------------------------------------------------------


@consumer.command("list")
@with_catalog
def consumer_list(
    store: Catalog,
    as_json: Json = False,
) -> None:
    """All consumers."""
    print_rows(map(_consumer_row, Listing(store).consumers()), as_json=as_json)


@consumer.command("show")
@with_catalog
def consumer_show(
    store: Catalog,
    username: Username,
    tenant: Tenant = "",
) -> None:
    """One consumer, as JSON."""
    found = changes.consumer_of(store, tenant, username)
    shown = _consumer_row(found) | {"labels": found.labels, "headers": found.headers}
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))


@consumer.command("add")
@with_catalog
def consumer_add(
    store: Catalog,
    username: Username,
    tenant: Tenant = "",
    group: Annotated[list[str] | None, typer.Option(help="A group; may be repeated.")] = None,
    not_before: Instant = None,
    expires_at: Instant = None,
    expires_in: Span = None,
) -> None:
    """Add a consumer without credentials."""
    begins, ends = bounds(not_before, expires_at, expires_in, time.time())
    entry = {"username": username, "tenant": tenant, "groups": group or []}
    document.decode({"consumers": [entry]})
    record = ConsumerRecord(
        username=username,
        tenant=tenant,
        groups=tuple(group or ()),
        not_before=begins,
        expires_at=ends,
    )
    changes.add_consumer(store, record)
    out.print(f"added {escape(username)}")


@consumer.command("disable")
@with_catalog
def consumer_disable(
    store: Catalog,
    username: Username,
    tenant: Tenant = "",
) -> None:
    """Suspend a consumer with all its credentials, at once."""
    changes.set_consumer_disabled(store, tenant, username, disabled=True)
    out.print(f"disabled {escape(username)}")


@consumer.command("enable")
@with_catalog
def consumer_enable(
    store: Catalog,
    username: Username,
    tenant: Tenant = "",
) -> None:
    """Let a suspended consumer in again."""
    changes.set_consumer_disabled(store, tenant, username, disabled=False)
    out.print(f"enabled {escape(username)}")


@consumer.command("revoke")
@with_catalog
def consumer_revoke(
    store: Catalog,
    username: Username,
    tenant: Tenant = "",
) -> None:
    """Remove a consumer and all its credentials, at once and for good."""
    changes.revoke_consumer(store, tenant, username)
    out.print(f"removed {escape(username)} and all its credentials")


def _consumer_row(record: ConsumerRecord) -> Row:
    return {
        "username": record.username,
        "tenant": record.tenant,
        "groups": list(record.groups),
        "disabled": record.disabled,
        "not_before": written(record.not_before),
        "expires_at": written(record.expires_at),
        "credentials": list(record.credentials),
        "from": "document" if record.managed else "command",
    }


# -- credentials -----------------------------------------------------------------------------------


@credential.command("list")
@with_catalog
def credential_list(
    store: Catalog,
    username: Annotated[str | None, typer.Argument(metavar="[CONSUMER]")] = None,
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """Credentials of one consumer, or of all."""
    if username is not None:
        accounts = iter([changes.account_of(store, tenant, username)])
    else:
        accounts = Listing(store).accounts()
    print_rows(_rows(store, accounts), as_json=as_json)


@credential.command("show")
@with_catalog
def credential_show(
    store: Catalog,
    username: Username,
    identifier: CredentialId,
    tenant: Tenant = "",
) -> None:
    """One credential, as JSON. Its secret is not there to be shown."""
    at, record = changes.credential_of(store, tenant, username, identifier)
    (used,) = store.last_used([(tenant, username, identifier)])
    shown = credential_row(record, used)
    if SCHEMES[at.kind].public_identifier:
        shown["identifier"] = at.index
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))


@credential.command("issue")
@with_catalog
def credential_issue(
    store: Catalog,
    username: Username,
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(SCHEMES)}.")],
    identifier: Annotated[
        str | None, typer.Option("--id", help="The credential's id.", show_default="made up")
    ] = None,
    login: Annotated[
        str | None,
        typer.Option(help="User name, where the scheme has one.", show_default="the consumer's"),
    ] = None,
    not_before: Instant = None,
    expires_at: Instant = None,
    expires_in: Span = None,
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """Give a consumer a fresh credential. Its secret is shown now and never again."""
    if kind not in SCHEMES:
        raise Refused(f"{kind!r} is not a scheme; expected one of {', '.join(SCHEMES)}")
    now = time.time()
    begins, ends = bounds(not_before, expires_at, expires_in, now)
    issued = changes.issue(
        store,
        (tenant, username),
        kind,
        identifier=identifier,
        login=login,
        validity=Validity(begins, ends),
        at=now,
    )
    if as_json:
        typer.echo(json.dumps({"id": issued.id, **issued.shown}))
        return
    out.print(f"issued {escape(issued.id)} to {escape(username)}; shown this once:")
    for name, value in issued.shown.items():
        typer.echo(f"{name}: {value}")


@credential.command("disable")
@with_catalog
def credential_disable(
    store: Catalog,
    username: Username,
    identifier: CredentialId,
    tenant: Tenant = "",
) -> None:
    """Suspend one credential, at once."""
    changes.set_disabled(store, (tenant, username), identifier, disabled=True)
    out.print(f"disabled {escape(username)}/{escape(identifier)}")


@credential.command("enable")
@with_catalog
def credential_enable(
    store: Catalog,
    username: Username,
    identifier: CredentialId,
    tenant: Tenant = "",
) -> None:
    """Let a suspended credential in again."""
    changes.set_disabled(store, (tenant, username), identifier, disabled=False)
    out.print(f"enabled {escape(username)}/{escape(identifier)}")


@credential.command("revoke")
@with_catalog
def credential_revoke(
    store: Catalog,
    username: Username,
    identifier: CredentialId,
    tenant: Tenant = "",
) -> None:
    """Remove one credential, at once and for good."""
    gone = changes.revoke(store, (tenant, username), identifier)
    out.print(f"revoked {escape(username)}/{escape(identifier)}")
    if gone.managed:
        err.print("it came from a document: take it out there too, or the next apply restores it")


def _rows(store: Catalog, accounts: Iterable[Account]) -> Iterator[Row]:
    for account, held in with_use(store, accounts):
        for (_, record), used in held:
            yield {
                "consumer": account.consumer.username,
                "tenant": account.consumer.tenant,
                **credential_row(record, used),
            }


def credential_row(record: CredentialRecord, used: float) -> Row:
    """A credential as commands show it; `used` is when it was used last."""
    shown = describe(record)
    return shown | {
        "not_before": written(record.not_before),
        "expires_at": written(record.expires_at),
        "created_at": written(record.created_at),
        "last_used": written(used),
        "from": "document" if shown.pop("managed") else "command",
    }


# -- key ring --------------------------------------------------------------------------------------
