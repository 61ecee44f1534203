"""Commands about one request: `sign` it, `explain` what became of it; and the list of reasons."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from authz import document, reasons
from authz.admin import described
from authz.admin.catalog import Catalog
from authz.admin.credentials import Refused
from authz.admin.explain import Step, explain
from authz.admin.options import Tenant, with_lazy_catalog
from authz.admin.reading import Reading
from authz.admin.sign import SIGNERS, Wanted, parse_claims, parse_pairs, sign, stored_fields
from authz.jose.key_set import KeySet
from authz.routes import RouteTable
from authz.store.fetching import Fetcher
from authz.store.key_sets import KeySets
from authz.values import Request

app = typer.Typer()
out = Console(highlight=False)


@app.command("explain", context_settings={"ignore_unknown_options": True})
@with_lazy_catalog
def explain_command(
    open_store: Callable[[], Catalog],
    curl: Annotated[
        list[str] | None,
        typer.Argument(help="A curl line: quoted, or its words after `--`.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="A file with a curl line or an HTTP request; - is stdin."),
    ] = None,
    decision: Annotated[
        str | None, typer.Option("--decision", help="The request id of a logged decision.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="The decision log to look it up in; - is stdin.")
    ] = None,
    service: Annotated[
        str | None, typer.Option(help="As Envoy's context_extensions name it.")
    ] = None,
    route: Annotated[
        str | None, typer.Option(help="As Envoy's context_extensions name it.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="As if it were then (RFC 3339).", show_default="now")
    ] = None,
    string_to_sign: Annotated[
        str | None,
        typer.Option(help="What the client signed, or @FILE: shows where it differs from ours."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say why a request passes or not, step by step. Reveals no secret and changes nothing.

    authz explain -- curl -H 'apikey: wrong' http://api.example.com/ip

    authz explain --decision 2f6b… --log decisions.jsonl
    """
    if decision is not None:
        steps: Iterable[Step] = logged(decision, log)
    else:
        asked = _request(curl, file, _instant(at))
        named = {"service": service, "route": route}
        asked = replace(asked, context={k: v for k, v in named.items() if v is not None})
        steps = _explained(open_store(), asked, _text(string_to_sign))
    show(steps, as_json=as_json)


def _instant(text: str | None) -> float:
    if text is None:
        return time.time()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Refused(f"--at {text}: expected an instant such as 2027-01-15T08:00:00Z")
    return found.timestamp()


def _text(given: str | None) -> str | None:
    if given is None or not given.startswith("@"):
        return given
    return _read(Path(given[1:])).decode("utf-8", "surrogateescape")


def _read(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


def _request(curl: list[str] | None, file: Path | None, at: float) -> Request:
    if (file is None) == (not curl):
        raise Refused("expected a curl line, or --file, or --decision with --log")
    if curl:
        return described.curl(curl[0] if len(curl) == 1 else curl, at).request
    text = _read(file or Path("-"))
    if text.lstrip().startswith(b"curl "):
        line = text.decode("utf-8", "surrogateescape").replace("\\\n", " ")
        return described.curl(line, at).request
    return described.http(text, at).request


def _explained(store: Catalog, request: Request, client_string: str | None) -> list[Step]:
    policy = store.policy()
    if not policy:
        raise Refused("nothing was applied to this store yet: authz apply FILE")
    routes = RouteTable(document.decode(policy))
    key_sets = KeySets(
        partial(KeySet.parse, forgiving=True), Fetcher(allow_private=True).get, patience=5.0
    )
    try:
        return list(explain(request, routes, Reading(store, key_sets), client_string))
    finally:
        key_sets.close()


def logged(identifier: str, log: Path | None) -> list[Step]:
    """What the log has of a decision. Raises `Refused` when there is nothing."""
    if log is None:
        raise Refused("--decision needs --log FILE: what `authz serve` wrote to standard output")
    found = []
    for line in _read(log).splitlines():
        if identifier.encode() in line:
            entry = _entry(line)
            if entry.get("id") == identifier:
                found.append(entry)
    if not found:
        raise Refused(f"{log} has no decision with id {identifier!r}")
    return [_logged_step(entry) for entry in found]


def _entry(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _logged_step(entry: dict[str, Any]) -> Step:
    reason = reasons.find(str(entry.get("reason", "")), str(entry.get("scheme", "")))
    notes = [(name, str(entry[name])) for name in entry if name not in ("outcome", "reason", "id")]
    if reason is not None:
        notes.append(("meaning", reason.meaning))
        if reason.advice:
            notes.append(("what to do", reason.advice))
    return Step("decision", f"{entry.get('outcome')}: {entry.get('reason')}", tuple(notes))


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
    moment = _instant(at)
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
        private_key=_read(private_key).decode() if private_key else None,
        signed_headers=tuple(signed_header or ()),
        nonce_header=nonce_header,
        legacy=legacy,
        at=moment,
    )
    line = sign(kind, written, fields, wanted)
    typer.echo(line.curl)
    if string_to_sign:
        typer.echo(line.string_to_sign if line.string_to_sign else "nothing is signed", err=True)


def _secret(value: str) -> str:
    if not value.startswith("@"):
        return value
    return _read(Path(value[1:])).decode("utf-8", "surrogateescape").rstrip("\r\n")


def show(steps: Iterable[Step], *, as_json: bool) -> None:
    """For people, or as JSON."""
    if as_json:
        typer.echo(json.dumps([_plain(step) for step in steps], ensure_ascii=False))
        return
    for step in steps:
        out.print(f"[bold]{escape(step.title)}[/]: {escape(_clean(step.outcome))}", soft_wrap=True)
        for what, text in step.notes:
            for number, line in enumerate(text.split("\n")):
                label = f"{what}:" if number == 0 else ""
                out.print(f"    {escape(f'{label:<18} {_clean(line)}')}", soft_wrap=True)


def _clean(text: str) -> str:
    """Without what would steer a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _plain(step: Step) -> dict[str, Any]:
    notes = [{"what": what, "text": text} for what, text in step.notes]
    return {"step": step.title, "outcome": step.outcome, "notes": notes}


@app.command("reasons")
def reasons_command(
    markdown: Annotated[bool, typer.Option("--markdown", help="The manual's page.")] = False,
) -> None:
    """Every reason that a decision may carry, and what it means."""
    if markdown:
        typer.echo(reasons.manual(), nl=False)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("reason", "schemes", "meaning", "what to do"):
        table.add_column(column, overflow="fold")
    general = [reason for _, section in reasons.SECTIONS for reason in section]
    for reason in (*general, *reasons.of_schemes()):
        cells = (reason.name, ", ".join(reason.schemes), reason.meaning, reason.advice)
        table.add_row(*map(escape, cells))
    console = out if out.is_terminal else Console(width=1000, highlight=False)
    console.print(table)
