"""Commands of the group `credential` about how long one lasts."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.markup import escape

from authz.admin import lifecycle, rotation
from authz.admin.catalog import Catalog
from authz.admin.commands import CredentialId, Json, Username, credential_row
from authz.admin.options import Tenant, with_catalog
from authz.admin.rotation import Rotated, Wish
from authz.admin.spans import Instant, Span, bounds, span
from authz.admin.terminal import err, out, print_rows
from authz.admin.typed import written

credential = typer.Typer()

RESTORED = "it came from a document: {}, or the next apply undoes this"


@credential.command("rotate")
@with_catalog
def credential_rotate(
    store: Catalog,
    username: Username,
    identifier: CredentialId,
    overlap: Annotated[
        float,
        typer.Option(parser=span, metavar="SPAN", help="How long both hold; 0: the new one alone."),
    ],
    new_id: Annotated[
        str | None, typer.Option("--id", help="The successor's id.", show_default="made up")
    ] = None,
    login: Annotated[
        str | None,
        typer.Option(
            help="The successor's user name, where the scheme has one.", show_default="made up"
        ),
    ] = None,
    expires_at: Instant = None,
    expires_in: Span = None,
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """Issue a successor, and let the old credential end by itself after the overlap.

    Of the same kind, with the same settings; shown now and never again. While both hold, each has
    an identifier of its own: a user name or key id is fresh unless --login names one. With
    `--overlap 0` a user name can stay, and the old credential is over at once.
    """
    now = time.time()
    _, ends = bounds(None, expires_at, expires_in, now)
    wish = Wish(overlap, new_id, login, ends)
    done = rotation.rotate(store, (tenant, username), identifier, wish, now)
    if as_json:
        ending = {"expires_at": done.expires_at, "old_expires_at": done.old_ends or now}
        typer.echo(json.dumps({"id": done.id, **ending, **done.shown}))
    else:
        _tell(done, username, identifier)
    if done.managed:
        err.print(RESTORED.format("take the old one out there before it is applied again"))


def _tell(done: Rotated, username: str, identifier: str) -> None:
    until = f" until {written(done.expires_at)}" if done.expires_at else ""
    out.print(f"issued {escape(done.id)} to {escape(username)}{until}; shown this once:")
    for name, value in done.shown.items():
        typer.echo(f"{name}: {value}")
    end = f"ends {written(done.old_ends)}" if done.old_ends else "is replaced"
    out.print(f"{escape(username)}/{escape(identifier)} {end}, by itself")


@credential.command("expire")
@with_catalog
def credential_expire(
    store: Catalog,
    username: Username,
    identifier: CredentialId,
    at: Instant = None,
    after: Annotated[
        float | None, typer.Option("--in", parser=span, metavar="SPAN", help="From now.")
    ] = None,
    never: Annotated[bool, typer.Option("--never", help="It has no end any more.")] = False,
    tenant: Tenant = "",
) -> None:
    """Say when a credential ends by itself; `--in 0` is now."""
    if (at is not None) + (after is not None) + never != 1:
        raise typer.BadParameter("give one of --at, --in and --never")
    ends = 0.0 if never else at if at is not None else time.time() + (after or 0.0)
    managed = lifecycle.expire(store, (tenant, username), identifier, ends)
    told = f"ends {written(ends)}" if ends else "has no end"
    out.print(f"{escape(username)}/{escape(identifier)} {told}")
    if managed:
        err.print(RESTORED.format("set its expires_at there, too"))


@credential.command("expiring")
@with_catalog
def credential_expiring(
    store: Catalog,
    within: Annotated[
        float, typer.Option(parser=span, metavar="SPAN", help="From now.", show_default="30d")
    ] = 30 * 86_400.0,
    as_json: Json = False,
) -> None:
    """Credentials that end soon, the next first."""
    rows = lifecycle.expiring(
        store,
        time.time(),
        within,
        lambda held, used: {
            "consumer": held[1].consumer,
            "tenant": held[1].tenant,
            **credential_row(held[1], used),
        },
    )
    print_rows(rows, as_json=as_json)


@credential.command("prune")
@with_catalog
def credential_prune(
    store: Catalog,
    expired_for: Annotated[
        float, typer.Option(parser=span, metavar="SPAN", help="So long ago, such as 30d.")
    ],
) -> None:
    """Remove credentials that ended long ago."""
    gone, stayed = lifecycle.prune(store, time.time() - expired_for)
    out.print(f"removed {gone}")
    if stayed:
        err.print(f"{stayed} more come from a document: take them out there")
