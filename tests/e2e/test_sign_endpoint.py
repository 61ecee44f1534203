"""The endpoint that issues tokens, answered from the check itself: Envoy passes on a 200 that no
upstream gave, and neither the filter that wants a consumer nor any other is in its way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Answer, Line
from tests.support.tokens import SECRET

DOCUMENT = f"""
services:
  - id: api
    hosts: [api.test]
    auth: {{jwt-auth: {{claims_to_headers: {{sub: X-Subject}}}}}}
    routes:
      - {{id: all, match: {{path: /*}}}}
      - {{id: sign, match: {{path: /api7/plugin/jwt/sign}}, endpoint: jwt-sign}}
  - id: guarded
    hosts: [guarded.test]
    routes: [{{id: sign, match: {{path: /*}}, endpoint: jwt-sign, auth: {{key-auth: {{}}}}}}]
consumers:
  - username: ann
    credentials:
      - {{id: jwt, jwt-auth: {{key: ann-key, secret: "{SECRET.decode()}"}}}}
      - {{id: key, key-auth: {{key: ann-api-key}}}}
      - {{id: gone, jwt-auth: {{key: old-key, secret: "{SECRET.decode()}"}}, disabled: true}}
"""
SIGN = "/apisix/plugin/jwt/sign"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(DOCUMENT) as stack:
        yield stack


def asked(
    stack: Stack,
    target: str,
    *lines: Line,
    host: str = "api.test",
    method: str = "GET",
    http2: bool = False,
) -> Answer:
    """Nothing of what is asked here ever reaches the upstream."""
    answer, seen = stack.send(target, *lines, host=host, method=method, http2=http2)
    assert seen is None
    return answer


@pytest.mark.parametrize("path", [SIGN, "/api7/plugin/jwt/sign"])
@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_a_token_that_was_issued_opens(stack: Stack, path: str, http2: bool) -> None:
    """200 with the bare token as text that nobody may cache; its claims are those asked for."""
    payload = "%7B%22sub%22%3A%22u-3%22%7D"
    answer = asked(stack, f"{path}?key=ann-key&payload={payload}", http2=http2)
    assert (answer.status, answer.header("content-type")) == (200, "text/plain; charset=utf-8")
    assert answer.header("cache-control") == "no-store"
    bearing = ("authorization", f"Bearer {answer.body.decode()}")
    opened, seen = stack.send("/x", bearing)
    assert opened.status == 200
    assert seen is not None
    assert seen.values("x-consumer-username") == [b"ann"]
    assert seen.values("x-subject") == [b"u-3"]


@pytest.mark.parametrize(
    ("size", "status"), [(2000, 200), (3100, 200), (11_000, 200), (13_000, 400)]
)
def test_a_long_token_is_whole_or_none(stack: Stack, size: int, status: int) -> None:
    """Envoy cuts long bodies of answers: no token may be as long."""
    answer = asked(stack, f'{SIGN}?key=ann-key&payload={{"x":"{"x" * size}"}}')
    assert answer.status == status
    if status == 200:
        bearing = ("authorization", f"Bearer {answer.body.decode()}")
        assert stack.send("/x", bearing)[0].status == 200


@pytest.mark.parametrize(
    ("query", "method", "status"),
    [
        ("", "GET", 400),
        ("?key=", "GET", 400),
        ("?key=ann-key&key=ann-key", "GET", 400),
        ("?key=ann-key&payload=%7B", "GET", 400),
        ("?key=nobody", "GET", 404),
        ("?key=old-key", "GET", 404),
        ("?key=ann-key", "POST", 404),
        ("?key=ann-key", "HEAD", 404),
    ],
)
def test_what_issues_no_token(stack: Stack, query: str, method: str, status: int) -> None:
    """An empty body, and nothing that a client could take for a refusal of its credential."""
    answer = asked(stack, f"{SIGN}{query}", method=method)
    assert (answer.status, answer.body) == (status, b"")
    assert answer.header("cache-control") == "no-store"
    assert answer.header("www-authenticate") is None


def test_a_guarded_endpoint(stack: Stack) -> None:
    """Its own `auth` decides who may ask for tokens."""
    target = f"{SIGN}?key=ann-key"
    refused = asked(stack, target, host="guarded.test")
    assert (refused.status, refused.message) == (401, "Missing API key found in request")
    answer = asked(stack, target, ("apikey", "ann-api-key"), host="guarded.test")
    assert (answer.status, answer.body.count(b".")) == (200, 2)
