"""The command `test`: the user's own examples of what a document allows and denies."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import to_builtins
from rich.markup import escape

from authz.admin import examples, trying
from authz.admin.credentials import Refused
from authz.admin.explain_command import clean
from authz.admin.terminal import err, out
from authz.admin.trying import Tried
from authz.plain import DocumentError
from authz.secrets import KeyRing, read_keyring

app = typer.Typer()


@app.command("test")
def try_examples(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files of examples.", show_default=False)
    ],
    document: Annotated[
        list[Path] | None,
        typer.Option(help="The gateway document, in place of the one that a file names."),
    ] = None,
    pattern: Annotated[
        str, typer.Option("-k", metavar="PATTERN", help="Only examples with this in their name.")
    ] = "",
    keyring_file: Annotated[
        Path | None,
        typer.Option(
            help="For a document with digests or ciphertext: the key ring that exported it.",
            envvar="AUTHZ_KEYRING_FILE",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run examples against a document that is not applied yet. Needs no store and no network.

    \b
    # gateway.test.yaml
    document: gateway.yaml
    examples:
      - name: alice may read
        request: GET https://api.example.com/orders/1
        as: alice/primary
        expect: allow alice
      - name: without a key nobody may
        request: GET https://api.example.com/orders/1
        expect: deny 401 missing_key

    authz test gateway.test.yaml

    Exit status 0 when all is as expected, 1 when not, 2 when a file is not understood.
    docs/testing.md has every field.
    """
    ring = _ring(keyring_file)
    found: list[tuple[Path, Tried]] = []
    for file in files:
        found += [(file, tried) for tried in _run(file, document or (), pattern, ring)]
    if not found:
        raise Refused(f"no example has {pattern!r} in its name")
    if as_json:
        typer.echo(json.dumps([_plain(file, tried) for file, tried in found]))
    else:
        _show(found, several=len(files) > 1)
    raise typer.Exit(1 if any(tried.found for _, tried in found) else 0)


def _ring(path: Path | None) -> KeyRing | None:
    text = os.environ.get("AUTHZ_KEYRING")
    return read_keyring(path, text) if path is not None or text else None


def _run(path: Path, given: Sequence[Path], pattern: str, ring: KeyRing | None) -> list[Tried]:
    file = examples.read(path)
    documents = list(given) or file.documents(path)
    if not documents:
        raise Refused(f"{path}: no `document`: name it there, or give --document FILE")
    made = trying.gateway(documents, ring)
    for place, consumer, credential in made.store.unread:
        err.print(
            f"[yellow]note:[/] {escape(place)}: {escape(f'{consumer}/{credential}')} proves nobody "
            "here: only the key ring that exported it can read it (--keyring-file)"
        )
    try:
        return list(trying.run(file, made, time.time(), pattern))
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from None


# -- shown -----------------------------------------------------------------------------------------


def _show(found: list[tuple[Path, Tried]], *, several: bool) -> None:
    failed = 0
    for file, tried in found:
        name = f"{file}: {tried.name}" if several else tried.name
        if not tried.found:
            _print("[green]✓[/] {}", name)
            continue
        failed += 1
        _print("[red]✗[/] {}", name)
        for each in tried.found:
            _print("    {}", each.what)
            _print("      expected  [green]{}[/]", each.expected or "none")
            _print("      actual    [red]{}[/]", each.actual or "none")
        for step in tried.steps:
            _print("      [dim]{}[/]", f"{step.title}: {step.outcome}")
    out.print(f"{len(found)} examples, {len(found) - failed} as expected, {failed} not")


def _print(form: str, text: str) -> None:
    """A line with a text of the file's, or of the request's, as it is."""
    out.print(form.format(escape(clean(text))), emoji=False)


def _plain(file: Path, tried: Tried) -> dict[str, Any]:
    steps = [{"step": step.title, "outcome": step.outcome} for step in tried.steps]
    return {
        "file": str(file),
        "name": tried.name,
        "passed": not tried.found,
        "outcome": tried.outcome.told,
        "differences": to_builtins(tried.found),
        "steps": steps,
    }
