"""The command `import`: another gateway's file as a gateway document."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from authz.admin.credentials import Refused
from authz.admin.explain_command import clean
from authz.admin.moving.moved import Kind, Moved, move
from authz.admin.terminal import err

app = typer.Typer()
COLOURS = {"took": "green", "changed": "yellow", "left": "red", "other": "dim"}


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    kind: Annotated[
        Kind | None, typer.Option("--from", help="Whose it is.", show_default="told by the file")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A new file, which nobody else may read."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit status 1 if something was left.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Report what was changed and left alone.")
    ] = False,
) -> None:
    """Make a gateway document of an APISIX, ADC or Kong (decK) file, or of an htpasswd file.

    authz import kong.yaml -o gateway.yaml     # then: authz test, authz plan, authz apply

    The report on standard error says of each line what became of it: took, changed, left, or other
    (it does not say who may call). What is left opens nothing: a route whose rules cannot be taken
    over admits nobody. The document holds the secrets that the file holds; the report none.
    """
    moved = move(file, kind)
    if output is None:
        typer.echo(moved.document, nl=False)
    else:
        _write(output, moved.document)
    _tell(file, moved, quiet=quiet)
    raise typer.Exit(1 if strict and moved.report.counts()["left"] else 0)


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refused(f"{path} is there already") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _tell(file: Path, moved: Moved, *, quiet: bool) -> None:
    for entry in moved.report.entries():
        if quiet and entry.word in ("took", "other"):
            continue
        at = escape(clean(f"{file}:{entry.line}:"))
        what = escape(clean(f"{entry.path}: {entry.why}"))
        err.print(f"{at} [{COLOURS[entry.word]}]{entry.word}[/] {what}", emoji=False)
    counts = moved.report.counts()
    err.print(
        f"{moved.kind}: took {counts['took']}, changed {counts['changed']}, left "
        f"{counts['left']}, and {counts['other']} that do not say who may call"
    )
