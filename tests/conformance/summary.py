"""The table at the end of a run: for each file and group what was run, passed, failed, skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

PROPERTY = "conformance"
Row = tuple[str, str, str]  # mode, file, group
OUTCOMES = ("passed", "failed", "skipped")


def write(reporter: pytest.TerminalReporter) -> None:
    """Nothing where no case was run."""
    counts: Counter[tuple[Row, str]] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    remarks: Counter[tuple[str, str]] = Counter()
    for outcome, row, report in _reports(reporter):
        counts[row, outcome] += 1
        if outcome == "skipped":
            reasons[row[0], _reason(report)] += 1
        for name, value in report.user_properties:
            if name == "remark":
                remarks[row[0], value] += 1
    for mode in dict.fromkeys(row[0] for row, _ in counts):
        reporter.write_sep("=", f"conformance, {mode}")
        _write_rows(reporter, {key: n for key, n in counts.items() if key[0][0] == mode})
        _write_counted(reporter, "skipped, because", mode, reasons)
        _write_counted(reporter, "passed, with a remark", mode, remarks)
        _write_total(reporter, mode, counts)


def _reports(reporter: pytest.TerminalReporter) -> Iterator[tuple[str, Row, Any]]:
    names = {"passed": "passed", "failed": "failed", "error": "failed", "skipped": "skipped"}
    for name, outcome in names.items():
        for report in reporter.stats.get(name, ()):
            for key, value in getattr(report, "user_properties", ()):
                if key == PROPERTY:
                    yield outcome, tuple(value), report


def _reason(report: Any) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(text).removeprefix("Skipped: ")


def _write_rows(reporter: pytest.TerminalReporter, counts: dict[tuple[Row, str], int]) -> None:
    rows = sorted({row for row, _ in counts}, key=lambda row: row[1:])
    width = max(len(f"{file} {group}") for _, file, group in rows) + 2
    reporter.write_line(f"{'':{width}}{'run':>6}" + "".join(f"{name:>9}" for name in OUTCOMES))
    for row in rows:
        passed, failed, skipped = (counts.get((row, name), 0) for name in OUTCOMES)
        label = f"{row[1]} {row[2]}"
        numbers = f"{passed + failed:>6}{passed:>9}{failed:>9}{skipped:>9}"
        reporter.write_line(f"{label:{width}}{numbers}")


def _write_counted(
    reporter: pytest.TerminalReporter, title: str, mode: str, counted: Counter[tuple[str, str]]
) -> None:
    lines = [(n, text) for (of, text), n in counted.most_common() if of == mode]
    if lines:
        reporter.write_line(f"{title}:")
    for n, text in lines:
        reporter.write_line(f"{n:>6}  {text}")


def _write_total(
    reporter: pytest.TerminalReporter, mode: str, counts: Counter[tuple[Row, str]]
) -> None:
    total = dict.fromkeys(OUTCOMES, 0)
    for (row, outcome), n in counts.items():
        if row[0] == mode:
            total[outcome] += n
    told = ", ".join(f"{n} {name}" for name, n in total.items())
    reporter.write_line(f"conformance, {mode}: {sum(total.values())} cases, {told}")
