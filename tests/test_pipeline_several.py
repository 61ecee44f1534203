"""Several schemes on a route: `any`, `all`, and `any` as APISIX's multi-auth has it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from authz import signing
from authz.contracts import Fault
from authz.denials import NONE_PROVEN
from authz.pipeline import decide
from authz.values import Allow, Body, Deny, Request
from tests.support.gateway import NOW, Gateway, ask, upstream
from tests.support.memory import Memory, MemoryLookup

SECRET = "0123456789abcdef0123456789abcdef"
DOCUMENT = """
profile: PROFILE
services:
  - {id: three, hosts: [three.test], auth: {any: [
      {key-auth: {}}, {basic-auth: {}}, {jwt-auth: {hide_credentials: true}}]}}
  - {id: guest, hosts: [guest.test], auth: {any: [
      {basic-auth: {}}, {key-auth: {anonymous_consumer: guest}}, {jwt-auth: {}}]}}
  - {id: lost, hosts: [lost.test], auth: {any: [
      {basic-auth: {anonymous_consumer: nobody}}, {key-auth: {anonymous_consumer: out}}]}}
  - {id: large, hosts: [large.test], auth: {any: [{key-auth: {}},
      {hmac-auth: {validate_request_body: true, max_req_body_size: 2}}]}}
  - {id: one, hosts: [one.test], auth: {any: [{key-auth: {}}]}}
  - {id: hide, hosts: [hide.test], auth: {any: [
      {jwt-auth: {hide_credentials: true}}, {basic-auth: {hide_credentials: true}},
      {key-auth: {hide_credentials: true}}]}}
consumers:
  - username: alice
    credentials:
      - {id: k, key-auth: {key: alice-key}}
      - {id: b, basic-auth: {username: al, password: pass}}
      - {id: j, jwt-auth: {key: al, secret: SECRET}}
      - {id: h, hmac-auth: {key_id: al, secret_key: SECRET}}
  - {username: bob, credentials: [{id: k, key-auth: {key: bob-key}}]}
  - {username: out, disabled: true, credentials: [{id: k, key-auth: {key: out-key}}]}
  - {username: guest}
""".replace("SECRET", SECRET)
OURS = Gateway(DOCUMENT.replace("PROFILE", "api7"))
APISIX = Gateway(DOCUMENT.replace("PROFILE", "apisix-3.18"))

KEY, WRONG_KEY = ("apikey", "bob-key"), ("apikey", "nope")
BASIC, WRONG_BASIC = ("authorization", "Basic YWw6cGFzcw=="), ("authorization", "Basic YWw6bm8=")
[BEARER] = signing.sign_jwt({"key": "al", "exp": int(NOW) + 60}, key=SECRET, at=NOW).headers
BAD_TOKEN = ("authorization", f"{BEARER[1]}x")


def outcome(gateway: Gateway, request: Request) -> str:
    decision = gateway.decide(request)
    if isinstance(decision, Allow):
        return f"{decision.identity.consumer.username} by {decision.identity.scheme}"
    assert isinstance(decision, Deny)
    return decision.reason


NONE = NONE_PROVEN.reason


@pytest.mark.parametrize(
    ("host", "lines", "ours", "apisix"),
    [
        ("three", [KEY], "bob by key-auth", "bob by key-auth"),
        ("three", [BASIC], "alice by basic-auth", "alice by basic-auth"),
        ("three", [BEARER], "alice by jwt-auth", "alice by jwt-auth"),
        # The first that finds a credential decides; in APISIX the first that succeeds.
        ("three", [BASIC, KEY], "bob by key-auth", "bob by key-auth"),
        ("three", [BASIC, WRONG_KEY], "invalid_key", "alice by basic-auth"),
        ("three", [BEARER, WRONG_KEY], "invalid_key", "alice by jwt-auth"),
        ("three", [WRONG_BASIC, KEY], "bob by key-auth", "bob by key-auth"),
        ("three", [WRONG_BASIC, WRONG_KEY], "invalid_key", NONE),
        ("three", [WRONG_BASIC], "invalid_password", NONE),
        ("three", [BAD_TOKEN], "invalid_signature", NONE),
        ("three", [("apikey", "out-key")], "consumer_disabled", NONE),
        ("three", [], "missing_key", NONE),
        # A guest is for those who sent nothing; in APISIX its scheme never fails.
        ("guest", [], "guest by key-auth", "guest by key-auth"),
        ("guest", [WRONG_BASIC], "invalid_password", "guest by key-auth"),
        ("guest", [WRONG_KEY], "invalid_key", "guest by key-auth"),
        ("guest", [BEARER], "alice by jwt-auth", "guest by key-auth"),
        ("guest", [BASIC], "alice by basic-auth", "alice by basic-auth"),
        ("lost", [], "anonymous_consumer_missing", NONE),
        # One scheme is no choice.
        ("one", [WRONG_KEY], "invalid_key", "invalid_key"),
    ],
)
def test_any(host: str, lines: list[tuple[str, str]], ours: str, apisix: str) -> None:
    assert outcome(OURS, ask("/", *lines, host=f"{host}.test")) == ours
    assert outcome(APISIX, ask("/", *lines, host=f"{host}.test")) == apisix


def none_proven(*challenges: str) -> Deny:
    return Deny("no_scheme_proven", 401, "Authorization Failed", challenges, "multi-auth")


@pytest.mark.parametrize(
    ("host", "challenge"),
    [("three", 'Bearer realm="jwt"'), ("lost", 'apikey realm="key"')],
)
def test_the_words_of_multi_auth(host: str, challenge: str) -> None:
    """With the last challenge that there is."""
    assert APISIX.decide(ask("/", host=f"{host}.test")) == none_proven(challenge)


def test_too_large_for_one_of_several() -> None:
    """What is a 413 without a challenge for that scheme alone."""
    body = b"123"
    signed = signing.sign_hmac_auth("POST", "/", [], body, key_id="al", secret=SECRET, at=NOW)
    request = ask("/", *signed.headers, host="large.test", method="POST")
    request = replace(request, body=Body(body, complete=True, exact=True))

    assert outcome(OURS, request) == "body_too_large"
    assert APISIX.decide(request) == none_proven('apikey realm="key"')


@pytest.mark.parametrize("gateway", [OURS, APISIX])
def test_what_was_looked_at_in_vain_is_hidden_after_the_decision(gateway: Gateway) -> None:
    """A scheme that looks first takes nothing away from the next."""
    request = ask("/", BASIC, host="hide.test")
    decision = gateway.decide(request)

    assert isinstance(decision, Allow)
    assert decision.identity.scheme == "basic-auth"
    assert "authorization" not in upstream(request, decision)[1]


def test_what_prevents_a_decision_is_not_the_next_ones_turn() -> None:
    """A store that is away proves nothing wrong."""

    class Away(MemoryLookup):
        def find_secret(self, kind: str, secret: str) -> Any:
            raise Fault("store_unreachable")

    class AwayMemory(Memory):
        def within(self, tenant: str) -> MemoryLookup:
            return Away(self, tenant)

    memory = AwayMemory()
    memory.consumers, memory.credentials = APISIX.memory.consumers, APISIX.memory.credentials
    with pytest.raises(Fault, match="store_unreachable"):
        decide(ask("/", WRONG_KEY, BASIC, host="three.test"), APISIX.routes, memory)
