"""Measuring: candidates in turn, round after round, so that a moment's noise hits all alike."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Protocol

import msgspec

from authz.bench import in_process, machine, order, people
from authz.bench.calls import Call, check, http
from authz.bench.candidates import CACHED, ONE, Calls, Candidate, Group, Load
from authz.bench.helpers import Helpers
from authz.bench.measured import Figure, Measured, Pace, figure_of
from authz.bench.order import BenchError, Latency, Order, Result, Sent
from authz.bench.site import Site

#: Requests that are made for one measurement, a second, of those that count only once: more than
#: are answered. When they are used up, the measurement is over.
ONCE = 15_000
#: Requests a second of the fixed load.
FIXED = 1000.0
#: Seconds that asking everything once may take, before anything is measured.
PRIMING = 60.0
#: Seconds for which requests are used again; a signature holds for five minutes.
FRESH = 150.0

#: Attempts at one measurement. A machine that stands still for a moment makes a fault of what has
#: to be in time; a fault is cheap, so no figure may hold any. Of what its host took part in, the
#: attempt counts that it disturbed least.
TRIES = 3


class Tell(Protocol):
    """Is told what goes on."""

    def __call__(self, what: str) -> None:
        """The next step."""
        ...

    def again(self, why: str) -> None:
        """The step is taken once more."""
        ...


class Fault(BenchError):
    """A candidate could not decide."""


class Measuring:
    """Carries out orders on what runs at a site. Raises `BenchError` for any wrong answer."""

    def __init__(self, site: Site, helpers: Helpers, pace: Pace, tell: Tell) -> None:
        self._site, self.pace, self._tell = site, pace, tell
        self._helpers = helpers
        #: Files of requests, and when they were made.
        self._files: dict[tuple[Calls, Group, int], tuple[Path, float]] = {}

    def measure(self, candidates: Sequence[Candidate]) -> list[Measured]:
        """All of one group."""
        for each in candidates:
            self._place(each)
            self._tell(f"{each.name}: are the answers right?")
            self._try(each)
        saturated = self._saturate(candidates)
        loads = self._load(candidates, saturated)
        return [
            Measured(
                name=each.name,
                group=each.group,
                in_flight=math.prod(each.in_flight),
                saturated=saturated[each.name],
                loads=loads[each.name],
            )
            for each in candidates
        ]

    def _place(self, candidate: Candidate) -> None:
        # Behind Envoy, which has the first core, an authorizer works on another.
        if candidate.group == "envoy":
            machine.pin(candidate.processes.get("authorizer", ()), self._site.cores.second)

    def _try(self, candidate: Candidate) -> None:
        """Ask without a credential, since what lets everybody in is no authorizer; then what is
        slow when it is first asked for."""
        if candidate.guards:
            nobody = self._site.directory / "nobody"
            order.write(nobody, encoded([people.nobody(candidate.guards)], candidate.group))
            self._ask(candidate, nobody, once=True, in_flight=ONE)
        self._first(candidate)
        if candidate.many:
            self._ask(
                candidate, self._requests(candidate, self.pace.cycle), once=True, seconds=PRIMING
            )

    def _first(self, candidate: Candidate) -> None:
        """Ask once. What takes long at first, as a password does, would be late for a crowd."""
        self._ask(candidate, self._requests(candidate, 1), once=True, in_flight=ONE)

    def _saturate(self, candidates: Sequence[Candidate]) -> dict[str, list[Figure]]:
        found: dict[str, list[Figure]] = {each.name: [] for each in candidates}
        for number in range(self.pace.rounds):
            for each in candidates:
                self._tell(f"{each.name}: as many as can be, round {number + 1}")
                found[each.name].append(self._figure(each, ONCE))
        return found

    def _load(
        self, candidates: Sequence[Candidate], saturated: dict[str, list[Figure]]
    ) -> dict[str, dict[str, list[Figure]]]:
        found: dict[str, dict[str, list[Figure]]] = {
            each.name: {load: [] for load in each.loads} for each in candidates
        }
        for number in range(self.pace.loads):
            for each in candidates:
                most = median(figure.per_second for figure in saturated[each.name])
                for load in each.loads:
                    self._tell(f"{each.name}: {_in_words(load)}, round {number + 1}")
                    found[each.name][load].append(self._at(each, load, most))
        return found

    def _at(self, candidate: Candidate, load: Load, most: float) -> Figure:
        if load == "one":
            return self._figure(candidate, ONCE, in_flight=ONE)
        rates = {"50%": most / 2, "85%": most * 0.85, "1000/s": FIXED}
        return self._figure(candidate, rates[load] * 1.2, rate=rates[load])

    def _figure(
        self,
        candidate: Candidate,
        enough: float,
        *,
        rate: float = 0.0,
        in_flight: tuple[int, int] = (0, 0),
    ) -> Figure:
        seconds = self.pace.warm + self.pace.seconds
        count = math.ceil(enough * seconds) if candidate.once else self.pace.cycle
        faults, calmest = 0, None
        for _ in range(TRIES):
            try:
                if faults:
                    self._first(candidate)
                result = self._ask(
                    candidate,
                    self._requests(candidate, count),
                    once=candidate.once,
                    rate=rate,
                    in_flight=in_flight if any(in_flight) else candidate.in_flight,
                    warm=self.pace.warm,
                    seconds=self.pace.seconds,
                )
            except Fault as fault:
                self._tell.again(str(fault))
                faults += 1
                continue
            if not result.answers:
                raise BenchError(
                    f"{candidate.name}: its requests were used up at once: --seconds LESS"
                )
            made = figure_of(result, rate, os.cpu_count() or 1)
            if calmest is None or made.stolen < calmest.stolen:
                calmest = made
            if calmest.stolen <= self.pace.calm:
                break
        if calmest is None:
            raise BenchError(f"{candidate.name}: nothing but faults in {TRIES} attempts")
        return msgspec.structs.replace(calmest, again=faults)

    def _requests(self, candidate: Candidate, count: int) -> Path:
        """A file of so many: fresh ones, where they count only once, or hold for a short time."""
        return self._file(candidate.calls, candidate.group, count, candidate.once)

    def _file(self, calls: Calls, group: Group, count: int, once: bool = False) -> Path:
        wanted = (calls, group, count)
        file, made = self._files.get(wanted, (self._site.directory / f"r{len(self._files)}", 0.0))
        now = time.monotonic()
        if once or not made or now - made > FRESH:
            order.write(file, encoded(calls(count), group))
            self._files[wanted] = file, now
        return file

    def _ask(
        self,
        candidate: Candidate,
        requests: Path,
        *,
        once: bool,
        in_flight: tuple[int, int] = (0, 0),
        rate: float = 0.0,
        warm: float = 0.0,
        seconds: float = 10.0,
    ) -> Result:
        connections, streams = in_flight if any(in_flight) else candidate.in_flight
        made = Order(
            protocol="grpc" if candidate.group == "direct" else "http",
            addresses=candidate.addresses,
            requests=str(requests),
            once=once,
            connections=connections,
            streams=streams,
            rate=rate,
            warm=warm,
            seconds=seconds,
            processes=candidate.processes,
            cores=tuple(self._site.cores.load),
        )
        outcome = self._helpers.load(made)
        if outcome.fault:
            raise Fault(f"{candidate.name} answers with a fault: {outcome.fault}")
        if outcome.result is None:
            self._site.require_alive()
            raise BenchError(f"{candidate.name} answers wrongly: {outcome.wrong}")
        return outcome.result

    def in_process(self, schemes: Sequence[str], rounds: int) -> dict[str, list[Latency]]:
        """The time of one Check without a transport, for each scheme and round."""
        count = self.pace.cycle
        files = {scheme: str(self._file(CACHED[scheme], "direct", count)) for scheme in schemes}
        task = in_process.Task(
            self._site.settings(1), f"unix:{self._site.directory}/in-process.sock", files, rounds
        )
        self._tell("in process, without a transport")
        outcome = self._helpers.in_process(task)
        if outcome.wrong:
            raise BenchError(f"in process: {outcome.wrong}")
        return outcome.schemes


def encoded(calls: Sequence[Call], group: Group) -> list[Sent]:
    """As they are sent in this group."""
    if group == "envoy":
        return [Sent(http(call), call.expected) for call in calls]
    at = time.time()
    return [Sent(check(call, n, at), call.expected) for n, call in enumerate(calls)]


def _in_words(load: Load) -> str:
    return "one in flight" if load == "one" else f"{load} load"
