"""`authz bench`: start everything, measure it in rounds, and tell what was seen."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from rich.console import Console

from authz import __version__
from authz.bench import figures, line_up, machine, picture, report
from authz.bench.candidates import CACHED, DEFAULT, Candidate
from authz.bench.figures import Run
from authz.bench.helpers import Helpers
from authz.bench.line_up import Wanted
from authz.bench.measured import Measured, Pace
from authz.bench.measuring import Measuring
from authz.bench.order import BenchError, Latency
from authz.bench.site import Site, site
from authz.stack import envoy, valkey
from authz.stack.processes import StackError

#: Long enough for a median, short enough for CI.
QUICK = Pace(seconds=0.5, warm=0.1, rounds=2, loads=1, cycle=5000)
#: Many short rounds: a shared machine is left alone for a moment rather than for long.
FULL = Pace(seconds=0.8, warm=0.2, rounds=9, loads=5, cycle=5000, calm=0.01)
INTERRUPTED = 130


class BenchOptions(Struct, frozen=True, kw_only=True):
    """What `authz bench` was asked for. None: what the form has."""

    quick: bool = False
    json: Path | None = None
    svg: Path | None = None
    markdown: Path | None = None
    credentials: str = "1,1000,10000"
    rounds: int | None = None
    seconds: float | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the store. Raises `BenchError`."""
        parts = self.credentials.replace("_", "").split(",")
        if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
            raise BenchError(
                f"--credentials {self.credentials!r}: expected numbers such as 1,10000,1000000"
            )
        return tuple(int(part) for part in parts)

    @property
    def pace(self) -> Pace:
        form = QUICK if self.quick else FULL
        rounds = self.rounds or form.rounds
        return Pace(
            seconds=self.seconds or form.seconds,
            warm=min(form.warm, self.seconds or form.warm),
            rounds=rounds,
            loads=min(rounds, form.loads),
            cycle=form.cycle,
            calm=form.calm,
        )


def bench(options: BenchOptions) -> int:
    """Run it; the exit status. 1 for a wrong answer or a missing part, told on standard error; 130
    for Ctrl-C and SIGTERM."""
    err = Console(stderr=True, highlight=False, soft_wrap=True)
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        _require_sense(options)
        run = measure(options, Teller(err))
        _write(options, run)
    except (BenchError, StackError) as error:
        err.print("[bold red]authz bench:[/]", end=" ")
        err.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.stdout.write(report.text(run))
    return 0


def _leave(*_: object) -> None:
    raise KeyboardInterrupt


class Teller:
    """Says what is measured now: in one place of a terminal, else line by line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("") if console.is_terminal else None
        self._numbers = itertools.count(1)
        self._total = 0

    def expect(self, steps: int) -> None:
        """So many more."""
        self._total += steps

    def __call__(self, what: str) -> None:
        self._show(f"{next(self._numbers)} of {self._total}: {what}")

    def _show(self, line: str) -> None:
        if self._status is None:
            self._console.print(line, markup=False)
        else:
            self._status.start()
            self._status.update(line)

    def again(self, why: str) -> None:
        """The step is taken once more; a line that stays."""
        self._console.print(f"{why}; measured again", markup=False)

    def note(self, what: str) -> None:
        """Between two steps."""
        self._show(what)

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()


def measure(options: BenchOptions, tell: Teller) -> Run:
    """Everything that was asked for. Raises `BenchError` and `StackError`."""
    pace, cores = options.pace, machine.cores()
    found = machine.describe(cores)
    wanted = Wanted(quick=options.quick, credentials=() if options.quick else options.sizes)
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    try:
        with site(cores, tell.note) as where, Helpers() as helpers:
            where.apply(1)
            measuring = Measuring(where, helpers, pace, tell)
            tell.expect(1)
            in_process: dict[str, list[Latency]] = measuring.in_process(tuple(CACHED), pace.rounds)
            measured: list[Measured] = []
            for group in (line_up.direct, line_up.through_envoy):
                measured += _group(group, where, wanted, measuring, tell)
    finally:
        tell.close()
    return Run(
        made_by=f"authz {__version__}",
        at=at,
        quick=options.quick,
        transport=DEFAULT,
        pace=pace,
        machine=found,
        ratios=figures.ratios(measured),
        in_process=in_process,
        budgets_us=figures.BUDGETS_US,
        candidates=measured,
    )


def _group(
    start: Callable[[Site, Wanted], list[Candidate]],
    where: Site,
    wanted: Wanted,
    measuring: Measuring,
    tell: Teller,
) -> list[Measured]:
    made = start(where, wanted)
    tell.expect(measuring.pace.steps(made))
    return measuring.measure(made)


def _require_sense(options: BenchOptions) -> None:
    """What cannot be done or written is told before the measuring, not after it."""
    assert options.sizes
    envoy.binary()
    valkey.binary()
    for name, path in (("json", options.json), ("svg", options.svg)):
        if path is not None and not path.absolute().parent.is_dir():
            raise BenchError(f"--{name} {path}: there is no directory {path.parent}")
    if options.markdown is not None:
        report.require_markers(options.markdown)


def _write(options: BenchOptions, run: Run) -> None:
    if options.json is not None:
        options.json.write_bytes(figures.encode(run))
    if options.svg is not None:
        options.svg.write_text(picture.svg(run))
    if options.markdown is not None:
        report.rewrite(options.markdown, run)
