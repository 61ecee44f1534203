"""A run in words: lines for a terminal, and the part of a Markdown page between two markers."""

from __future__ import annotations

from pathlib import Path

from authz.bench import figures
from authz.bench.figures import BUDGETS_US, Run
from authz.bench.measured import Measured
from authz.bench.order import BenchError

BEGIN, END = "<!-- authz bench: begin -->", "<!-- authz bench: end -->"
GROUPS = {"direct": "Asked directly", "envoy": "Through Envoy (one Envoy worker)"}
#: Marks a figure that says more about the load generator.
MARK = "*"
FOOTNOTE = (
    f"{MARK} The load generator was the limit: more is possible. Compare the CPU time instead."
)
Row = tuple[str, ...]


def heading(run: Run) -> list[str]:
    """What was measured, and where."""
    made = run.machine
    packages = ", ".join(f"{name} {version}" for name, version in made["packages"].items())
    form = "quick" if run.quick else "full"
    load = made["load_average_at_start"][0]
    return [
        f"{run.made_by}, {form}, transport {run.transport}, {run.at}",
        f"{made['cpu']}, {made['cores']} cores, {made['memory_gib']} GiB, {made['kernel']}, "
        f"{made['python']}; load average at the start {load}",
        packages,
        _placement(made["placement"]),
    ]


def _placement(placement: dict[str, list[int]]) -> str:
    server, second, load = (placement[name][0] for name in ("server", "second", "load"))
    shared = " as well" if load in (server, second) else ""
    return (
        f"what is measured runs on core {server}; behind Envoy an authorizer, and a second worker, "
        f"on core {second}; the load generator on core {load}{shared}"
    )


def ratio_rows(run: Run) -> list[Row]:
    named: list[Row] = [("ratio (median of the rounds)", "times")]
    return named + [(name.replace("_", " "), f"{value:.2f}") for name, value in run.ratios.items()]


def in_process_rows(run: Run) -> list[Row]:
    titles = ("p50 µs", "p90 µs", "p99 µs", "p50 µs, calmest slice", "budget µs")
    rows: list[Row] = [("in process, cached", *titles)]
    for scheme, rounds in run.in_process.items():
        found = figures.middle(rounds)
        times = (f"{each:.1f}" for each in (found.p50_us, found.p90_us, found.p99_us))
        calmest = min(each.p50_us for each in rounds)
        rows.append((scheme, *times, f"{calmest:.1f}", str(BUDGETS_US.get(scheme, ""))))
    return rows


def candidate_rows(run: Run, group: str) -> list[Row]:
    """One row each: the highest load, then what each other load took."""
    measured = [each for each in run.candidates if each.group == group]
    loads = list(dict.fromkeys(load for each in measured for load in each.loads))
    processes = list(dict.fromkeys(name for each in measured for name in figures.cpu_us(each)))
    unit = "Check" if group == "direct" else "request"
    titles = [f"{name} CPU µs a {unit}" for name in processes]
    times = [f"{_load(load)}: p50 / p90 / p99 ms" for load in loads]
    rows: list[Row] = [(GROUPS[group], f"{unit}s/s", *titles, *times)]
    return rows + [_row(each, processes, loads) for each in measured]


def _row(measured: Measured, processes: list[str], loads: list[str]) -> Row:
    spent = figures.cpu_us(measured)
    mark = MARK if figures.limited(measured) else ""
    return (
        measured.name,
        f"{figures.per_second(measured):,.0f}{mark}",
        *(f"{spent[name]:.1f}" if name in spent else "" for name in processes),
        *(_times(measured, load) for load in loads),
    )


def _times(measured: Measured, load: str) -> str:
    rounds = measured.loads.get(load)
    if not rounds:
        return ""
    found = figures.latency(rounds)
    return " / ".join(f"{us / 1000:.2f}" for us in (found.p50_us, found.p90_us, found.p99_us))


def _load(load: str) -> str:
    return "one in flight" if load == "one" else f"{load} load" if load.endswith("%") else load


def _tables(run: Run) -> list[list[Row]]:
    made = [ratio_rows(run), in_process_rows(run)]
    made += [candidate_rows(run, group) for group in GROUPS]
    return [rows for rows in made if len(rows) > 1]


def _footnotes(run: Run) -> list[str]:
    again = sum(figure.again for each in run.candidates for figure in each.every)
    limited = any(figures.limited(each) for each in run.candidates)
    told = f"Measurements that were taken again, because of a fault (503): {again}."
    return [FOOTNOTE] * limited + [told] * bool(again) + _stolen(run)


def _stolen(run: Run) -> list[str]:
    """What a virtual machine's host took."""
    shares = sorted(figure.stolen for each in run.candidates for figure in each.every)
    if not shares or not shares[-1]:
        return []
    middle, most = shares[len(shares) // 2], shares[-1]
    return [
        "The host of this virtual machine gave some of its cores' time to others while it was "
        f"measured: {middle:.1%} in the middle of the measurements, {most:.1%} in the worst."
    ]


# -- a terminal ------------------------------------------------------------------------------------


def text(run: Run) -> str:
    """Aligned columns, the first to the left and the others to the right."""
    parts = ["\n".join(heading(run)), *("\n".join(_aligned(rows)) for rows in _tables(run))]
    parts += _footnotes(run)
    return "\n\n".join(parts) + "\n"


def _aligned(rows: list[Row]) -> list[str]:
    # A title that is wider than its column is given two lines, cut where the colon is.
    titles = [cell.partition(": ")[::2] for cell in rows[0]]
    head = [tuple(t[0] for t in titles), tuple(t[1] for t in titles)]
    lines = [*(head if any(head[1]) else head[:1]), *rows[1:]]
    widths = [max(len(row[n]) for row in lines) for n in range(len(lines[0]))]
    return [
        "  ".join(
            cell.ljust(width) if not n else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in lines
    ]


# -- a page ----------------------------------------------------------------------------------------


def markdown(run: Run) -> str:
    """Ratios first, then what they were made of."""
    parts = ["\n".join(f"{line}  " for line in heading(run)).rstrip()]
    parts += ["\n".join(_markdown_table(rows)) for rows in _tables(run)]
    parts += [note.replace(MARK, f"\\{MARK}") for note in _footnotes(run)]
    return "\n\n".join(parts)


def _markdown_table(rows: list[Row]) -> list[str]:
    rule = ("---", *("---:" for _ in rows[0][1:]))
    return [f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])]


def require_markers(path: Path) -> str:
    """The page's text. Raises `BenchError` when it has no place for a table: better before than
    after the measuring."""
    try:
        page = path.read_text()
    except OSError as error:
        raise BenchError(f"--markdown {path}: {error.strerror}") from None
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise BenchError(f"--markdown {path}: expected the lines {BEGIN} and {END}, once each")
    return page


def rewrite(path: Path, run: Run) -> None:
    """Put this run between the page's markers. Raises `BenchError`."""
    page = require_markers(path)
    before, after = page[: page.index(BEGIN)], page[page.index(END) :]
    path.write_text(f"{before}{BEGIN}\n\n{markdown(run)}\n\n{after}")
