"""What one measurement is: the order that the load generator is given, and the result it prints.

Both go through pipes as JSON, the requests through a file as MessagePack. Times are in seconds
unless a name says `us`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct


class Wrong(Exception):
    """An answer that is not the right one. No figure is worth anything then."""


class Faulted(Wrong):
    """No decision, a 503 to the client: right where something was missing, but nothing to count."""


class BenchError(Exception):
    """The benchmark cannot go on. The text says why, and what to do."""


class Sent(Struct, frozen=True, array_like=True):
    """One request as bytes, and what must come back: a consumer's name, or the status of a denial.

    `octets` is a CheckRequest for gRPC, a whole request for HTTP.
    """

    octets: bytes
    expected: str


class Order(Struct, frozen=True, kw_only=True):
    """One measurement. `rate` is requests a second, 0 for as many as are answered."""

    protocol: Literal["grpc", "http"]
    #: `unix:PATH` or HOST:PORT; more than one for workers that share the load.
    addresses: tuple[str, ...]
    requests: str
    #: Whether a request may be sent only once, as one with a nonce. Then it ends with the last.
    once: bool = False
    connections: int = 8
    streams: int = 32
    rate: float = 0.0
    warm: float = 0.3
    seconds: Annotated[float, Meta(gt=0, le=60)] = 1.0
    #: Where the load generator itself runs.
    cores: tuple[int, ...] = ()
    #: Whose CPU time is taken: process ids by a name for the table.
    processes: dict[str, tuple[int, ...]] = {}


class Latency(Struct, frozen=True):
    """Microseconds from the time when a request should have been sent to its answer."""

    p50_us: float
    p90_us: float
    p99_us: float


class Result(Struct, frozen=True, kw_only=True):
    """What was seen between the warming up and the end."""

    answers: int
    seconds: float
    #: CPU seconds, user and system, by the order's names.
    cpu: dict[str, float]
    #: The load generator's own: near `seconds` it was the limit, not who answered.
    own_cpu: float
    latency: Latency
    #: CPU seconds, of all cores, in which the host let others run instead of this machine.
    stolen: float


class Outcome(Struct, frozen=True):
    """What the load generator prints: a result, or what was wrong, or which fault was answered."""

    result: Result | None = None
    wrong: str = ""
    fault: str = ""


def write(path: Path, requests: list[Sent]) -> None:
    path.write_bytes(msgspec.msgpack.encode(requests))


def read(path: Path) -> list[Sent]:
    return msgspec.msgpack.decode(path.read_bytes(), type=list[Sent])


def percentiles(seconds: list[float]) -> Latency:
    """The nearest-rank percentiles; all 0 of nothing."""
    ordered = sorted(seconds)

    def at(share: float) -> float:
        # The smallest value that is not exceeded by this share of all.
        rank = max(1, -(-len(ordered) * share // 100))
        return round(ordered[int(rank) - 1] * 1e6, 1) if ordered else 0.0

    return Latency(at(50), at(90), at(99))
