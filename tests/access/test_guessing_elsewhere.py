"""Whose failures they are behind a proxy, and what several schemes say of them."""

from __future__ import annotations

import pytest

from authz.access.guessing import LIMITS, TOO_MANY, Guesses
from authz.denials import NONE_PROVEN
from authz.pipeline import decide
from authz.values import Deny, Request
from tests.support.checks import basic
from tests.support.gateway import Gateway, ask

DOCUMENT = """
profile: PROFILE
trusted_proxies: [10.0.0.0/8]
services:
  - {id: api, hosts: [api.test], auth: {basic-auth: {}}}
  - {id: any, hosts: [any.test], auth: {any: [{basic-auth: {}}, {key-auth: {}}]}}
consumers:
  - username: alice
    credentials:
      - {id: b, basic-auth: {username: alice, password: right}}
      - {id: k, key-auth: {key: alice-key}}
"""
ONE = LIMITS["on"].one.failures


class Guarded:
    def __init__(self, profile: str = "api7") -> None:
        self._gateway, self._guesses = Gateway(DOCUMENT.replace("PROFILE", profile)), Guesses()

    def reason(self, request: Request) -> str:
        routes, memory = self._gateway.routes, self._gateway.memory
        found = decide(request, routes, memory, self._guesses).decision
        return found.reason if isinstance(found, Deny) else "allowed"


def sent(
    password: str, *lines: tuple[str, str], host: str = "api.test", peer: str = "10.0.0.1"
) -> Request:
    return ask("/", basic("alice", password), *lines, host=host, address=peer)


def via(*addresses: str) -> tuple[str, str]:
    return "x-forwarded-for", ", ".join(addresses)


def test_behind_a_proxy_each_client_has_failures_of_its_own() -> None:
    """And none is rid of them by what it writes itself."""
    made = Guarded()
    guesser, victim = via("192.0.2.1"), via("198.51.100.7")
    found = [made.reason(sent(f"wrong-{n}", guesser)) for n in range(ONE + 1)]

    assert found == ["invalid_password"] * ONE + [TOO_MANY]
    assert made.reason(sent("right", via("203.0.113.1", "192.0.2.1"))) == TOO_MANY
    assert made.reason(sent("right", victim)) == "allowed"
    assert made.reason(sent("right", victim)) == "allowed"
    assert made.reason(sent("right", guesser, peer="203.0.113.2")) == "allowed"


@pytest.mark.parametrize("lines", [[], [via("nonsense")]])
def test_where_nobody_can_tell_the_proxy_has_them(lines: list[tuple[str, str]]) -> None:
    """Failures are never nobody's."""
    made = Guarded()
    found = [made.reason(sent(f"wrong-{n}", *lines)) for n in range(ONE + 1)]

    assert found == ["invalid_password"] * ONE + [TOO_MANY]


def test_multi_auth_tells_who_has_to_wait() -> None:
    """Unless another of its schemes succeeds."""
    made = Guarded("apisix-3.18")
    key = ("apikey", "alice-key")

    def asked(password: str, *lines: tuple[str, str]) -> str:
        return made.reason(sent(password, *lines, host="any.test", peer="192.0.2.1"))

    found = [asked(f"wrong-{n}") for n in range(ONE + 1)]
    assert found == [NONE_PROVEN.reason] * ONE + [TOO_MANY]
    assert asked("right") == TOO_MANY
    assert asked("right", key) == "allowed"
