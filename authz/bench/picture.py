"""A run as a picture: bars of CPU time, lines of latency, one row for each candidate. SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median
from xml.sax.saxutils import escape

from authz.bench import figures
from authz.bench.figures import Run
from authz.bench.measured import Measured
from authz.bench.order import Latency
from authz.bench.report import GROUPS, heading

WIDTH, ROW, TOP, FOOT = 1120, 30, 92, 40
#: Where names end, where bars begin and end, and where the lines do.
NAMES, BARS, BARS_END, LINES, LINES_END = 330, 342, 670, 750, 1090
COLOURS = {"authorizer": "#2f6fb2", "Envoy": "#b9c4d0"}
LOADS = {"50%": "#6aa84f", "85%": "#cc6a2c"}
INK, FAINT = "#1c2733", "#d8dee5"
#: Times the median from which on a bar would leave nothing of the others.
FAR = 10
UNITS = (("s", 1e6), ("ms", 1e3), ("µs", 1.0))
_FONT = "font-family='Helvetica,Arial,sans-serif'"


def svg(run: Run) -> str:
    """The whole picture."""
    groups = [[each for each in run.candidates if each.group == group] for group in GROUPS]
    parts: list[str] = []
    top = 0
    for title, rows in zip(GROUPS.values(), groups, strict=True):
        if rows:
            parts += _group(title, rows, top)
            top += TOP + ROW * len(rows) + FOOT
    lines = heading(run)
    parts += [_text(20, top + 4 + 15 * n, line, 11) for n, line in enumerate(lines)]
    height = top + 15 * len(lines) + 8
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' "
        f"width='{WIDTH}' height='{height}' {_FONT} fill='{INK}'>\n"
        f"<rect width='{WIDTH}' height='{height}' fill='white'/>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _group(title: str, rows: list[Measured], top: int) -> Iterable[str]:
    longest = _longest([sum(figures.cpu_us(each).values()) for each in rows])
    times = [found for each in rows for found in _latencies(each).values()]
    low = min((found.p50_us for found in times), default=1.0)
    high = max((found.p99_us for found in times), default=10.0)
    first = math.floor(math.log10(max(low, 1.0)))
    last = max(first + 1, math.ceil(math.log10(max(high, 10.0))))
    bottom = top + TOP + ROW * len(rows)
    yield _text(20, top + 28, title, 17, weight="bold")
    yield from _legend(rows, top)
    for decade in range(first, last + 1):
        at = _place(10.0**decade, first, last)
        yield f"<path d='M{at:.1f} {top + TOP - 8}V{bottom}' stroke='{FAINT}'/>"
        yield _text(at, bottom + 14, _time(10.0**decade), 11, anchor="middle")
    for number, each in enumerate(rows):
        middle = top + TOP + ROW * number + ROW / 2
        yield _text(NAMES, middle + 4, each.name, 13, anchor="end")
        yield from _bar(each, middle, longest)
        yield from _lines(each, middle, first, last)


def _legend(rows: list[Measured], top: int) -> Iterable[str]:
    yield _text(BARS, top + 54, "CPU µs each, at the highest load", 13, weight="bold")
    yield _text(LINES, top + 54, "latency p50 – p90 – p99, log scale", 13, weight="bold")
    names = list(dict.fromkeys(name for each in rows for name in figures.cpu_us(each)))
    for n, name in enumerate(names):
        yield from _key(BARS + 100 * n, top + 72, COLOURS[name], name)
    for n, (load, colour) in enumerate(LOADS.items()):
        yield from _key(LINES + 110 * n, top + 72, colour, f"at {load} load")


def _key(x: float, y: float, colour: str, name: str) -> Iterable[str]:
    yield f"<rect x='{x}' y='{y - 9}' width='10' height='10' fill='{colour}'/>"
    yield _text(x + 15, y, name, 12)


def _longest(spent: list[float]) -> float:
    """What fills the width; longer bars, as that of a password's hash, are cut."""
    return max(each for each in spent if each <= FAR * median(spent))


def _bar(measured: Measured, middle: float, longest: float) -> Iterable[str]:
    at = float(BARS)
    spent = figures.cpu_us(measured)
    for name in sorted(spent, reverse=True):
        width = (BARS_END - BARS) * min(spent[name] / longest, 1.0)
        yield (
            f"<rect x='{at:.1f}' y='{middle - 9:.1f}' width='{width:.1f}' height='18' "
            f"fill='{COLOURS[name]}'/>"
        )
        at += width
    total = sum(spent.values())
    if total > longest:
        yield f"<path d='M{at - 16:.1f} {middle + 11:.1f}l8 -22' stroke='white' stroke-width='5'/>"
    yield _text(at + 5, middle + 4, f"{total:,.1f}", 12)


def _latencies(measured: Measured) -> dict[str, Latency]:
    return {
        load: figures.latency(rounds)
        for load, rounds in measured.loads.items()
        if load in LOADS and rounds
    }


def _lines(measured: Measured, middle: float, first: int, last: int) -> Iterable[str]:
    for n, (load, found) in enumerate(_latencies(measured).items()):
        y = middle - 5 + 10 * n
        colour = LOADS[load]
        times = (found.p50_us, found.p90_us, found.p99_us)
        places = [_place(each, first, last) for each in times]
        yield (
            f"<path d='M{places[0]:.1f} {y:.1f}H{places[2]:.1f}' stroke='{colour}' "
            "stroke-width='2'/>"
        )
        for place, radius in zip(places, (4, 3, 3), strict=True):
            yield f"<circle cx='{place:.1f}' cy='{y:.1f}' r='{radius}' fill='{colour}'/>"


def _place(us: float, first: int, last: int) -> float:
    share = (math.log10(max(us, 10.0**first)) - first) / (last - first)
    return LINES + (LINES_END - LINES) * min(share, 1.0)


def _time(us: float) -> str:
    """A power of ten of microseconds, in words."""
    unit, per = next(each for each in UNITS if us >= each[1])
    return f"{us / per:.0f} {unit}"


def _text(x: float, y: float, text: str, size: int, *, anchor: str = "", weight: str = "") -> str:
    more = (f" text-anchor='{anchor}'" if anchor else "") + (
        f" font-weight='{weight}'" if weight else ""
    )
    return f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}'{more}>{escape(text)}</text>"
