"""The command `sign`: a curl line that authenticates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from authz.admin import described
from authz.admin.catalog import Catalog
from authz.admin.options import Tenant, with_lazy_catalog
from authz.admin.sign import SIGNERS, Wanted, parse_claims, parse_pairs, sign, stored_fields
from authz.admin.typed import content, instant
from authz.values import raw

app = typer.Typer()


@app.command("sign", context_settings={"ignore_unknown_options": True})
@with_lazy_catalog
def sign_command(
    open_store: Callable[[], Catalog],
    kind: Annotated[str, typer.Argument(metavar="SCHEME", help=f"One of {', '.join(SIGNERS)}.")],
    curl: Annotated[
        list[str], typer.Argument(help="A URL, or a curl line: quoted, or its words after `--`.")
    ],
    field: Annotated[
        list[str] | None,
        typer.Option(
            "-c", "--credential-field", help="NAME=VALUE as in documents; VALUE may be @FILE."
        ),
    ] = None,
    consumer: Annotated[
        str | None, typer.Option(help="Take the credential of this consumer from the store.")
    ] = None,
    credential: Annotated[
        str | None, typer.Option(help="Which of its credentials.", show_default="the only one")
    ] = None,
    tenant: Tenant = "",
    claim: Annotated[
        list[str] | None, typer.Option(help="NAME=JSON, a further claim of a token.")
    ] = None,
    lifetime: Annotated[float, typer.Option(help="Seconds until a token ends.")] = 300.0,
    private_key: Annotated[
        Path | None, typer.Option(help="A private key (PEM) to sign a token with.")
    ] = None,
    algorithm: Annotated[
        str | None, typer.Option(help="Of the signature.", show_default="the credential's")
    ] = None,
    header: Annotated[str | None, typer.Option(help="Put it into this header.")] = None,
    query: Annotated[str | None, typer.Option(help="Put it into this parameter.")] = None,
    cookie: Annotated[str | None, typer.Option(help="Put it into this cookie.")] = None,
    signed_header: Annotated[
        list[str] | None, typer.Option(help="Sign this header as well.")
    ] = None,
    nonce_header: Annotated[
        str | None, typer.Option(help="hmac-auth: add a nonce in this header.")
    ] = None,
    legacy: Annotated[bool, typer.Option(help="hmac-auth of APISIX up to 3.10.")] = False,
    at: Annotated[
        str | None, typer.Option("--at", help="As if it were then (RFC 3339).", show_default="now")
    ] = None,
    string_to_sign: Annotated[
        bool, typer.Option("--string-to-sign", help="Print what was signed to standard error.")
    ] = False,
) -> None:
    """Print a curl line that authenticates, as a reference for clients.

    authz sign hmac-auth --consumer john http://127.0.0.1:9080/ip

    authz sign digest -c app_key=20375 -c app_secret=@secret -- curl -d a=1 http://127.0.0.1:9080/x
    """
    moment = instant(at)
    written = described.curl(curl[0] if len(curl) == 1 else curl, moment)
    given = parse_pairs(field or (), "-c")
    fields = {name: _secret(value) for name, value in given.items()}
    if consumer is not None:
        fields = {**stored_fields(open_store(), kind, (tenant, consumer), credential), **fields}
    wanted = Wanted(
        header=header,
        query=query,
        cookie=cookie,
        algorithm=algorithm,
        claims=parse_claims(claim or ()),
        lifetime=lifetime,
        private_key=content(private_key).decode(errors="replace") if private_key else None,
        signed_headers=tuple(signed_header or ()),
        nonce_header=nonce_header,
        legacy=legacy,
        at=moment,
    )
    line = sign(kind, written, fields, wanted)
    typer.echo(raw(line.curl))
    if string_to_sign:
        typer.echo(raw(line.string_to_sign or "nothing is signed"), err=True)


def _secret(value: str) -> str:
    if not value.startswith("@"):
        return value
    return content(Path(value[1:])).decode("utf-8", "surrogateescape").rstrip("\r\n")
