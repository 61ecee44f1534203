"""The commands `explain`, for one request, and `reasons`, for all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
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
from authz.admin.options import with_lazy_catalog
from authz.admin.reading import Reading
from authz.admin.typed import content, instant
from authz.jose.key_set import KeySet
from authz.routes import RouteTable
from authz.store.fetching import Fetcher
from authz.store.key_sets import KeySets
from authz.values import Request, raw

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
    address: Annotated[
        str | None,
        typer.Option("--from", help="The address of Envoy's peer: the client, or a proxy."),
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
        asked = _request(curl, file, instant(at))
        named = {"service": service, "route": route}
        asked = replace(
            asked,
            context={k: v for k, v in named.items() if v is not None},
            address=address or "",
        )
        steps = _explained(open_store(), asked, _text(string_to_sign))
    show(steps, as_json=as_json)


def _text(given: str | None) -> str | None:
    if given is None or not given.startswith("@"):
        return given
    return content(Path(given[1:])).decode("utf-8", "surrogateescape")


def _request(curl: list[str] | None, file: Path | None, at: float) -> Request:
    if (file is None) == (not curl):
        raise Refused("expected a curl line, or --file, or --decision with --log")
    if curl:
        return described.curl(curl[0] if len(curl) == 1 else curl, at).request
    text = content(file or Path("-"))
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
    for line in content(log).splitlines():
        if raw(identifier) in line:
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


def show(steps: Iterable[Step], *, as_json: bool) -> None:
    """For people, or as JSON."""
    if as_json:
        typer.echo(json.dumps([_plain(step) for step in steps]))
        return
    for step in steps:
        out.print(f"[bold]{escape(step.title)}[/]: {escape(clean(step.outcome))}", soft_wrap=True)
        for what, text in step.notes:
            for number, line in enumerate(text.split("\n")):
                label = f"{what}:" if number == 0 else ""
                out.print(f"    {escape(f'{label:<18} {clean(line)}')}", soft_wrap=True)


def clean(text: str) -> str:
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
