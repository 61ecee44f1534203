"""jwt-auth: what claims must say under each profile, per route and per credential, and once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.schemes.jwt_auth import JwtAuth
from authz.schemes.jwt_core import MARGIN
from authz.values import Deny, Once, Proof
from tests.support.gateway import NOW, Gateway, ask
from tests.support.jwt import CLAIMS, outcome, prove, sent, setting, store
from tests.support.tokens import SECRET, token

KEY = {"key": "jack-key"}
LATER, EARLIER = int(NOW) + 10, int(NOW) - 10
HOLDS = "jack-key"


@pytest.mark.parametrize(
    ("fields", "claims", "expected"),
    [
        # Ours: a token expires, unless a list says otherwise; what is there is always checked.
        ({}, {}, "claim_missing"),
        ({}, {"nbf": EARLIER}, "claim_missing"),
        ({}, {"exp": LATER}, HOLDS),
        ({}, {"exp": NOW}, "token_expired"),
        ({}, {"exp": NOW + 0.5}, HOLDS),
        ({}, {"exp": LATER, "nbf": NOW}, HOLDS),
        ({}, {"exp": LATER, "nbf": LATER}, "token_not_yet_valid"),
        ({}, {"exp": LATER, "nbf": "x"}, "claim_malformed"),
        ({}, {"exp": LATER, "iat": "x"}, "claim_malformed"),
        ({}, {"exp": LATER, "iat": LATER}, HOLDS),
        ({"claims_to_verify": []}, {}, HOLDS),
        ({"claims_to_verify": []}, {"exp": EARLIER}, "token_expired"),
        ({"claims_to_verify": ["nbf"]}, {"nbf": EARLIER}, HOLDS),
        ({"claims_to_verify": ["nbf"]}, {"nbf": EARLIER, "exp": EARLIER}, "token_expired"),
        ({"claims_to_verify": ["nbf"]}, {"exp": LATER}, "claim_missing"),
        ({"claims_to_verify": ["exp", "nbf"]}, {"exp": LATER}, "claim_missing"),
        # APISIX since 3.17: what is listed must be there, and nothing else is looked at.
        ({"profile": "apisix-3.18"}, {}, HOLDS),
        ({"profile": "apisix-3.18"}, {"exp": EARLIER}, "token_expired"),
        ({"profile": "apisix-3.18"}, {"exp": NOW + 1}, HOLDS),
        ({"profile": "apisix-3.18"}, {"nbf": NOW}, "token_not_yet_valid"),
        ({"profile": "apisix-3.18"}, {"iat": "x"}, HOLDS),
        ({"profile": "apisix-3.18", "claims_to_verify": []}, {"exp": EARLIER}, "token_expired"),
        ({"profile": "apisix-3.18", "claims_to_verify": ["nbf"]}, {"nbf": 1, "exp": 1}, HOLDS),
        ({"profile": "apisix-3.18", "claims_to_verify": ["exp"]}, {"nbf": 1}, "claim_missing"),
        # Up to 3.15 one of the two was required.
        ({"profile": "apisix-3.9"}, {}, "claim_missing"),
        ({"profile": "apisix-3.9"}, {"nbf": EARLIER}, HOLDS),
        ({"profile": "apisix-3.9"}, {"exp": LATER}, HOLDS),
    ],
)
def test_times(fields: dict[str, Any], claims: dict[str, Any], expected: str) -> None:
    """Each profile's rules, to the instant."""
    assert outcome(setting(**fields), sent(KEY | claims)) == expected


@pytest.mark.parametrize(
    ("fields", "claims", "expected"),
    [
        ({"verify_iat": True}, {"iat": NOW}, HOLDS),
        ({"verify_iat": True}, {"iat": LATER}, "token_issued_in_future"),
        ({"verify_iat": True, "profile": "apisix-3.18"}, {"iat": "x"}, "claim_malformed"),
        ({"issuer": "us"}, {"iss": "us"}, HOLDS),
        ({"issuer": "us"}, {"iss": "them"}, "wrong_issuer"),
        ({"issuer": "us"}, {}, "claim_missing"),
        ({"audience": ["a", "b"]}, {"aud": ["x", "b"]}, HOLDS),
        ({"audience": ["a"]}, {"aud": "b"}, "wrong_audience"),
        ({"audience": ["a"]}, {"aud": 1}, "claim_malformed"),
        ({"audience": ["a"]}, {}, "claim_missing"),
    ],
)
def test_the_routes_rules(fields: dict[str, Any], claims: dict[str, Any], expected: str) -> None:
    """Issue, issuer and audience are asked for where the route says so."""
    assert outcome(setting(**fields), sent(CLAIMS | claims)) == expected


@pytest.mark.parametrize(
    ("own", "claims", "expected"),
    [
        ({"issuer": "us"}, {"iss": "us"}, HOLDS),
        ({"issuer": "us"}, {"iss": "them"}, "wrong_issuer"),
        ({"audience": ["a"]}, {"aud": "a"}, HOLDS),
        ({"audience": ["a"]}, {"aud": "b"}, "wrong_audience"),
        ({"lifetime_grace_period": 11}, {"exp": EARLIER}, HOLDS),
        ({"lifetime_grace_period": 10}, {"exp": EARLIER}, "token_expired"),
        ({"lifetime_grace_period": 10}, {"nbf": LATER}, HOLDS),
        ({"lifetime_grace_period": 9}, {"nbf": LATER}, "token_not_yet_valid"),
    ],
)
def test_the_credentials_rules(own: dict[str, Any], claims: dict[str, Any], expected: str) -> None:
    """A credential may ask for more, and grant some grace."""
    memory = store({"secret": SECRET.decode()} | own)

    assert outcome(setting(), sent(CLAIMS | claims), memory) == expected


def test_the_credential_cannot_widen_what_the_route_asks() -> None:
    """Both must hold."""
    memory = store({"secret": SECRET.decode(), "issuer": "them", "audience": ["b"]})
    scheme = setting(issuer="us", audience=["a"])

    assert outcome(scheme, sent(CLAIMS | {"iss": "us", "aud": "a"}), memory) == "wrong_issuer"
    assert outcome(scheme, sent(CLAIMS | {"iss": "them", "aud": "b"}), memory) == "wrong_issuer"
    assert outcome(setting(audience=["a"]), sent(CLAIMS | {"aud": ["a"]}), memory) != HOLDS


@pytest.mark.parametrize("value", ["4102444800", "4_102_444_800", True, [1], {"$gt": 0}, 1e20, -1])
def test_exp_is_a_number(value: Any) -> None:
    """Under every profile alike."""
    for profile in ("api7", "apisix-3.18", "apisix-3.9"):
        found = outcome(setting(profile=profile), sent(KEY | {"exp": value}))
        assert found == "claim_malformed"


# -- once ------------------------------------------------------------------------------------------

ONCE = setting(require_jti_once=True)


def once(scheme: JwtAuth, claims: dict[str, Any]) -> Once | str:
    found = prove(
        scheme,
        sent(claims),
        store({"secret": SECRET.decode()}, {"key": "other-key", "secret": SECRET.decode()}),
    )
    if isinstance(found, Deny):
        return found.reason
    assert isinstance(found, Proof)
    assert found.once is not None
    return found.once


def test_a_token_that_counts_once() -> None:
    """Its nonce lives a little longer than the token, and is its own credential's."""
    found = once(ONCE, CLAIMS | {"jti": "j-1"})
    again, other = once(ONCE, CLAIMS | {"jti": "j-1"}), once(ONCE, CLAIMS | {"jti": "j-2"})
    anothers = once(ONCE, CLAIMS | {"jti": "j-1", "key": "other-key"})

    assert isinstance(found, Once)
    assert (found.seconds, found.refusal.reason) == (60 + MARGIN, "token_replayed")
    assert found.refusal.message == "failed to verify jwt"
    assert found == again
    assert isinstance(other, Once)
    assert isinstance(anothers, Once)
    assert len({found.nonce, other.nonce, anothers.nonce}) == 3
    long = once(ONCE, CLAIMS | {"jti": "\U0001f600" * 256})
    assert isinstance(long, Once)
    assert len(long.nonce) == len(found.nonce)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": LATER}, "claim_missing"),
        ({"exp": LATER, "jti": 1}, "claim_malformed"),
        ({"exp": LATER, "jti": ""}, "claim_malformed"),
        ({"exp": LATER, "jti": "j" * 257}, "claim_malformed"),
        ({"jti": "j"}, "claim_missing"),
        ({"exp": "x", "jti": "j"}, "claim_malformed"),
        ({"exp": EARLIER, "nbf": 1, "jti": "j"}, "token_expired"),
    ],
)
@pytest.mark.parametrize("profile", ["api7", "apisix-3.18", "apisix-3.9"])
def test_tokens_that_cannot_count_once(profile: str, claims: dict[str, Any], expected: str) -> None:
    """Without a name, or an end, nothing can be remembered of them for long enough."""
    scheme = setting(require_jti_once=True, profile=profile, claims_to_verify=["nbf"])
    listed = {"nbf": EARLIER} | claims

    assert once(scheme, KEY | listed) == expected


@given(st.floats(0.001, 1e6), st.integers(0, 1000), st.text(min_size=1, max_size=20))
def test_a_nonce_outlives_its_token(life: float, grace: int, jti: str) -> None:
    """To the last moment at which the token could be used again."""
    memory = store({"secret": SECRET.decode(), "lifetime_grace_period": grace})
    found = prove(ONCE, sent(KEY | {"exp": NOW + life, "jti": jti}), memory)

    assert isinstance(found, Proof)
    assert found.once is not None
    assert MARGIN <= found.once.seconds - (life + grace) < MARGIN + 1.001


DOCUMENT = """
services:
  - id: api
    auth: {jwt-auth: {require_jti_once: true, claims_to_headers: {sub: X-Subject}}}
consumers:
  - username: jack
    credentials:
      - id: one
        jwt-auth: {key: jack-key, secret: 0123456789abcdef0123456789abcdef}
"""


def test_a_second_use_is_refused() -> None:
    """By the pipeline, when all else holds."""
    gateway = Gateway(DOCUMENT)
    text = token(CLAIMS | {"jti": "j"}, b"0123456789abcdef0123456789abcdef")
    request = ask("/", ("authorization", f"Bearer {text}"))
    first, second = gateway.decide(request), gateway.decide(request)

    assert not isinstance(first, Deny)
    assert isinstance(second, Deny)
    assert (second.reason, second.status) == ("token_replayed", 401)


def test_a_clients_own_copy_of_a_told_header_is_removed() -> None:
    """Also when the claim is not there, and in other spellings it is refused."""
    gateway = Gateway(DOCUMENT.replace("require_jti_once: true, ", ""))
    text = token(CLAIMS, b"0123456789abcdef0123456789abcdef")
    bearer = ("authorization", f"Bearer {text}")
    allowed: Any = gateway.decide(ask("/", bearer, ("x-subject", "root")))
    refused: Any = gateway.decide(ask("/", bearer, ("x_subject", "root")))

    assert "x-subject" in allowed.remove
    assert refused.reason == "spoofed_identity_header"
