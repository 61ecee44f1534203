"""The whole path of a request: who is let in, as whom, and why the others are not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from authz.contracts import Lookup, StoreDown
from authz.pipeline import decide
from authz.values import Allow, Deny, Request
from tests.support.gateway import NOW, Gateway, ask
from tests.support.people import CONSUMERS, SERVICES, basic, key

GATEWAY = Gateway(SERVICES + CONSUMERS)
APISIX = Gateway("profile: apisix-3.18" + SERVICES + CONSUMERS)

KEY, BASIC = ('apikey realm="key"',), ('Basic realm="basic"',)


def outcome(gateway: Gateway, request: Request) -> Any:
    """(consumer, credential, scheme) of an allow, (status, reason, challenges) of a denial."""
    decision = gateway.decide(request)
    if isinstance(decision, Deny):
        return decision.status, decision.reason, decision.challenges
    assert isinstance(decision, Allow)
    identity = decision.identity
    credential = identity.credential.id if identity.credential else None
    return identity.consumer.username, credential, identity.scheme


@pytest.mark.parametrize(
    ("host", "headers", "expected"),
    [
        ("key.test", [key("alice-key")], ("alice", "primary", "key-auth")),
        ("key.test", [key("embedded-key")], ("alice", "key-auth", "key-auth")),
        ("key.test", [key("now-key")], ("alice", "now", "key-auth")),
        ("key.test", [], (401, "missing_key", KEY)),
        ("key.test", [key("nope")], (401, "invalid_key", KEY)),
        ("key.test", [key("out-key")], (401, "credential_disabled", KEY)),
        ("key.test", [key("old-key")], (401, "credential_expired", KEY)),
        ("key.test", [key("sharp-key")], (401, "credential_expired", KEY)),
        ("key.test", [key("new-key")], (401, "credential_not_yet_valid", KEY)),
        ("key.test", [key("dis-key")], (401, "consumer_disabled", KEY)),
        ("key.test", [key("exp-key")], (401, "consumer_expired", KEY)),
        ("key.test", [key("nyv-key")], (401, "consumer_not_yet_valid", KEY)),
        ("key.test", [("x-consumer-username", "alice")], (401, "missing_key", KEY)),
        ("tenant.test", [key("alice-key")], ("t-user", "t", "key-auth")),
        ("tenant.test", [key("bob-key")], (401, "invalid_key", KEY)),
        ("basic.test", [basic("al:secret")], ("alice", "web", "basic-auth")),
        ("basic.test", [basic("al:wrong")], (401, "invalid_password", BASIC)),
        ("basic.test", [basic("alice:secret")], (401, "invalid_password", BASIC)),
        ("basic.test", [("authorization", "Bearer x")], (401, "not_basic", BASIC)),
        # Any: the first scheme that finds a credential decides.
        ("any.test", [basic("al:secret")], ("alice", "web", "basic-auth")),
        ("any.test", [key("bob-key")], ("bob", "b", "key-auth")),
        ("any.test", [("authorization", "Bearer x"), key("bob-key")], ("bob", "b", "key-auth")),
        (
            "any.test",
            [basic("al:wrong"), key("bob-key")],
            (401, "invalid_password", (*BASIC, 'apikey realm="r"')),
        ),
        ("any.test", [], (401, "missing_authorization", (*BASIC, 'apikey realm="r"'))),
        ("any.test", [key("x")], (401, "invalid_key", ('apikey realm="r"', *BASIC))),
        (
            "any.test",
            [("authorization", "Bearer x")],
            (401, "not_basic", (*BASIC, 'apikey realm="r"')),
        ),
        # All: every scheme, and one consumer unless the route says otherwise.
        ("all.test", [basic("al:secret"), key("alice-key")], ("alice", "primary", "key-auth")),
        ("all.test", [key("alice-key")], (401, "missing_authorization", BASIC)),
        ("all.test", [basic("al:secret")], (401, "missing_key", KEY)),
        (
            "all.test",
            [basic("al:secret"), key("bob-key")],
            (401, "credentials_of_different_consumers", KEY),
        ),
        ("each.test", [basic("al:secret"), key("bob-key")], ("bob", "b", "key-auth")),
        # Anonymous: only where nothing was sent.
        ("guests.test", [], ("guest", None, "key-auth")),
        ("guests.test", [key("alice-key")], ("alice", "primary", "key-auth")),
        ("guests.test", [key("nope")], (401, "invalid_key", KEY)),
        ("guests.test", [key("out-key")], (401, "credential_disabled", KEY)),
        ("lost.test", [], (401, "anonymous_consumer_missing", ('apikey realm="r"',))),
        ("gone.test", [], (401, "consumer_disabled", KEY)),
        ("mixed.test", [], ("guest", None, "key-auth")),
        ("mixed.test", [("authorization", "Bearer x")], (401, "not_basic", (*BASIC, *KEY))),
        ("nobody.test", [key("alice-key")], (403, "no_scheme", ())),
        ("other.test", [key("alice-key")], (403, "no_route", ())),
    ],
)
def test_decisions(host: str, headers: list[tuple[str, str]], expected: Any) -> None:
    """Who is let in, as whom, and why the others are not."""
    assert outcome(GATEWAY, ask("/", *headers, host=host)) == expected


@pytest.mark.parametrize(
    ("host", "headers", "expected"),
    [
        ("guests.test", [key("nope")], ("guest", None, "key-auth")),
        ("guests.test", [key("out-key")], ("guest", None, "key-auth")),
        ("guests.test", [], ("guest", None, "key-auth")),
        ("guests.test", [key("bob-key")], ("bob", "b", "key-auth")),
        ("lost.test", [key("nope")], (401, "anonymous_consumer_missing", ('apikey realm="r"',))),
        ("key.test", [key("alice-key"), key("bob-key")], ("alice", "primary", "key-auth")),
    ],
)
def test_decisions_as_in_apisix(host: str, headers: Any, expected: Any) -> None:
    """Under its profiles a wrong credential, too, falls back to the anonymous consumer."""
    assert outcome(APISIX, ask("/", *headers, host=host)) == expected


def test_the_words_of_an_absent_anonymous_consumer() -> None:
    """APISIX's text, with the scheme's challenge."""
    assert GATEWAY.decide(ask("/", host="lost.test")) == Deny(
        "anonymous_consumer_missing",
        401,
        "Invalid user authorization",
        ('apikey realm="r"',),
        "key-auth",
    )


def test_wrong_and_dead_credentials_look_alike() -> None:
    """Whoever asks learns nothing from the answer but that it is no."""
    keys = ("nope", "out-key", "old-key", "new-key", "dis-key", "exp-key", "nyv-key")
    answers = [GATEWAY.decide(ask("/", key(each), host="key.test")) for each in keys]

    assert all(isinstance(answer, Deny) for answer in answers)
    assert len({a.because("") for a in answers if isinstance(a, Deny)}) == 1


def test_a_credential_whose_consumer_is_gone() -> None:
    """Without its consumer a credential proves nobody."""
    gateway = Gateway(SERVICES + CONSUMERS)
    del gateway.memory.consumers["", "bob"]
    request = ask("/", key("bob-key"), host="key.test")

    assert outcome(gateway, request) == (401, "consumer_missing", KEY)


@pytest.mark.parametrize(
    ("at", "allowed"), [(NOW - 1, True), (NOW - 1e-6, True), (NOW, False), (NOW + 1, False)]
)
def test_the_request_brings_its_own_time(at: float, allowed: bool) -> None:
    """Nobody asks a clock: the instant is the request's."""
    request = ask("/", key("sharp-key"), host="key.test", at=at)

    assert isinstance(GATEWAY.decide(request), Allow) is allowed


class _Broken:
    """A store that is away."""

    def within(self, tenant: str) -> Lookup:
        raise StoreDown("store_unreachable")


def test_what_prevents_a_decision_is_no_decision() -> None:
    """A fault leaves `decide` as it is: neither an allow nor a denial."""
    with pytest.raises(StoreDown):
        decide(ask("/", key("alice-key"), host="key.test"), GATEWAY.routes, _Broken())


def test_a_verdict_names_its_route() -> None:
    """Also a denial's; none where none matched."""
    for headers in ([], [key("alice-key")]):
        route = GATEWAY.verdict(ask("/", *headers, host="key.test")).route
        assert route is not None
        assert route.service == "key"
    assert GATEWAY.verdict(ask("/", host="other.test")).route is None


def test_a_pass_is_made_once_for_each_caller_and_scheme() -> None:
    """The very verdict again while nothing differs, and another one where anything does."""
    gateway = Gateway(
        """
services:
  - {id: s, hosts: [s.test], auth: {any: [{key-auth: {anonymous_consumer: guest}},
      {basic-auth: {anonymous_consumer: guest}}]}}
consumers:
  - {username: guest}
  - {username: a, credentials: [{id: 1st, key-auth: {key: k1}}, {id: 2nd, key-auth: {key: k2}}]}
profile: apisix-3.18
"""
    )

    def verdict(*headers: tuple[str, str]) -> Any:
        return gateway.verdict(ask("/", *headers, host="s.test"))

    first = verdict(key("k1"))
    assert verdict(key("k1")) is first
    assert verdict(key("k2")).decision.identity.credential.id == "2nd"
    assert verdict(key("k1"), ("x-consumer-plan", "gold")) is not first
    assert verdict(key("wrong")).decision.identity.scheme == "key-auth"
    assert verdict(basic("a:wrong")) is verdict(key("wrong"))
    changed = msgspec.structs.replace(first.decision.identity.consumer, groups=("new",))
    gateway.memory.consumers["", "a"] = changed
    assert ("x-consumer-groups", "new") in verdict(key("k1")).decision.set
