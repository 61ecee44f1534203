"""What may be used once is used once, by whichever worker; where nobody can tell, it is a fault."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from authz import signing
from authz.pb.external_auth_pb2 import CheckRequest
from tests.support.checks import Seen, check
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import Running, apply, running

NOW = 1_800_000_000.0
SECRET = "0123456789abcdef0123456789abcdef"
DOCUMENT = f"""
services:
  - {{id: digest, hosts: [digest.test], auth: {{digest: {{}}}}}}
  - {{id: hmac, hosts: [hmac.test], auth: {{hmac-auth: {{nonce_header: x-nonce}}}}}}
  - {{id: jwt, hosts: [jwt.test], auth: {{jwt-auth: {{require_jti_once: true}}}}}}
consumers:
  - username: alice
    credentials:
      - {{id: d, digest: {{app_key: "203753385", app_secret: {SECRET}}}}}
      - {{id: h, hmac-auth: {{key_id: alice-id, secret_key: {SECRET}}}}}
      - {{id: j, jwt-auth: {{key: alice-jwt, secret: {SECRET}}}}}
"""
_numbers = itertools.count()


def digest(secret: str = SECRET, nonce: str | None = None) -> CheckRequest:
    return _check(
        "digest.test",
        signing.sign_digest(
            "GET", "/x", app_key="203753385", app_secret=secret, nonce=nonce or _fresh(), at=NOW
        ),
    )


def hmac(secret: str = SECRET, nonce: str | None = None) -> CheckRequest:
    signed = signing.sign_hmac_auth(
        "GET",
        "/x",
        key_id="alice-id",
        secret=secret,
        nonce_header="x-nonce",
        nonce=nonce or _fresh(),
        at=NOW,
    )
    return _check("hmac.test", signed)


def jwt(secret: str = SECRET, nonce: str | None = None) -> CheckRequest:
    claims = {"key": "alice-jwt", "jti": nonce or _fresh()}
    return _check("jwt.test", signing.sign_jwt(claims, key=secret, at=NOW))


def _fresh() -> str:
    return f"nonce-{next(_numbers)}"


def _check(host: str, signed: signing.Signed) -> CheckRequest:
    return check("/x", *((name.lower(), text) for name, text in signed.headers), host=host)


SCHEMES = pytest.mark.parametrize("make", [digest, hmac, jwt])


@pytest.fixture
def pair(own_valkey: Valkey) -> Iterator[tuple[Running, Running]]:
    """Two workers on one store."""
    apply(own_valkey.url, DOCUMENT)
    with ExitStack() as ending:
        # Patient with the store: a busy machine must not look like one that is away.
        made = [
            ending.enter_context(
                running(own_valkey.url, clock=lambda: NOW, store_timeout_ms=1000, stale_seconds=0.5)
            )
            for _ in range(2)
        ]
        yield made[0], made[1]


@SCHEMES
def test_two_copies_at_two_workers_at_once(
    make: Callable[..., CheckRequest], pair: tuple[Running, Running]
) -> None:
    """One passes and one does not, in every round."""
    barrier = threading.Barrier(2)

    def ask(worker: Running, request: CheckRequest) -> Seen:
        barrier.wait(10)
        return worker.ask(request)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(30):
            request = make()
            answers = sorted(pool.map(ask, pair, (request, request)))
            assert [answer.outcome for answer in answers] == ["allow", "deny"]
            assert "replayed" in answers[1].reason


@SCHEMES
def test_a_copy_later_at_the_same_worker(
    make: Callable[..., CheckRequest], pair: tuple[Running, Running]
) -> None:
    """Is refused there as well, and a fresh one passes."""
    request = make()

    assert pair[0].ask(request).outcome == "allow"
    assert pair[0].ask(request).outcome == "deny"
    assert pair[0].ask(make()).outcome == "allow"


@SCHEMES
def test_a_stranger_burns_nothing(
    make: Callable[..., CheckRequest], pair: tuple[Running, Running]
) -> None:
    """A nonce is used up by a request that holds, not by one that merely names it."""
    assert pair[0].ask(make("f" * 32, "one-nonce")).outcome == "deny"
    assert pair[1].ask(make(SECRET, "one-nonce")).outcome == "allow"


@SCHEMES
def test_a_store_that_cannot_write(
    make: Callable[..., CheckRequest], pair: tuple[Running, Running], own_valkey: Valkey
) -> None:
    """A fault, not an allow; when there is room again, all is well."""
    assert pair[0].ask(make()).outcome == "allow"
    client = own_valkey.client()
    client.config_set("maxmemory", 1)

    assert pair[0].ask(make())[:3] == ("fault", 503, "store_full")

    client.config_set("maxmemory", 0)
    client.close()
    until(lambda: pair[0].ask(make()).outcome == "allow", "it passes again")


@SCHEMES
def test_a_store_that_is_away(
    make: Callable[..., CheckRequest], pair: tuple[Running, Running], own_valkey: Valkey
) -> None:
    """Likewise, though the credential itself is still remembered."""
    assert pair[0].ask(make()).outcome == "allow"

    own_valkey.kill()

    for _ in range(5):
        found: Any = pair[0].ask(make())
        assert (found.outcome, found.status) == ("fault", 503)
