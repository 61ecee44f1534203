"""What comes of a run: medians, ratios, and the JSON that holds everything they were made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct

from authz.bench.candidates import BARE_HANDLER, DEFAULT, ENVOYS_OWN, OURS, Group, nothing_on
from authz.bench.measured import Figure, Measured, Pace
from authz.bench.order import Latency

#: What a Check may cost from bytes to bytes, in microseconds, on the class of machine that the
#: project was made for; printed beside, never judged.
BUDGETS_US = {"key-auth": 15, "basic-auth": 20, "jwt-auth": 20, "hmac-auth": 35}
#: A load generator that is busy for more than this share of the time was the limit itself.
BUSY = 0.85


class Run(Struct, frozen=True, kw_only=True):
    """Everything of one run; what `--json` writes. Times are microseconds where a name says so."""

    made_by: str
    at: str
    quick: bool
    transport: str
    pace: Pace
    machine: dict[str, Any]
    #: `A_vs_B`: A divided by B in each round, then the median over the rounds.
    ratios: dict[str, float]
    in_process: dict[str, list[Latency]]
    budgets_us: dict[str, int]
    candidates: list[Measured]


def encode(run: Run) -> bytes:
    """As JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n"


# -- medians ---------------------------------------------------------------------------------------


def per_second(measured: Measured) -> float:
    return median(figure.per_second for figure in measured.saturated)


def cpu_us(measured: Measured) -> dict[str, float]:
    """Of one answer at the highest load, by process."""
    names = measured.saturated[0].cpu_us
    return {name: median(f.cpu_us[name] for f in measured.saturated) for name in names}


def latency(figures: Sequence[Figure]) -> Latency:
    return middle([figure.latency for figure in figures])


def middle(latencies: Sequence[Latency]) -> Latency:
    """The median of each percentile over the rounds."""
    rounds = [msgspec.structs.astuple(each) for each in latencies]
    return Latency(*(median(each) for each in zip(*rounds, strict=True)))


def limited(measured: Measured) -> bool:
    """Whether the load generator, and not who answered, was the limit."""
    return median(figure.own_share for figure in measured.saturated) > BUSY


# -- ratios ----------------------------------------------------------------------------------------

Pick = Callable[[Figure], float]
NOTHING = nothing_on(DEFAULT)
THOUSAND = f"{OURS}, 1,000 credentials"


def ratios(measured: Iterable[Measured]) -> dict[str, float]:
    """All that can be made of what was measured."""
    found = {(each.group, each.name): each for each in measured}
    made: dict[str, float] = {}
    for name, group, over, under in _comparisons(found):
        one, other = found.get((group, over)), found.get((group, under))
        if one is None or other is None:
            continue
        what = "checks" if group == "direct" else "requests"
        made[f"{what}_per_second_{name}"] = _ratio(one, other, lambda f: f.per_second)
        made[f"cpu_per_{what[:-1]}_{name}"] = _ratio(one, other, lambda f: f.all_cpu_us)
    return made


def _comparisons(found: Iterable[tuple[Group, str]]) -> list[tuple[str, Group, str, str]]:
    """Name, group, what is divided, and what by."""
    rows: list[tuple[str, Group, str, str]] = [
        ("vs_bare_grpcio", "direct", OURS, BARE_HANDLER),
        ("vs_do_nothing", "direct", OURS, NOTHING),
        ("2_workers_vs_1", "direct", f"{OURS}, 2 workers", OURS),
        ("through_envoy_vs_do_nothing", "envoy", OURS, NOTHING),
        ("through_envoy_vs_bare_grpcio", "envoy", OURS, BARE_HANDLER),
    ]
    rows += [
        (f"through_envoy_{scheme}_vs_envoys_{own}", "envoy", f"authz {scheme}", f"Envoy's {own}")
        for own, scheme in ENVOYS_OWN.items()
    ]
    return rows + [
        (f"{_label(name)}_vs_1000_credentials", "direct", name, THOUSAND)
        for group, name in found
        if group == "direct" and "credentials" in name and name != THOUSAND
    ]


def _label(name: str) -> str:
    return name.removeprefix(f"{OURS}, ").replace(",", "").replace(" ", "_")


def _ratio(one: Measured, other: Measured, pick: Pick) -> float:
    """By round, since in one round both met the same noise."""
    pairs = zip(one.saturated, other.saturated, strict=True)
    return round(median(pick(a) / pick(b) for a, b in pairs), 3)
