"""An allow is given again without a closer look: only where that look would find the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from authz import signing
from authz.document import parse
from authz.pipeline import MEMORY, Verdict, decide
from authz.routes import RouteTable
from authz.values import Allow, Deny
from tests.support.gateway import NOW, Gateway, ask
from tests.support.memory import Memory, MemoryLookup
from tests.support.tokens import SECRET

TOKEN = signing.sign_jwt({"key": "al", "exp": int(NOW) + 5}, key=SECRET.decode(), at=NOW)
BEARER = ("authorization", dict(TOKEN.headers)["Authorization"])
BASIC = ("authorization", "Basic YWw6cGFzcw==")
KEY = ("x-api-key", "alice-key")
DOCUMENT = f"""
services:
  - {{id: key, hosts: [key.test], auth: {{key-auth: {{header: X-API-Key, query: api-key}}}}}}
  - id: hide
    hosts: [hide.test]
    auth:
      key-auth: {{header: X-API-Key, query: api-key, cookie: api-key, hide_credentials: true}}
  - {{id: lax, hosts: [lax.test], auth: {{key-auth: {{header: X_API_Key, profile: apisix-3.18}}}}}}
  - {{id: other, hosts: [other.test], auth: {{key-auth: {{header: X-API-Key}}}}, tenant: t}}
  - {{id: basic, hosts: [basic.test], auth: {{basic-auth: {{hide_credentials: true}}}}}}
  - {{id: jwt, hosts: [jwt.test], auth: {{jwt-auth: {{hide_credentials: true}}}}}}
  - {{id: once, hosts: [once.test], auth: {{jwt-auth: {{require_jti_once: true}}}}}}
  - {{id: any, hosts: [any.test], auth: {{any: [{{key-auth: {{}}}}, {{basic-auth: {{}}}}]}}}}
  - id: ruled
    hosts: [ruled.test]
    auth: {{key-auth: {{header: X-API-Key}}}}
    access:
      ip-restriction: {{whitelist: [192.0.2.0/24]}}
      consumer-restriction: {{allowed_by_methods: [{{user: alice, methods: [GET]}}]}}
  - id: labels
    hosts: [labels.test]
    auth: {{key-auth: {{header: X-API-Key}}}}
    access: {{attach-consumer-label: {{headers: {{X-Team: $team}}}}}}
groups:
  - {{id: near, access: {{ip-restriction: {{blacklist: [192.0.2.2]}}}}}}
consumers:
  - username: alice
    labels: {{team: red}}
    credentials:
      - {{id: k, key-auth: {{key: alice-key}}}}
      - {{id: b, basic-auth: {{username: al, password: pass}}}}
      - {{id: j, jwt-auth: {{key: al, secret: "{SECRET.decode()}"}}}}
  - username: bob
    groups: [near]
    access: {{consumer-restriction: {{type: service_id, blacklist: [hide]}}}}
    credentials: [{{id: k, key-auth: {{key: bob-key}}}}]
"""
SCHEMES = pytest.mark.parametrize(
    ("host", "line"), [("key.test", KEY), ("basic.test", BASIC), ("jwt.test", BEARER)]
)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(DOCUMENT)


class Forgetful(Memory):
    """Remembers nothing of what was proven."""

    def within(self, tenant: str) -> MemoryLookup:
        self.remembered.clear()
        return super().within(tenant)


def reason(verdict: Verdict) -> str:
    return verdict.decision.reason if isinstance(verdict.decision, Deny) else "allowed"


@SCHEMES
def test_the_same_evidence_is_not_looked_at_twice(
    gateway: Gateway, host: str, line: tuple[str, str]
) -> None:
    """Whatever else the requests say: the very verdict, without asking for a record again."""
    first = gateway.verdict(ask("/a", line, host=host))
    asked: list[str] = []

    class Counting(MemoryLookup):
        def find(self, kind: str, identifier: str) -> Any:
            asked.append(kind)
            return super().find(kind, identifier)

    gateway.memory.within = lambda tenant: Counting(gateway.memory, tenant)  # type: ignore[method-assign]
    again = gateway.verdict(ask("/b?c=d", line, ("accept", "*/*"), host=host, at=NOW + 1))

    assert again is first
    assert (reason(first), asked) == ("allowed", [])


@SCHEMES
@pytest.mark.parametrize("of", ["consumer", "credential"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"disabled": True}, "disabled"),
        ({"expires_at": NOW}, "expired"),
        ({"not_before": NOW + 9}, "not_yet_valid"),
    ],
)
def test_a_changed_record_is_felt(
    gateway: Gateway,
    host: str,
    line: tuple[str, str],
    of: str,
    change: dict[str, Any],
    expected: str,
) -> None:
    """At once."""
    memory = gateway.memory
    assert reason(gateway.verdict(ask("/", line, host=host))) == "allowed"
    if of == "consumer":
        memory.consumers["", "alice"] = replace(memory.consumers["", "alice"], **change)
    else:
        for place, credential in memory.credentials.items():
            memory.credentials[place] = replace(credential, **change)

    assert reason(gateway.verdict(ask("/", line, host=host))) == f"{of}_{expected}"


@SCHEMES
def test_a_revoked_credential_is_felt(gateway: Gateway, host: str, line: tuple[str, str]) -> None:
    """It is gone: so is what rested on it."""
    assert reason(gateway.verdict(ask("/", line, host=host))) == "allowed"
    gateway.memory.credentials.clear()

    assert reason(gateway.verdict(ask("/", line, host=host))) != "allowed"


@pytest.mark.parametrize("of", ["consumer", "credential"])
@SCHEMES
def test_an_end_comes_on_time(gateway: Gateway, host: str, line: tuple[str, str], of: str) -> None:
    """Of a record that was live when it was remembered."""
    memory = gateway.memory
    if of == "consumer":
        memory.consumers["", "alice"] = replace(memory.consumers["", "alice"], expires_at=NOW + 2)
    else:
        for place, credential in memory.credentials.items():
            memory.credentials[place] = replace(credential, expires_at=NOW + 2)

    found = [
        reason(gateway.verdict(ask("/", line, host=host, at=NOW + later)))
        for later in (0, 1.999, 2, 3)
    ]
    assert found == ["allowed", "allowed", f"{of}_expired", f"{of}_expired"]


def test_a_token_ends_on_time(gateway: Gateway) -> None:
    """At its `exp`."""
    found = [
        reason(gateway.verdict(ask("/", BEARER, host="jwt.test", at=NOW + later)))
        for later in (0, 4.999, 5)
    ]

    assert found == ["allowed", "allowed", "token_expired"]


@SCHEMES
def test_nothing_is_remembered_for_long(gateway: Gateway, host: str, line: tuple[str, str]) -> None:
    """And nothing about a time before it was found: a clock may have been set back."""
    gateway.verdict(ask("/", line, host=host))
    for at in (NOW + MEMORY, NOW - 1):
        verdict = gateway.verdict(ask("/", line, host=host, at=at))
        known = gateway.memory.remembered
        assert reason(verdict) == ("token_expired" if at > NOW and line is BEARER else "allowed")
        since = {each.since for each in known.values() if hasattr(each, "since")}
        assert (at in since) is (reason(verdict) == "allowed")


def test_another_policy_starts_anew(gateway: Gateway) -> None:
    """What the old one let in says nothing of the new one."""
    assert reason(gateway.verdict(ask("/", KEY, host="key.test"))) == "allowed"
    strict = DOCUMENT.replace("header: X-API-Key, query: api-key}", "header: X-Other}", 1)
    verdict = decide(ask("/", KEY, host="key.test"), RouteTable(parse(strict)), gateway.memory)

    assert reason(verdict) == "missing_key"


def test_another_route_is_another_matter(gateway: Gateway) -> None:
    """Of another tenant, above all."""
    assert reason(gateway.verdict(ask("/", KEY, host="key.test"))) == "allowed"
    assert reason(gateway.verdict(ask("/", KEY, host="other.test"))) == "invalid_key"


def test_what_counts_once_is_never_remembered(gateway: Gateway) -> None:
    """Its allow is for one request."""
    claims = {"key": "al", "jti": "1", "exp": int(NOW) + 5}
    [line] = signing.sign_jwt(claims, key=SECRET.decode(), at=NOW).headers
    found = [reason(gateway.verdict(ask("/", line, host="once.test"))) for _ in range(2)]

    assert found == ["allowed", "token_replayed"]


@pytest.mark.parametrize("key", ["alice-key", "bob-key"])
def test_rules_are_asked_of_every_call(gateway: Gateway, key: str) -> None:
    """The route's, the consumer's, and its groups': what was remembered was another call."""

    def asked(method: str = "GET", address: str = "192.0.2.1") -> str:
        line = ("x-api-key", key)
        return reason(
            gateway.verdict(ask("/", line, host="ruled.test", method=method, address=address))
        )

    found = [asked(), asked("POST"), asked(address="192.0.2.2"), asked(address="192.0.3.1")]
    wanted = {
        "alice-key": ["allowed", "restriction_method", "allowed", "address_not_allowed"],
        "bob-key": ["allowed", "allowed", "address_blocked", "address_not_allowed"],
    }
    assert found == wanted[key]


#: What a request may have beside its credential, some of it another copy in some spelling.
_LINES = st.sampled_from(
    [
        KEY,
        ("x-api-key", "bob-key"),
        ("x-api-key", "nobody"),
        ("x_api_key", "alice-key"),
        ("x_api_key", "bob-key"),
        ("x.api.key", "alice-key"),
        BASIC,
        ("authorization", "Basic YWw6d3Jvbmc="),
        BEARER,
        ("cookie", "api-key=alice-key"),
        ("cookie", "jwt=x; a=b"),
        ("cookie", "a=b"),
        ("x-consumer-username", "root"),
        ("x_consumer_username", "root"),
        ("X-Credential-Identifier", "k"),
        ("x-team", "blue"),
        ("x_team", "blue"),
        ("accept", "*/*"),
    ]
)
_QUERIES = st.sampled_from(
    [
        "",
        "?a=b",
        "?api-key=alice-key",
        "?api-key=bob-key",
        "?API_KEY=x",
        "?api%2Dkey=alice-key",
        "?a=api-key",
        "?api+key=x",
        "?jwt=x",
        "?JWT",
        "?a=" + "&" * 1000,
        "?é",
    ]
)
_HOSTS = st.sampled_from(["key", "hide", "lax", "other", "basic", "jwt", "any", "ruled", "labels"])
_REQUESTS = st.builds(
    lambda host, query, lines, exact, at, method, address: ask(
        *(f"/x{query}", *lines),
        host=f"{host}.test",
        exact=exact,
        at=at,
        method=method,
        address=address,
    ),
    _HOSTS,
    _QUERIES,
    st.lists(_LINES, max_size=4),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([NOW, NOW + 1, NOW + 4.5, NOW + 5, NOW + 11]),
    st.sampled_from(["GET", "GET", "POST"]),
    st.sampled_from(["192.0.2.1", "192.0.2.1", "192.0.2.2", "198.51.100.1", ""]),
)


@given(st.lists(_REQUESTS, min_size=2, max_size=8))
def test_memory_changes_nothing(requests: list[Any]) -> None:
    """Whatever came before, each request is decided as if it were the first."""
    gateway, fresh = _PAIR
    gateway.memory.remembered.clear()
    for request in requests:
        found, wanted = gateway.decide(request), fresh.decide(request)
        assert found == wanted
        if isinstance(found, Allow):
            assert (found.set, found.remove) == (wanted.set, wanted.remove)  # type: ignore[union-attr]


def _pair() -> tuple[Gateway, Gateway]:
    one, other = Gateway(DOCUMENT), Gateway(DOCUMENT)
    forgetful = Forgetful()
    forgetful.consumers, forgetful.credentials = one.memory.consumers, one.memory.credentials
    other.memory = forgetful
    return one, other


_PAIR = _pair()
