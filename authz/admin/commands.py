"""`authz apply|plan|export|schema` and the groups `consumer`, `credential` and `keyring`."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from authz import document
from authz.admin import credentials as changes
from authz.admin import export as exporting
from authz.admin import plan as planning
from authz.admin.catalog import Catalog
from authz.admin.credentials import Refused, Validity, describe
from authz.admin.options import Tenant, with_catalog
from authz.schemes import SCHEMES
from authz.secrets import create_keyring
from authz.store.records import ConsumerRecord, CredentialRecord

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

documents = typer.Typer()
consumer = typer.Typer(no_args_is_help=True, help="List, show, add, suspend and remove consumers.")
credential = typer.Typer(no_args_is_help=True, help="Issue, list, suspend and revoke credentials.")
keyring = typer.Typer(no_args_is_help=True, help="The keys that protect what is in the store.")

DocumentFile = Annotated[Path, typer.Argument(metavar="FILE", help="The gateway document.")]
Username = Annotated[str, typer.Argument(metavar="CONSUMER", help="The consumer's username.")]
CredentialId = Annotated[str, typer.Argument(metavar="ID", help="The credential's id.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

COLOURS = {"+": "green", "~": "yellow", "-": "red", "=": "dim"}


# -- documents -------------------------------------------------------------------------------------


@documents.command("plan")
@with_catalog
def plan_command(
    store: Catalog,
    file: DocumentFile,
) -> None:
    """Show what `apply` would change, and change nothing."""
    _show(planning.plan(document.load(file), store, time.time()))


@documents.command("apply")
@with_catalog
def apply_command(
    store: Catalog,
    file: DocumentFile,
) -> None:
    """Make the store what a document says: all of it, or nothing.

    What an earlier document brought and this one leaves out is removed; credentials from `authz
    credential issue` stay.
    """
    loaded = document.load(file)
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task("sealing credentials", total=None)
        made = planning.plan(
            loaded,
            store,
            time.time(),
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    planning.apply(store, made)
    _show(made)


def _show(made: planning.Plan) -> None:
    for warning in made.warnings:
        err.print(f"[yellow]warning:[/] {escape(warning)}")
    for line in made.lines:
        detail = f" ({line.detail})" if line.detail else ""
        out.print(f"[{COLOURS[line.sign]}]{line.sign}[/] {escape(line.what + detail)}")
    if not made.lines:
        out.print("nothing to change")


@documents.command("export")
@with_catalog
def export_command(
    store: Catalog,
) -> None:
    """Print the store as a document: keys as digests, passwords as hashes, fit for `apply`."""
    typer.echo(exporting.export(store.read(), store.vault), nl=False)


@documents.command("schema")
def schema_command() -> None:
    """Print the document's JSON Schema, for editors and checks."""
    typer.echo(json.dumps(document.schema(), indent=2))


# -- consumers -------------------------------------------------------------------------------------


@consumer.command("list")
@with_catalog
def consumer_list(
    store: Catalog,
    as_json: Json = False,
) -> None:
    """All consumers."""
    read = store.read()
    rows = [_consumer_row(record) for _, record in sorted(read.consumers.items())]
    _table(rows, as_json=as_json)


@consumer.command("show")
@with_catalog
def consumer_show(
    store: Catalog,
    username: Username,
    tenant: Tenant = "",
) -> None:
    """One consumer, as JSON."""
    read = store.read()
    found = changes.consumer_of(read, tenant, username)
    shown = _consumer_row(found) | {"labels": found.labels, "headers": found.headers}
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))


@consumer.command("add")
@with_catalog
def consumer_add(
    store: Catalog,
    username: Username,
    tenant: Tenant = "",
    group: Annotated[list[str] | None, typer.Option(help="A group; may be repeated.")] = None,
) -> None:
    """Add a consumer without credentials."""
    entry = {"username": username, "tenant": tenant, "groups": group or []}
    document.decode({"consumers": [entry]})
    record = ConsumerRecord(username=username, tenant=tenant, groups=tuple(group or ()))
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


def _consumer_row(record: ConsumerRecord) -> dict[str, object]:
    return {
        "username": record.username,
        "tenant": record.tenant,
        "groups": list(record.groups),
        "disabled": record.disabled,
        "not_before": _instant(record.not_before),
        "expires_at": _instant(record.expires_at),
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
    read = store.read()
    if username is not None:
        changes.consumer_of(read, tenant, username)
    rows = [
        {"consumer": name[1], "tenant": name[0], **_credential_row(record)}
        for name, record in sorted(read.credentials.items())
        if username is None or name[:2] == (tenant, username)
    ]
    _table(rows, as_json=as_json)


@credential.command("show")
@with_catalog
def credential_show(
    store: Catalog,
    username: Username,
    identifier: CredentialId,
    tenant: Tenant = "",
) -> None:
    """One credential, as JSON. Its secret is not there to be shown."""
    read = store.read()
    at, record = changes.credential_of(read, tenant, username, identifier)
    shown = _credential_row(record)
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
    expires_in: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Days until it ends by itself.")
    ] = None,
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """Give a consumer a fresh credential. Its secret is shown now and never again."""
    if kind not in SCHEMES:
        raise Refused(f"{kind!r} is not a scheme; expected one of {', '.join(SCHEMES)}")
    ends = 0.0 if expires_in is None else time.time() + timedelta(days=expires_in).total_seconds()
    issued = changes.issue(
        store,
        (tenant, username),
        kind,
        identifier=identifier,
        login=login,
        validity=Validity(expires_at=ends),
        at=time.time(),
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


def _credential_row(record: CredentialRecord) -> dict[str, object]:
    shown = describe(record)
    return shown | {
        "not_before": _instant(record.not_before),
        "expires_at": _instant(record.expires_at),
        "created_at": _instant(record.created_at),
        "from": "document" if shown.pop("managed") else "command",
    }


def _instant(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else ""


def _table(rows: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        out.print("none")
        return
    columns = [name for name in rows[0] if any(_cell(row[name]) for row in rows)]
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(row[name])) for name in columns))
    # In a pipe there is no edge to keep to.
    console = out if out.is_terminal else Console(width=1000, highlight=False)
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


# -- key ring --------------------------------------------------------------------------------------


@keyring.command("create")
def keyring_create(
    file: Annotated[Path, typer.Argument(help="Where to write it; must not exist yet.")],
) -> None:
    """Make a key ring of one fresh key, readable by its owner alone.

    Keep it apart from the store's backups: who has both has the keys. Without it the store's
    content is of no use, so keep a copy.
    """
    try:
        create_keyring(file)
    except FileExistsError:
        raise Refused(f"{file} exists already; a key ring is never overwritten") from None
    out.print(f"wrote {escape(str(file))}")
