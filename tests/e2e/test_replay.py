"""What counts once counts once, also for two workers that are asked at the same moment; and where
the store cannot record that it was used, it does not count at all."""

from __future__ import annotations

import http.client
import json
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from authz.server.wire import FAULT_MESSAGE
from authz.signing import sign_digest, sign_hmac_auth
from tests.e2e.support import wire
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Line
from tests.support.tokens import SECRET, jwk, private_key, token
from tests.support.waiting import until

OWNER = private_key("ES256", "owner")
DOCUMENT = f"""
services:
  - {{id: digest, hosts: [digest.test], auth: {{digest: {{}}}}}}
  - {{id: hmac, hosts: [hmac.test], auth: {{hmac-auth: {{nonce_header: X-Nonce}}}}}}
  - id: token
    hosts: [token.test]
    auth: {{jwt-auth: {{require_jti_once: true}}}}
  - id: plugin
    hosts: [plugin.test]
    auth:
      jwt-plugin: {{jwk: {json.dumps(jwk("ES256", OWNER))}, consumer: ann, preventJtiReplay: true}}
consumers:
  - username: ann
    credentials:
      - {{id: digest, digest: {{app_key: "203753385", app_secret: s3cr3t-AppSecret}}}}
      - {{id: hmac, hmac-auth: {{key_id: ann-key, secret_key: ann-hmac-key}}}}
      - {{id: jwt, jwt-auth: {{key: ann-key, secret: "{SECRET.decode()}"}}}}
"""
#: Makes the headers of one request, good once.
Signer = Callable[[], tuple[Line, ...]]
TARGET = "/once?a=1"
#: Rounds in which the two copies were decided by two workers, before it is believed; and how many
#: rounds that may take, as Envoy is free to send both copies to one.
APART, MOST = 15, 300


def by_digest() -> tuple[Line, ...]:
    return sign_digest("GET", TARGET, app_key="203753385", app_secret="s3cr3t-AppSecret").headers


def by_hmac() -> tuple[Line, ...]:
    how: dict[str, Any] = {"key_id": "ann-key", "secret": "ann-hmac-key", "nonce_header": "X-Nonce"}
    return sign_hmac_auth("GET", TARGET, **how).headers


def claims() -> dict[str, Any]:
    return {"key": "ann-key", "jti": str(uuid.uuid4()), "exp": int(time.time()) + 60}


def by_token() -> tuple[Line, ...]:
    return (("authorization", f"Bearer {token(claims())}"),)


def by_plugin() -> tuple[Line, ...]:
    return (("authorization", f"Bearer {token(claims(), OWNER, 'ES256')}"),)


#: Of each scheme: the host, the signer, and how a replay is refused.
SCHEMES: dict[str, tuple[str, Signer, int]] = {
    "digest": ("digest.test", by_digest, 403),
    "hmac-auth": ("hmac.test", by_hmac, 401),
    "jwt-auth": ("token.test", by_token, 401),
    "jwt-plugin": ("plugin.test", by_plugin, 401),
}
CASES = pytest.mark.parametrize(("host", "sign", "refused"), SCHEMES.values(), ids=SCHEMES)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(DOCUMENT) as stack:
        yield stack


def together(port: int, request: bytes) -> list[int]:
    """Two copies on two connections: their last bytes leave one right after the other."""
    where = ("127.0.0.1", port)
    with (
        socket.create_connection(where, wire.PATIENCE) as one,
        socket.create_connection(where, wire.PATIENCE) as other,
    ):
        for link in (one, other):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.sendall(request[:-1])
        for link in (one, other):
            link.sendall(request[-1:])
        return [_status(one), _status(other)]


def _status(link: socket.socket) -> int:
    answer = http.client.HTTPResponse(link)
    answer.begin()
    answer.read()
    return answer.status


@CASES
def test_of_two_copies_one_passes(
    stack: Stack, host: str, sign: Signer, refused: int, record_property: Callable[..., None]
) -> None:
    """Exactly one 200, in many rounds of which enough meet two workers at once."""
    apart, rounds, before = 0, Counter[tuple[int, ...]](), stack.asked()
    while apart < APART and sum(rounds.values()) < MOST:
        tag = f"twice-{uuid.uuid4()}"
        statuses = together(stack.port, wire.written(TARGET, (*sign(), ("x-tag", tag)), host=host))
        rounds[tuple(sorted(statuses))] += 1
        assert len(stack.recorder.of(tag)) == 1
        after = stack.asked()
        apart += {after[each] - before[each] for each in after} == {1}
        before = after
    assert set(rounds) == {(200, refused)}
    assert apart == APART
    record_property("rounds", sum(rounds.values()))


@CASES
def test_a_replay_is_no_other_refusal(stack: Stack, host: str, sign: Signer, refused: int) -> None:
    """One after the other: 200, then refused each time, by whichever worker, and logged as such."""
    lines = sign()
    answers = [stack.send(TARGET, *lines, host=host)[0] for _ in range(6)]
    assert [answer.status for answer in answers] == [200, *[refused] * 5]
    wanted = {answer.header("x-request-id") for answer in answers[1:]}

    def reasons() -> list[str]:
        return [line["reason"] for line in stack.lines("authz") if line.get("id") in wanted]

    until(lambda: len(reasons()) == len(wanted), "the refusals are logged")
    assert set(reasons()) <= {"nonce_replayed", "replayed", "token_replayed"}


def fill(stack: Stack) -> None:
    """The store takes no write any more, and reads as before."""
    stack.valkey.client().config_set("maxmemory", "1")


def empty(stack: Stack) -> None:
    stack.valkey.client().config_set("maxmemory", "0")


def freeze(stack: Stack) -> None:
    stack.valkey.freeze()


def thaw(stack: Stack) -> None:
    stack.valkey.thaw()


@CASES
@pytest.mark.parametrize(("strike", "mend"), [(fill, empty), (freeze, thaw)], ids=["full", "hangs"])
def test_what_cannot_be_recorded_does_not_count(
    stack: Stack,
    host: str,
    sign: Signer,
    refused: int,
    strike: Callable[[Stack], None],
    mend: Callable[[Stack], None],
) -> None:
    """503 that says when to come back, though the credential is known. A full store recorded
    nothing, so what was sent then still counts once; one that hung may have, at its end."""
    until(lambda: stack.send(TARGET, *sign(), host=host)[0].status == 200, "it is known")
    sent = [sign() for _ in range(4)]
    strike(stack)
    try:
        for lines in sent:
            answer, seen = stack.send(TARGET, *lines, host=host)
            assert (answer.status, seen) == (503, None)
            assert (answer.header("retry-after"), answer.message) == ("1", FAULT_MESSAGE)
    finally:
        mend(stack)
    until(lambda: stack.send(TARGET, *sign(), host=host)[0].status == 200, "it is recorded again")
    if strike is fill:
        for lines in sent:
            answers = [stack.send(TARGET, *lines, host=host)[0].status for _ in range(2)]
            assert answers == [200, refused]
