"""The store dies, hangs, loses its data or is cut off, under a steady and known mix of requests.

Every single answer is judged: nobody unknown gets in, nobody known is called unknown, whatever
cannot be decided is a 503 that says when to come back, and all of it heals by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from authz.admin import credentials
from authz.server.wire import FAULT_MESSAGE
from tests.e2e.support.cable import Cable
from tests.e2e.support.load import Load, Shot, different, of, since, steadily, tally
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Line
from tests.support.checks import basic, check
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import apply, catalog

#: Seconds from the store's return until everything is as before.
RECOVERY = 2.0
#: Requests of each kind that meet the fault.
ENOUGH = 25

ALICE = """
# All load comes from one address.
services:
  - {id: api, auth: {any: [{key-auth: {}}, {basic-auth: {}}]}, access: {guessing: off}}
consumers:
  - username: alice
    credentials:
      - {id: key, key-auth: {key: alice-key}}
      - {id: web, basic-auth: {username: alice, password: alice-password}}
"""
BOB = """
  - {username: bob, credentials: [{id: key, key-auth: {key: bob-key}}]}
"""
MIX = {
    "key": steadily(("apikey", "alice-key")),
    "password": steadily(basic("alice", "alice-password")),
    "wrong": steadily(("apikey", "wrong-key")),
    "unknown": different("apikey", "unknown"),
    "nothing": steadily(),
    "bob": steadily(("apikey", "bob-key")),
}
#: What each kind may get, whatever happens to the store. Bob's is another matter: he is revoked.
LAWFUL = {
    "key": {200, 503},
    "password": {200, 503},
    "wrong": {401, 503},
    "unknown": {401, 503},
    "nothing": {401},
    "bob": {200, 401, 503},
}
HEALTHY = {"key": {200}, "password": {200}, "wrong": {401}, "unknown": {401}, "nothing": {401}}
RECOVERED = HEALTHY | {"bob": {401}}
#: What is known of these is remembered: no slow answer of the store may touch them.
FROM_MEMORY = ("key", "password", "bob")
#: The time limit of a store call matters here, so it is the default one.
DEFAULTS = {"AUTHZ_STORE_TIMEOUT_MS": ""}
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(ALICE + BOB, env=DEFAULTS) as stack:
        yield stack


def statuses(shots: list[Shot]) -> dict[str, set[int]]:
    return {kind: set(found) for kind, found in tally(shots).items()}


def judge(stack: Stack, shots: list[Shot]) -> None:
    """Hold every single answer against the law."""
    for shot in shots:
        assert shot.status in LAWFUL[shot.kind], shot
        if shot.status == 503 and shot.body:  # without a body it is Envoy's own: nobody answered
            assert shot.retry_after == "1", shot
            assert FAULT_MESSAGE.encode() in shot.body, shot
        arrived = stack.recorder.of(shot.tag)
        assert len(arrived) == (shot.status == 200), shot
        for seen in arrived:
            name = "bob" if shot.kind == "bob" else "alice"
            assert seen.values("x-consumer-username") == [name.encode()]


def warm(stack: Stack) -> None:
    """Let every worker verify whom the mix knows, so that a fault finds them verified."""
    for line in (("apikey", "alice-key"), basic("alice", "alice-password"), ("apikey", "bob-key")):
        until(partial(is_let_in, stack, line), "it is verified")


def is_let_in(stack: Stack, line: Line) -> bool:
    return {seen.outcome for seen in stack.ask_each(check("/ip", line))} == {"allow"}


def met(shots: list[Shot], instant: float) -> bool:
    """Whether enough of every kind were sent since then."""
    counts = tally(since(shots, instant))
    return all(sum(counts.get(kind, {}).values()) >= ENOUGH for kind in MIX)


def is_as(shots: list[Shot], instant: float, wanted: dict[str, set[int]]) -> bool:
    """Whether the newest answers to requests since then are exactly these."""
    newest = since(shots, instant)[-4 * len(MIX) :]
    return len(newest) == 4 * len(MIX) and statuses(newest) == wanted


class Fault:
    """Breaks the store; `mend` brings it back, bob's revocation included, and returns when."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.store = stack, stack.valkey

    def strike(self) -> None:
        raise NotImplementedError

    def mend(self) -> float:
        raise NotImplementedError


class Killed(Fault):
    """SIGKILL, and a new one that knows nothing until the document is applied again."""

    def strike(self) -> None:
        self.store.kill()

    def mend(self) -> float:
        self.store.start()
        apply(self.store.url, ALICE)
        return time.monotonic()


class Frozen(Fault):
    """SIGSTOP: it takes connections and says nothing. Bob is revoked while it is frozen, by a
    command that waits for it."""

    def strike(self) -> None:
        self.store.freeze()

    def mend(self) -> float:
        gone = threading.Thread(
            target=credentials.revoke, args=(catalog(self.store.url), ("", "bob"), "key")
        )
        gone.start()
        self.store.thaw()
        gone.join()
        return time.monotonic()


class Flushed(Fault):
    """FLUSHALL: a store that answers, and has lost everything."""

    def strike(self) -> None:
        self.store.client().flushall()

    def mend(self) -> float:
        apply(self.store.url, ALICE)
        return time.monotonic()


@pytest.fixture
def record(record_property: Record) -> Record:
    return record_property


@pytest.mark.parametrize("kind", [Killed, Frozen, Flushed])
def test_a_store_that_fails_and_returns(stack: Stack, kind: type[Fault], record: Record) -> None:
    """Known credentials go on (they were verified moments ago), unknown ones are never let in,
    and within the recovery time everything is decided as before, without a restart."""
    apply(stack.valkey.url, ALICE + BOB)
    warm(stack)
    fault = kind(stack)
    with Load(stack.port, MIX) as load:
        struck = strike(load, fault.strike)
        mending = time.monotonic()
        back = fault.mend()
        until_recovered(load, back)
    judge(stack, since(load.shots, struck))
    known_go_on(load.shots, struck, mending)
    record("recovery", recovery(load.shots, back))


def strike(load: Load, act: Callable[[], object]) -> float:
    """Break something that works, and wait until enough requests met that. Returns when it was."""
    began = time.monotonic()
    until(lambda: is_as(load.shots, began, HEALTHY | {"bob": {200}}), "all is well")
    struck = time.monotonic()
    act()
    until(lambda: met(load.shots, struck), "the fault is met")
    return struck


def until_recovered(load: Load, back: float) -> None:
    until(lambda: is_as(load.shots, back, RECOVERED), "all is well again")
    recovered = time.monotonic()
    until(lambda: met(load.shots, recovered), "it stays well")


def known_go_on(shots: list[Shot], struck: float, mending: float) -> None:
    """While the store was away: who was verified before goes on, who was not does not."""
    during = [shot for shot in since(shots, struck) if shot.started < mending]
    print(f"meanwhile {tally(during)}")
    assert {shot.status for shot in of(during, "key", "password")} == {200}
    assert 503 in statuses(during)["unknown"]
    # The store gets 50 ms of a request at the most; the rest is Envoy's and the machine's.
    waits = sorted(shot.ended - shot.started for shot in during if shot.status == 503)
    assert waits[len(waits) * 9 // 10] < 0.1


def recovery(shots: list[Shot], back: float) -> float:
    """Seconds until the answers are as they must be: nobody known is kept out any more and bob is,
    and what the store has to be asked for is decided again."""
    after = sorted(since(shots, back), key=lambda shot: shot.started)
    wrong = [s.started for s in of(after, *FROM_MEMORY) if s.status not in RECOVERED[s.kind]]
    decided = [first_of_a_run(of(after, kind)) for kind in ("wrong", "unknown")]
    took = max([back, *wrong, *decided]) - back
    print(f"recovered {took * 1000:.0f} ms after the store's return")
    assert took <= RECOVERY
    return took


def first_of_a_run(shots: list[Shot]) -> float:
    """When the first of four right answers in a row was asked for."""
    runs = (shots[number : number + 4] for number in range(len(shots) - 3))
    return next(r[0].started for r in runs if all(s.status in RECOVERED[s.kind] for s in r))


def test_a_revocation_that_workers_could_not_hear(record: Record) -> None:
    """Cut off from the store, a worker may let a revoked credential in for the stale time; once
    the connection is back, it learns what it missed."""
    with ExitStack() as ending:
        cables: list[Cable] = []

        def through_a_cable(valkey: Valkey) -> str:
            cables.append(Cable(valkey.port))
            ending.callback(cables[0].close)
            return f"redis://127.0.0.1:{cables[0].port}/0"

        def cut_and_revoke() -> None:
            cables[0].cut()
            credentials.revoke(catalog(apart.valkey.url), ("", "bob"), "key")

        apart = ending.enter_context(running(ALICE + BOB, store_url=through_a_cable, env=DEFAULTS))
        warm(apart)
        with Load(apart.port, MIX) as load:
            struck = strike(load, cut_and_revoke)
            until(lambda: since(load.shots, struck + 1.5), "the silence was noticed")
            mending = time.monotonic()
            cables[0].mend()
            back = time.monotonic()
            until_recovered(load, back)
        judge(apart, since(load.shots, struck))
        known_go_on(load.shots, struck, mending)
        record("recovery", recovery(load.shots, back))


@pytest.mark.parametrize(("kind", "stale", "bound"), [(Killed, 1.2, 1.2), (Frozen, 0.0, 1.0)])
def test_nothing_is_trusted_for_longer_than_the_bound(
    stack: Stack, kind: type[Fault], stale: float, bound: float
) -> None:
    """`--stale-seconds` after the store was last known to be there, nobody is let in any more.

    A frozen store counts as gone after a second of silence.
    """
    apply(stack.valkey.url, ALICE + BOB)
    stack.stop_authz(list(stack.authz)[-1])
    stack.start_authz(f"stale-{stale}", "--stale-seconds", str(stale))
    stack.until_serving()
    warm(stack)
    fault = kind(stack)
    with Load(stack.port, MIX) as load:
        struck = strike(load, fault.strike)
        until(lambda: met(load.shots, struck + bound), "the bound has passed")
        mending = time.monotonic()
        back = fault.mend()
        until_recovered(load, back)
    judge(stack, since(load.shots, struck))
    let_in = [
        s.started for s in since(load.shots, struck) if s.status == 200 and s.started < mending
    ]
    last = max(let_in, default=struck) - struck
    print(f"stale {stale} s: the last one is let in {last:.3f} s after the fault")
    # What a worker heard in the store's last moment it may note a moment later.
    assert last <= bound + 0.1
    recovery(load.shots, back)
