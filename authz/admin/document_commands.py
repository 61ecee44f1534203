"""The commands `plan`, `apply`, `export` and `schema`."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from authz import document, documents
from authz.admin import export as exporting
from authz.admin import plan as planning
from authz.admin.catalog import Catalog
from authz.admin.options import with_catalog
from authz.admin.terminal import err, out, progress

app = typer.Typer()

DocumentFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="The gateway document; or several files that are one together. One that ends in "
        "`.jsonl` has one consumer a line, for very many.",
    ),
]
#: Objects made between two looks of the collector; a batch of consumers is fewer.
YOUNG = 50_000
COLOURS = {"+": "green", "~": "yellow", "-": "red", "=": "dim"}


class Format(StrEnum):
    """How to write a document."""

    yaml = "yaml"
    jsonl = "jsonl"


@app.command("plan")
@with_catalog
def plan_command(
    store: Catalog,
    files: DocumentFiles,
) -> None:
    """Show what `apply` would change, and change nothing."""
    loaded = documents.load(files)
    with _streaming() as tell:
        made = planning.plan(loaded, store, time.time(), tell)
    _show(made)


@app.command("apply")
@with_catalog
def apply_command(
    store: Catalog,
    files: DocumentFiles,
) -> None:
    """Make the store what its documents say: all of it, or nothing.

    What an earlier document brought and these leave out is removed; credentials from `authz
    credential issue` stay. Above ten thousand changes "nothing" ends once writing has begun: it
    goes on in steps then, and after an interruption applying again finishes.
    """
    loaded = documents.load(files)
    with _streaming() as tell:
        made = planning.plan(loaded, store, time.time(), tell)
        planning.apply(store, made, tell)
    _show(made)


@contextmanager
def _streaming(*, shown: bool = True) -> Iterator[Callable[[str, float, float, int], None]]:
    """A bar, for work on very many consumers. None of them is part of a cycle, and so each goes by
    itself: that the collector looks for cycles among them, and among all that is loaded, would take
    a tenth of the time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(YOUNG, *before[1:])
    try:
        with progress(shown=shown) as tell:
            yield tell
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _show(made: planning.Plan) -> None:
    for warning in made.warnings:
        err.print(f"[yellow]warning:[/] {escape(warning)}")
    for line in made.lines:
        detail = f" ({line.detail})" if line.detail else ""
        out.print(f"[{COLOURS[line.sign]}]{line.sign}[/] {escape(line.what + detail)}")
    if made.more:
        counts = ", ".join(f"{sign} {n:,} {kind}s" for (sign, kind), n in made.counts.items())
        out.print(f"… and {made.more:,} more; together {counts}")
    if not made.lines:
        out.print("nothing to change")


@app.command("export")
@with_catalog
def export_command(
    store: Catalog,
    format_: Annotated[
        Format, typer.Option("--format", help="`jsonl`: one consumer a line, for very many.")
    ] = Format.yaml,
) -> None:
    """Print the store as a document: keys as digests, passwords as hashes, fit for `apply`."""
    version = store.version()
    # A bar would stand among the text.
    with _streaming(shown=not sys.stdout.isatty()) as tell:
        pieces = exporting.export(
            store, format_.value, lambda done, total: tell("exporting", done, total, done)
        )
        for piece in pieces:
            typer.echo(piece, nl=False)
    if store.version() != version:
        err.print("[yellow]warning:[/] the store was changed meanwhile: this may hold some of both")


@app.command("schema")
def schema_command() -> None:
    """Print the document's JSON Schema, for editors and checks."""
    typer.echo(json.dumps(document.schema(), indent=2))
