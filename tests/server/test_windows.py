"""From when until when a credential and its consumer hold: to the second, whatever is remembered.

One worker with a clock of the test's own; each kind of credential is remembered in another way: a
key by its record and its evidence, a password and a token by what was verified of them besides, a
signature by its record alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest

from authz import signing
from authz.pb.external_auth_pb2 import CheckRequest
from tests.support.checks import basic, check
from tests.support.gateway import NOW
from tests.support.tokens import SECRET
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import Running, apply, running

KEY = SECRET.decode()
KINDS = ("key-auth", "basic-auth", "jwt-auth", "hmac-auth")
#: What is bounded: a credential, a consumer, both (the narrower one counts).
BOUNDED = ("credential", "consumer")
START, END = NOW + 100, NOW + 105
#: A grain of time that the clocks and the instants here can tell.
GRAIN = 0.001


def stamp(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def consumers() -> Iterator[str]:
    window = f"not_before: {stamp(START)}, expires_at: {stamp(END)}"
    for of in BOUNDED:
        own, its = (window + ", ", "") if of == "consumer" else ("", window + ", ")
        yield f"""
  - username: {of}
    {own.rstrip(", ").replace(", ", chr(10) + "    ")}
    credentials:
      - {{id: k, {its}key-auth: {{key: {of}-key}}}}
      - {{id: b, {its}basic-auth: {{username: {of}, password: pass}}}}
      - {{id: j, {its}jwt-auth: {{key: {of}-jwt, secret: "{KEY}"}}}}
      - {{id: h, {its}hmac-auth: {{key_id: {of}-id, secret_key: "{KEY}"}}}}"""


DOCUMENT = (
    "services:\n"
    + "\n".join(f"  - {{id: {k}, hosts: [{k}.test], auth: {{{k}: {{}}}}}}" for k in KINDS)
    + "\nconsumers:"
    + "".join(consumers())
)


class Clock:
    """Stands where it is put."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def request(kind: str, of: str) -> CheckRequest:
    """The very same bytes each time, whenever they are sent."""
    if kind == "key-auth":
        lines = [("apikey", f"{of}-key")]
    elif kind == "basic-auth":
        lines = [basic(of, "pass")]
    elif kind == "jwt-auth":
        token = signing.sign_jwt({"key": f"{of}-jwt", "exp": int(END) + 999}, key=KEY, at=NOW)
        lines = [(name.lower(), value) for name, value in token.headers]
    else:
        signed = signing.sign_hmac_auth("GET", "/ip", key_id=f"{of}-id", secret=KEY, at=START + 2)
        lines = [(name.lower(), value) for name, value in signed.headers]
    return check("/ip", *lines, host=f"{kind}.test")


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def worker(shared_valkey: Valkey, clock: Clock) -> Iterator[Running]:
    shared_valkey.client().flushall()
    apply(shared_valkey.url, DOCUMENT)
    with running(shared_valkey.url, clock=clock, stale_seconds=3600) as worker:
        yield worker


@pytest.mark.parametrize("of", BOUNDED)
@pytest.mark.parametrize("kind", KINDS)
def test_to_the_second(worker: Running, clock: Clock, kind: str, of: str) -> None:
    """Not a moment before, from the first second on, to the last moment, and from the end never;
    each asked twice, so that the second answer comes from memory."""
    sent = request(kind, of)
    steps = [
        (START - 1, f"{of}_not_yet_valid"),
        (START - GRAIN, f"{of}_not_yet_valid"),
        (START, "allowed"),
        (START + 1, "allowed"),
        (END - 1, "allowed"),
        (END - GRAIN, "allowed"),
        (END, f"{of}_expired"),
        (END + 1, f"{of}_expired"),
        # A clock that is set back: what is said is true of its time, whatever was said before.
        (END - 1, "allowed"),
        (START - 1, f"{of}_not_yet_valid"),
        (START, "allowed"),
        (END, f"{of}_expired"),
    ]
    seen = []
    for at, _ in steps:
        clock.now = at
        answers = [worker.ask(sent) for _ in range(2)]
        assert answers[0] == answers[1]
        assert answers[0].status == (200 if answers[0].outcome == "allow" else 401)
        seen.append((at, answers[0].reason))

    assert seen == steps


def test_a_store_that_is_away_makes_nothing_last_longer(own_valkey: Valkey) -> None:
    """What is used while it is away ends at its end."""
    clock = Clock()
    sent = [(request(kind, of), f"{of}_expired") for kind in KINDS for of in BOUNDED]
    apply(own_valkey.url, DOCUMENT)
    with running(own_valkey.url, clock=clock, stale_seconds=3600, store_timeout_ms=50) as worker:
        clock.now = END - 2
        assert {worker.ask(each).reason for each, _ in sent} == {"allowed"}
        store = worker.worker.store
        assert store is not None
        own_valkey.kill()
        until(lambda: not store.link.alive(time.monotonic()), "the link is lost")
        clock.now = END - 1
        for each, _ in sent:
            until(partial(is_allowed, worker, each), "it is used while the store is away")
        for clock.now in (END, END + 1):
            assert [worker.ask(each).reason for each, _ in sent] == [why for _, why in sent]


def is_allowed(worker: Running, sent: CheckRequest) -> bool:
    return worker.ask(sent).reason == "allowed"
