"""What was measured: how long and how often, one figure, and a candidate's figures."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from authz.bench.candidates import Candidate, Group
from authz.bench.order import Latency, Result


class Pace(Struct, frozen=True):
    """How long and how often. `loads` is the number of rounds below saturation."""

    seconds: float
    warm: float
    rounds: int
    loads: int
    #: Requests that are asked in turn: more than a cache of what was said in one would hold.
    cycle: int
    #: Of the cores' time, what the host may give to others: where it was more, the measurement is
    #: taken again.
    calm: float = 1.0

    def steps(self, candidates: Sequence[Candidate]) -> int:
        """How many measurements that makes, with the one that tries a candidate."""
        return sum(1 + self.rounds + self.loads * len(each.loads) for each in candidates)


class Figure(Struct, frozen=True, kw_only=True):
    """One measurement. CPU times are user and system, in microseconds an answer."""

    per_second: float
    cpu_us: dict[str, float]
    #: The load generator's, and its share of the time: near 1 it was the limit.
    own_cpu_us: float
    own_share: float
    answers: int
    seconds: float
    #: Requests a second that were asked for; 0 for as many as could be answered.
    rate: float
    latency: Latency
    #: Of the cores' time, what the host of a virtual machine gave to others meanwhile.
    stolen: float
    #: Attempts that ended by a fault.
    again: int = 0

    @property
    def all_cpu_us(self) -> float:
        return sum(self.cpu_us.values())


class Measured(Struct, frozen=True, kw_only=True):
    """A candidate's figures, in the order of the rounds."""

    name: str
    group: Group
    in_flight: int
    saturated: list[Figure]
    loads: dict[str, list[Figure]]

    @property
    def every(self) -> list[Figure]:
        return [*self.saturated, *(figure for rounds in self.loads.values() for figure in rounds)]


def figure_of(result: Result, rate: float, cores: int) -> Figure:
    """A result that has answers, by the answer; of a machine with so many cores."""
    each = 1e6 / result.answers
    return Figure(
        per_second=round(result.answers / result.seconds, 1),
        cpu_us={name: round(spent * each, 2) for name, spent in result.cpu.items()},
        own_cpu_us=round(result.own_cpu * each, 2),
        own_share=round(result.own_cpu / result.seconds, 3),
        answers=result.answers,
        seconds=round(result.seconds, 4),
        rate=round(rate, 1),
        latency=result.latency,
        stolen=round(result.stolen / result.seconds / cores, 4),
    )
