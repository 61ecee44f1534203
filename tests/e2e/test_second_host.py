"""Two hosts with one store behind one Envoy, and one of them dies.

A host is an address on loopback with an `authz serve` of its own; Envoy's cluster lists both.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from authz.admin import credentials
from tests.e2e.support.load import Load, since, tally
from tests.e2e.support.stack import Stack, running
from tests.e2e.test_faults_workers import DOCUMENT, ENOUGH, MIX, PATIENT, judge, wrong
from tests.support.checks import check
from tests.support.valkey import free_port
from tests.support.waiting import until
from tests.support.workers import catalog

HOSTS = {"first": "127.0.0.2", "second": "127.0.0.3"}
Record = Callable[[str, object], None]


def serve(stack: Stack) -> None:
    for number, name in enumerate(HOSTS):
        stack.start_authz(name, first=number, workers=1)


@pytest.fixture
def stack() -> Iterator[Stack]:
    addresses = tuple(f"{host}:{free_port(host)}" for host in HOSTS.values())
    with running(DOCUMENT, env=PATIENT, serve=serve, addresses=addresses) as stack:
        yield stack


def until_well(stack: Stack, load: Load, host: str) -> None:
    """Every kind gets its answer for a while, on this host."""
    began, before = time.monotonic(), stack.asked()

    def well() -> bool:
        newest = since(load.shots, began)[-ENOUGH:]
        asked = stack.asked()
        there = all(asked[at] >= before[at] + ENOUGH for at in before if host in at)
        return there and len(newest) == ENOUGH and not wrong(newest)

    until(well, f"all is well on {host}")


def die(stack: Stack, name: str) -> None:
    """The supervisor and its worker at once, as if the machine had lost power."""
    for pid in (stack.authz[name].process.pid, *stack.pids(name)):
        os.kill(pid, signal.SIGKILL)
    stack.authz[name].process.wait()


def test_a_host_dies(stack: Stack, record_property: Record) -> None:
    """At most what it held fails, with a 503; the other host takes the rest, hears revocations,
    and when the first one is back it is asked again, without anybody's doing."""
    with Load(stack.port, MIX) as load:
        for host in HOSTS.values():
            until_well(stack, load, host)
        about_to = time.monotonic()
        die(stack, "second")
        dead = time.monotonic()
        until(lambda: len(since(load.shots, dead)) > 4 * ENOUGH, "it is missed")
        until_well(stack, load, HOSTS["first"])
        stack.start_authz("second-again", first=1, workers=1)
        until_well(stack, load, HOSTS["second"])
    judge(stack, load.shots)
    failed = wrong(load.shots)
    print(f"a host died: {len(failed)} failed of {tally(load.shots)}")
    record_property("failed", len(failed))
    assert [s for s in failed if s.started > dead or s.ended < about_to] == []
    credentials.revoke(catalog(stack.valkey.url), ("", "alice"), "key")
    asked = check("/ip", ("apikey", "alice-key"))
    until(lambda: {seen.outcome for seen in stack.ask_each(asked)} == {"deny"}, "it is felt")
