"""Workers die, hang and are replaced under load; clients notice as little as can be."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from authz.admin import credentials
from authz.pb.external_auth_pb2_grpc import AuthorizationStub
from tests.e2e.support.load import Load, Shot, different, since, steadily, tally
from tests.e2e.support.stack import Stack, running
from tests.support.checks import Seen, basic, check
from tests.support.waiting import until
from tests.support.workers import apply, catalog

#: Seconds until a dead worker's successor serves, and until a hanging one is no longer asked.
REPLACED, EJECTED = 5.0, 3.0
ENOUGH = 25

DOCUMENT = """
# All load comes from one address.
services:
  - {id: api, auth: {any: [{key-auth: {}}, {basic-auth: {}}]}, access: {guessing: off}}
consumers:
  - username: alice
    credentials:
      - {id: key, key-auth: {key: alice-key}}
      - {id: web, basic-auth: {username: alice, password: alice-password}}
"""
MIX = {
    "key": steadily(("apikey", "alice-key")),
    "unknown": different("apikey", "unknown"),
    "nothing": steadily(),
}
#: What each kind gets when nothing is in the way.
RIGHT = {"key": 200, "unknown": 401, "nothing": 401}
#: The store is well here, and a crowded test machine is no reason for a fault.
PATIENT = {"AUTHZ_STORE_TIMEOUT_MS": "300"}
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """One `authz serve` with two workers."""
    with running(DOCUMENT, env=PATIENT) as stack:
        yield stack


@pytest.fixture
def record(record_property: Record) -> Record:
    return record_property


def wrong(shots: list[Shot]) -> list[Shot]:
    return [shot for shot in shots if shot.status != RIGHT[shot.kind]]


def until_well(stack: Stack, load: Load) -> None:
    """Every kind gets its answer, on every worker, for a while."""
    stack.until_workers(2)
    began, before = time.monotonic(), stack.asked()

    def well() -> bool:
        newest = since(load.shots, began)[-ENOUGH:]
        asked = stack.asked()
        everywhere = all(asked[address] >= before[address] + ENOUGH for address in before)
        return everywhere and len(newest) == ENOUGH and not wrong(newest)

    until(well, "all is well")


def judge(stack: Stack, shots: list[Shot]) -> None:
    """Whatever happens to workers: nobody unknown gets in, and nobody known is called unknown."""
    for shot in shots:
        assert shot.status in (RIGHT[shot.kind], 503), shot
        assert len(stack.recorder.of(shot.tag)) == (shot.status == 200), shot


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker(stack: Stack, victim: int, record: Record) -> None:
    """SIGKILL: at most what it held fails, with a 503; the other worker takes the rest, and a new
    one is there soon."""
    before = set(stack.pids())
    with Load(stack.port, MIX, rate=150) as load:
        until_well(stack, load)
        about_to = time.monotonic()
        os.kill(sorted(before)[victim], signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: len(set(stack.pids()) - before) == 1, "it has a successor")
        stack.until_serving()
        replaced = time.monotonic() - killed
        until_well(stack, load)
    judge(stack, load.shots)
    failed = wrong(since(load.shots, about_to - 1))
    print(
        f"a worker killed: {len(failed)} failed of {tally(load.shots)}; in {replaced:.2f} s a new"
    )
    record("failed", len(failed))
    record("replaced", replaced)
    assert replaced < REPLACED
    assert [s for s in failed if s.started > killed or s.ended < about_to] == []
    assert "authz_worker_restarts_total 0.0" not in stack.metrics()
    password = check("/ip", basic("alice", "alice-password"))
    assert {seen.outcome for seen in stack.ask_each(password)} == {"allow"}


def test_a_worker_that_hangs(stack: Stack, record: Record) -> None:
    """SIGSTOP: soon nothing is sent there any more; when it goes on, it serves again."""
    with Load(stack.port, MIX) as load:
        until_well(stack, load)
        struck = time.monotonic()
        victim = stack.pids()[0]
        os.kill(victim, signal.SIGSTOP)
        try:
            until(lambda: len(since(load.shots, struck + EJECTED)) > ENOUGH, "it is left out")
        finally:
            os.kill(victim, signal.SIGCONT)
        until_well(stack, load)
    judge(stack, load.shots)
    failed = wrong(since(load.shots, struck))
    slowest = max(shot.ended - shot.started for shot in since(load.shots, struck))
    print(f"a worker stopped: {len(failed)} failed of {tally(since(load.shots, struck))}")
    record("failed", len(failed))
    assert [shot for shot in failed if shot.started > struck + EJECTED] == []
    assert slowest < 2.0


def test_a_worker_that_hung_does_not_act_on_what_it_missed(stack: Stack) -> None:
    """A revocation while it was stopped holds from its first answer on."""
    apply(stack.valkey.url, DOCUMENT)
    asked = check("/ip", ("apikey", "alice-key"))
    assert {seen.outcome for seen in stack.ask_each(asked)} == {"allow"}
    stopped = list(stack.pids())
    with grpc.insecure_channel(stack.wiring.authz[0]) as one:
        stub = AuthorizationStub(one)
        assert Seen.of(stub.Check(asked, timeout=10)).outcome == "allow"
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            credentials.revoke(catalog(stack.valkey.url), ("", "alice"), "key")
            revoked = time.monotonic()
            # A revocation has a second to be felt; what comes after it is the question.
            until(lambda: time.monotonic() > revoked + 1.0, "the bound has passed")
            waiting = [stub.Check.future(asked, timeout=10) for _ in range(ENOUGH)]
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        assert {Seen.of(each.result()).outcome for each in waiting} <= {"deny", "fault"}
    apply(stack.valkey.url, DOCUMENT)


def test_everything_down_and_back(stack: Stack, record: Record) -> None:
    """Without any authorizer each answer is a 503, not a denial and no way in; with it, all is as
    before."""
    with Load(stack.port, MIX) as load:
        until_well(stack, load)
        assert stack.stop_authz() == 0
        down = time.monotonic()
        until(lambda: len(since(load.shots, down)) > 4 * ENOUGH, "it is missed")
        starting = time.monotonic()
        stack.start_authz()
        stack.until_serving()
        serving = time.monotonic()
        until_well(stack, load)
    judge(stack, load.shots)
    meanwhile = [shot for shot in since(load.shots, down) if shot.started < starting]
    assert {shot.status for shot in meanwhile} == {503}
    back = max(0.0, max(shot.started for shot in wrong(since(load.shots, down))) - serving)
    print(f"everything down: the last 503 {back * 1000:.0f} ms after both workers serve again")
    record("recovery", back)
    assert back <= 2.0


def test_a_rolling_restart(record: Record) -> None:
    """SIGTERM to one `authz serve` after the other, while another one serves: nothing fails, and
    each ends with status 0."""
    # The time in which Envoy hears that it is about to end is the default one.
    with running(DOCUMENT, apart=True, env={**PATIENT, "AUTHZ_DRAIN_SECONDS": "1.5"}) as stack:
        with Load(stack.port, MIX) as load:
            until_well(stack, load)
            began = time.monotonic()
            for number, name in enumerate(("first", "second")):
                assert stack.stop_authz(name) == 0
                stack.start_authz(f"{name}-again", first=number, workers=1)
                stack.until_serving()
                until_well(stack, load)
        restarted = since(load.shots, began)
        print(f"rolling restart: {len(wrong(restarted))} failed of {len(restarted)}")
        record("failed", len(wrong(restarted)))
        assert wrong(restarted) == []
