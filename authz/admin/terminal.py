"""What commands show: tables, rows of JSON, and how far they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from authz.admin.spool import batches

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Row = dict[str, object]
#: Rows of one table; more of them are more tables, as wide as the first.
PAGE = 1000


@contextmanager
def progress(*, shown: bool = True) -> Iterator[Callable[[str, float, float, int], None]]:
    """A bar on standard error while it is a terminal, with a rate and the time that is left. Told
    the step, how much of how much of it is done, and how many records these are."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[records]:,} records"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not shown) as bars:
        tasks: dict[str, int] = {}

        def tell(step: str, done: float, total: float, records: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, records=0, rate=0.0)
            task = bars.tasks[tasks[step]]
            rate = records / task.elapsed if task.elapsed else 0.0
            bars.update(task.id, completed=done, total=total, records=records, rate=rate)

        yield tell


def print_rows(rows: Iterable[Row], *, as_json: bool) -> None:
    """A table, or a list in JSON, as the rows come."""
    if as_json:
        _print_json(rows)
        return
    pages = batches(rows, PAGE)
    first = next(pages, [])
    second = next(pages, [])
    if not first:
        out.print("none")
        return
    # What is empty in this page need not be in the next.
    columns = [n for n in first[0] if second or any(_cell(row[n]) for row in first)]
    widths = {n: max(len(n), *(len(_cell(row[n])) for row in first)) for n in columns}
    # In a pipe there is no edge to keep to.
    console = out if out.is_terminal else Console(width=1000, highlight=False)
    for number, page in enumerate(chain([first], [second] if second else [], pages)):
        table = Table(box=None, pad_edge=False, show_header=number == 0)
        for name in columns:
            width = widths[name] if second else None
            table.add_column(name.replace("_", " "), overflow="fold", min_width=width)
        for row in page:
            table.add_row(*(escape(_cell(row[name])) for name in columns))
        console.print(table)


def _print_json(rows: Iterable[Row]) -> None:
    texts = (json.dumps(row, ensure_ascii=False) for row in rows)
    typer.echo("[" + next(texts, ""), nl=False)
    while page := list(islice(texts, PAGE)):
        typer.echo("".join(f", {text}" for text in page), nl=False)
    typer.echo("]")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
