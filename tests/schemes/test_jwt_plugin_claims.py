"""jwt-plugin: what the claims must say, whom they name, and what of them is told."""

from __future__ import annotations

from typing import Any

import pytest

from authz.schemes.jwt_core import MARGIN
from authz.values import Allow, Credential, Deny, Once
from tests.support.gateway import NOW, ask, upstream
from tests.support.plugin import (
    CLAIMS,
    GOOD,
    KEY,
    bearing,
    gateway,
    outcome,
    proof,
    setting,
    signed,
)
from tests.support.tokens import rsa_key, token


@pytest.mark.parametrize(
    ("claims", "expected", "ignoring"),
    [
        ({"exp": NOW + 0.5}, "app", "app"),
        ({"exp": NOW}, "token_expired", "app"),
        ({}, "claim_missing", "app"),
        ({"exp": "never"}, "claim_malformed", "app"),
        ({"exp": NOW + 1, "nbf": NOW}, "app", "app"),
        ({"exp": NOW + 1, "nbf": NOW + 1}, "token_not_yet_valid", "token_not_yet_valid"),
        ({"exp": NOW + 1, "nbf": "soon"}, "claim_malformed", "claim_malformed"),
    ],
)
def test_times(claims: dict[str, Any], expected: str, ignoring: str) -> None:
    """A token must expire; ignoreExpirationCheck is about exp and nothing else."""
    assert outcome(gateway(), bearing(signed(claims))) == expected
    assert outcome(gateway(ignoreExpirationCheck=True), bearing(signed(claims))) == ignoring


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("ann", "ann"),
        ("bob", "bob"),
        ("eve", "consumer_missing"),
        ("", "missing_consumer_claim"),
        (None, "missing_consumer_claim"),
        (7, "missing_consumer_claim"),
        (["ann"], "missing_consumer_claim"),
        ("ann\n", "missing_consumer_claim"),
    ],
)
def test_the_consumer_in_a_claim(claim: Any, expected: str) -> None:
    """Whoever signs the tokens says whose calls these are; it must be somebody we know."""
    found = gateway(consumer="", consumerClaim="sub").decide(
        bearing(signed(CLAIMS | {"sub": claim}))
    )

    if isinstance(found, Allow):
        assert found.identity.consumer.username == expected
    else:
        assert isinstance(found, Deny)
        assert (found.reason, found.status) == (expected, 401)


def test_the_credential_is_the_key() -> None:
    """Its id is the token's kid; without one nothing is told of it."""
    made = proof(setting(), bearing(GOOD))
    assert made.credential == Credential("app", "k1", "jwt-plugin", None)
    assert (made.once, made.claims) == (None, None)

    unnamed = proof(setting(), bearing(token(CLAIMS, KEY, "RS256")))
    assert unnamed.credential == Credential("app", "", "jwt-plugin", None, named=False)


def test_claims_for_the_upstream() -> None:
    """In headers and in the query; what a client sends in their place is gone in any case."""
    made = gateway(
        claimParameters=[
            {"claimName": "sub", "parameterName": "X-User", "location": "header"},
            {"claimName": "roles", "parameterName": "X-Roles", "location": "header"},
            {"claimName": "userId", "parameterName": "userId", "location": "query"},
            {"claimName": "absent", "parameterName": "absent", "location": "query"},
        ]
    )
    forged = (("x-user", "root"), ("x-roles", "admin"))
    text = signed(CLAIMS | {"userId": "a&b=1", "sub": "Zoë"})
    request = ask("/p?userId=0&userid=1&absent=1&q=1", ("authorization", f"bearer {text}"), *forged)
    found = made.decide(request)

    assert isinstance(found, Allow)
    target, headers = upstream(request, found)
    assert target == "/p?q=1&userId=a%26b%3D1"
    assert headers["x-user"] == ("Zo%C3%AB",)
    assert "x-roles" not in headers
    assert headers["x-consumer-username"] == ("app",)


def test_claims_that_are_too_long_to_be_told() -> None:
    """Headers and query together."""
    told = [
        {"claimName": "a", "parameterName": "X-A", "location": "header"},
        {"claimName": "b", "parameterName": "b", "location": "query"},
    ]
    made = gateway(claimParameters=told)

    assert outcome(made, bearing(signed(CLAIMS | {"a": "x" * 4096, "b": "x" * 4096}))) == "app"
    long = signed(CLAIMS | {"a": "x" * 4096, "b": "x" * 4097})
    assert outcome(made, bearing(long)) == "claims_too_long"


# -- once ------------------------------------------------------------------------------------------


def test_a_jti_counts_once() -> None:
    """For as long as the token lives, and for each consumer by itself."""
    made = gateway(preventJtiReplay=True, consumer="", consumerClaim="sub")
    request = bearing(signed(CLAIMS | {"jti": "1"}))

    assert outcome(made, request) == "ann"
    assert outcome(made, request) == "token_replayed"
    assert (
        outcome(made, bearing(signed(CLAIMS | {"jti": "1", "exp": NOW + 99}))) == "token_replayed"
    )
    assert outcome(made, bearing(signed(CLAIMS | {"jti": "2"}))) == "ann"
    assert outcome(made, bearing(signed(CLAIMS | {"jti": "1", "sub": "bob"}))) == "bob"

    once = proof(setting(preventJtiReplay=True), request).once
    assert isinstance(once, Once)
    assert (once.seconds, once.refusal.reason) == (60 + MARGIN, "token_replayed")
    late = bearing(signed(CLAIMS | {"jti": "1"}), at=NOW + 59.5)
    last = proof(setting(preventJtiReplay=True), late).once
    assert isinstance(last, Once)
    assert last.seconds == 1 + MARGIN


def test_a_token_that_was_refused_uses_up_nothing() -> None:
    """A stranger cannot burn somebody's jti."""
    made = gateway(preventJtiReplay=True)
    claims = CLAIMS | {"jti": "1"}
    forged = token(claims, rsa_key(name="other"), "RS256", kid="k1")

    assert outcome(made, bearing(forged)) == "invalid_signature"
    assert outcome(made, bearing(signed(claims), at=NOW + 60)) == "token_expired"
    assert outcome(made, bearing(signed(claims))) == "app"


@pytest.mark.parametrize(
    ("jti", "reason"),
    [
        ({}, "claim_missing"),
        ({"jti": ""}, "claim_malformed"),
        ({"jti": 1}, "claim_malformed"),
        ({"jti": ["1"]}, "claim_malformed"),
        ({"jti": "x" * 257}, "claim_malformed"),
    ],
)
def test_a_jti_that_is_none(jti: dict[str, Any], reason: str) -> None:
    assert outcome(gateway(preventJtiReplay=True), bearing(signed(CLAIMS | jti))) == reason
