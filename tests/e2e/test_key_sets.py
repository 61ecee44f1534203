"""Keys that an issuer publishes: rotated, flooded with unknown key ids, away, and back; without a
restart, and through the real Envoy."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest

from authz.config import read
from authz.server.decision_log import DecisionLog
from authz.server.wire import FAULT_MESSAGE
from authz.server.worker import Worker
from authz.store.key_sets import KeySets
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Answer
from tests.support.issuer import Clock
from tests.support.sites import Site, answer, site
from tests.support.tokens import jwk, private_key, token
from tests.support.waiting import until
from tests.support.workers import RING

WORKERS = 2
#: Seconds: how long a set is fresh, and how long it serves beyond that.
FRESH, STALE = 120, 300
LIFETIME = 600
DOWN = answer(b"no", status="500 Internal Server Error")


def document(url: str) -> str:
    # Those that flood have the address of those that are let in.
    return f"""
services:
  - {{id: api, auth: {{jwt-auth: {{}}}}, access: {{guessing: off}}}}
consumers:
  - {{username: ann, credentials: [{{id: jwt, jwt-auth: {{key: ann, jwks_url: "{url}"}}}}]}}
"""


def publish(issuer: Site, *ids: str) -> None:
    """The keys with these ids, and no others, from now on."""
    keys = [jwk("ES256", private_key("ES256", id), kid=id) for id in ids]
    body = json.dumps({"keys": keys}).encode()
    issuer.answer = answer(body, f"Cache-Control: max-age={FRESH}")


def made(key: str, kid: str | None = None) -> str:
    """A token by the key with this id. Its `kid` may say something else."""
    claims = {"key": "ann", "exp": int(time.time()) + LIFETIME}
    return token(claims, private_key("ES256", key), "ES256", kid=key if kid is None else kid)


def ask(stack: Stack, text: str) -> Answer:
    found, seen = stack.send("/x", ("authorization", f"Bearer {text}"))
    assert (found.status == 200) is (seen is not None)
    return found


def told(stack: Stack, text: str) -> set[int]:
    """The statuses that this token gets, when both workers were asked."""
    before, statuses = stack.asked(), set()
    while not all(count > before[address] for address, count in stack.asked().items()):
        statuses.add(ask(stack, text).status)
    return statuses


def until_told(stack: Stack, text: str, status: int, what: str) -> None:
    until(lambda: told(stack, text) == {status}, what)


# -- two processes ---------------------------------------------------------------------------------


@pytest.fixture
def issuer() -> Iterator[Site]:
    with site() as issuer:
        publish(issuer, "old")
        yield issuer


@pytest.fixture
def stack(issuer: Site) -> Iterator[Stack]:
    def serve(stack: Stack) -> None:
        stack.start_authz("authz", "--jwks-allow-private")

    with running(document(issuer.url), serve=serve) as stack:
        yield stack


def test_a_rotation_and_a_flood(stack: Stack, issuer: Site) -> None:
    """A token by a new key passes at once, one by a key that is gone passes no more; and whatever
    key ids strangers make up, each worker asks the issuer once in a while."""
    until_told(stack, made("old"), 200, "the first set is fetched")
    assert len(issuer.heads) == WORKERS

    publish(issuer, "new")
    assert told(stack, made("old")) == {200}  # nobody had a reason to ask the issuer again
    until_told(stack, made("new"), 200, "the new key is known")
    assert told(stack, made("old")) == {401}
    assert len(issuer.heads) == 2 * WORKERS

    strangers = [made("old", str(uuid.uuid4())) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        statuses = {found.status for found in pool.map(partial(ask, stack), strangers)}
    assert 401 in statuses <= {401, 503}
    assert told(stack, made("new")) == {200}
    assert len(issuer.heads) == 2 * WORKERS


# -- workers in this process, and a clock that tests move ------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """By which the key sets of `within` grow old."""
    made = Clock()
    monkeypatch.setattr("authz.store.open.KeySets", partial(KeySets, clock=made))
    return made


@contextmanager
def within(text: str, **flags: Any) -> Iterator[Stack]:
    """A stack whose workers are in this process."""
    with ExitStack() as ending:

        def serve(stack: Stack) -> None:
            null = os.open(os.devnull, os.O_WRONLY)
            ending.callback(os.close, null)
            url = {"redis_url": stack.store_url, "store_timeout_ms": 200}
            for address in stack.wiring.authz:
                log = DecisionLog(null)
                ending.callback(log.close)
                worker = Worker(read(url | flags, {}, None), log=log, keyring=RING)
                worker.start(address)
                ending.callback(worker.stop, 0)

        yield ending.enter_context(running(text, serve=serve))


def test_an_address_that_is_private(issuer: Site) -> None:
    """By default nothing is fetched from there: 503, and the issuer never hears of it."""
    with within(document(issuer.url)) as stack:
        assert told(stack, made("old")) == {503}
    assert issuer.heads == []


@pytest.fixture
def timed(issuer: Site, clock: Clock) -> Iterator[Stack]:
    flags = {"jwks_allow_private": True, "jwks_stale_seconds": STALE}
    with within(document(issuer.url), **flags) as stack:
        yield stack


def test_an_issuer_that_is_away(timed: Stack, issuer: Site, clock: Clock) -> None:
    """A set is fetched anew before it is old: a key that is gone ends by itself. While the issuer
    is away the last good set serves for its time, then nothing does: 503. It is back: 200."""
    publish(issuer, "old", "stays")
    until_told(timed, made("old"), 200, "the first set is fetched")
    assert len(issuer.heads) == WORKERS

    publish(issuer, "stays", "new")
    clock.now += FRESH * 0.9
    assert told(timed, made("stays")) == {200}
    until(lambda: len(issuer.heads) == 2 * WORKERS, "both workers fetch it anew")
    until_told(timed, made("new"), 200, "the new key is known")
    assert len(issuer.heads) == 2 * WORKERS
    until_told(timed, made("old"), 401, "the old key is gone")
    asked = len(issuer.heads)

    issuer.answer = DOWN
    clock.now += FRESH + 1
    assert told(timed, made("new")) == {200}
    until(lambda: len(issuer.heads) == asked + WORKERS, "both workers asked in vain")
    assert told(timed, made("new")) == {200}
    assert told(timed, made("new", "newer")) == {503}  # it may have that key by now

    clock.now += STALE - 2
    assert told(timed, made("new")) == {200}
    clock.now += 2
    until_told(timed, made("new"), 503, "the last good set is too old")
    found = ask(timed, made("new"))
    assert (found.header("retry-after"), found.message) == ("1", FAULT_MESSAGE)

    publish(issuer, "new")
    clock.now += 60
    until_told(timed, made("new"), 200, "the issuer is back")
