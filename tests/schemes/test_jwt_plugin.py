"""jwt-plugin: where the token stands, and which key must have signed it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from authz.document import parse
from authz.jose import tokens
from authz.schemes import places
from authz.schemes.jwt_plugin import JwtPlugin
from authz.values import Allow, Denied, Deny, Place, Request
from tests.support.gateway import ask, upstream
from tests.support.plugin import (
    CLAIMS,
    FORGED,
    GOOD,
    JWK,
    KEY,
    MEMORY,
    bearing,
    gateway,
    outcome,
    proof,
    setting,
    signed,
)
from tests.support.texts import wire_texts
from tests.support.tokens import SECRET, jwk, pem, private_key, rsa_key, token


def test_as_the_vendor_spells_it() -> None:
    """The plug-in's own configuration, and whose calls these are."""
    made = parse(f"""
services:
  - id: api
    auth:
      jwt-plugin:
        parameter: Authorization
        parameterLocation: header
        preventJtiReplay: false
        bypassEmptyToken: false
        ignoreExpirationCheck: false
        claimParameters:
          - {{claimName: aud, parameterName: X-Aud, location: header}}
          - {{claimName: userId, parameterName: userId, location: query}}
        jwk: {json.dumps(JWK)}
        consumer: app
""")
    scheme = made.services[0].auth.jwt_plugin  # type: ignore[attr-defined]

    assert (scheme.place, scheme.tells, scheme.tells_query) == (
        Place(header="authorization"),
        ("x-aud",),
        ("userId",),
    )


# -- where the token stands ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "request_", "expected"),
    [
        ({}, ask("/"), "missing_token"),
        ({}, ask("/", ("authorization", f"bearer {GOOD}")), "app"),
        ({}, ask("/", ("authorization", f"BEARER {GOOD}")), "app"),
        ({}, ask("/", ("authorization", GOOD)), "app"),
        ({}, ask("/", ("authorization", "Basic eDp5")), "not_bearer"),
        ({}, ask("/", *[("authorization", f"Bearer {GOOD}")] * 2), places.DUPLICATE),
        ({"parameter": "X-Token"}, ask("/", ("x-token", GOOD)), "app"),
        ({"parameter": "X-Token"}, ask("/", ("x-token", f"Bearer {GOOD}")), "app"),
        ({"parameter": "X-Token"}, ask("/", ("authorization", GOOD)), "missing_token"),
        (
            {"parameter": "token", "parameterLocation": "query"},
            ask(f"/?token={GOOD}"),
            "app",
        ),
        (
            {"parameter": "token", "parameterLocation": "query"},
            ask(f"/?token={GOOD}&token={GOOD}"),
            places.DUPLICATE,
        ),
        (
            {"parameter": "token", "parameterLocation": "cookie"},
            ask("/", ("cookie", f"a=b; token={GOOD}; c=d")),
            "app",
        ),
        (
            {"parameter": "token", "parameterLocation": "cookie"},
            ask(f"/?token={GOOD}", ("token", GOOD)),
            "missing_token",
        ),
    ],
)
def test_where_a_token_stands(settings: dict[str, Any], request_: Request, expected: str) -> None:
    assert outcome(gateway(**settings), request_) == expected


def test_hiding() -> None:
    """The token's cookie goes, and its neighbours stay."""
    made = gateway(parameter="token", parameterLocation="cookie", hide_credentials=True)
    request = ask("/", ("cookie", f"a=b; token={GOOD}; c=d"))
    found = made.decide(request)

    assert isinstance(found, Allow)
    assert upstream(request, found)[1]["cookie"] == ("a=b; c=d",)


# -- keys ------------------------------------------------------------------------------------------


def test_a_set_of_keys() -> None:
    """As a JWK Set or as a list; the token's kid and algorithm choose."""
    ec_key = private_key("ES256")
    members = [JWK, jwk("ES256", ec_key, kid="k2")]
    for written in (members, {"keys": members}):
        made = gateway(jwk="", jwks=written)
        assert outcome(made, bearing(GOOD)) == "app"
        assert outcome(made, bearing(token(CLAIMS, ec_key, "ES256", kid="k2"))) == "app"
        assert outcome(made, bearing(token(CLAIMS, ec_key, "ES256", kid="k1"))) == "unknown_key_id"
        assert outcome(made, bearing(token(CLAIMS, KEY, "RS512", kid="k1"))) == "unknown_key_id"
        assert outcome(made, bearing(token(CLAIMS, KEY, "RS256", kid="k3"))) == "unknown_key_id"
        assert outcome(made, bearing(token(CLAIMS, ec_key, "ES256"))) == "app"


def test_a_key_without_an_id_is_for_every_token() -> None:
    """Whatever kid that has, unless another key has it."""
    anonymous = {name: value for name, value in JWK.items() if name != "kid"}
    other = rsa_key(name="other")
    made = gateway(jwk="", jwks=[anonymous, jwk("RS256", other, kid="k9", alg="RS256")])

    assert outcome(made, bearing(signed(CLAIMS, kid="k1"))) == "app"
    assert outcome(made, bearing(signed(CLAIMS, kid="k9"))) == "invalid_signature"
    assert outcome(made, bearing(token(CLAIMS, other, "RS256", kid="k9"))) == "app"


def test_a_public_key_signs_nothing() -> None:
    """Not as a secret either: the algorithm is the key's."""
    bare = "".join(pem(KEY).splitlines()[1:-1])
    for secret in (bare.encode(), str(JWK["n"]).encode(), SECRET):
        assert outcome(gateway(), bearing(token(CLAIMS, secret, "HS256", kid="k1"))) == (
            "unknown_key_id"
        )


def test_keys_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the settings are read: no request waits for it."""
    scheme = setting()
    monkeypatch.setattr("authz.jose.key_set.from_jwk", None)

    assert proof(scheme, bearing(GOOD)).credential.consumer == "app"


# -- without a token -------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [None, "api7", "apisix-3.9", "apisix-3.18", "alibaba"])
def test_no_token_may_pass_and_a_wrong_one_never(profile: str | None) -> None:
    """Whatever the profile: who sends a token is judged by it."""
    made = gateway(bypassEmptyToken=True, anonymous_consumer="guest", profile=profile or "")

    assert outcome(made, ask("/")) == "guest"
    assert outcome(made, bearing(GOOD)) == "app"
    assert outcome(made, bearing("")) != "guest"
    assert outcome(made, ask("/", ("authorization", ""))) == tokens.NOT_THREE_SEGMENTS
    assert outcome(made, bearing(FORGED)) == "invalid_signature"
    assert outcome(made, ask("/", ("authorization", "Basic eDp5"))) == "not_bearer"


def test_what_a_client_is_told() -> None:
    """One text for every wrong token, and a challenge (RFC 6750 section 3)."""
    challenges = ('Bearer realm="jwt"',)
    missing = Deny("missing_token", 401, "Missing token in request", challenges, "jwt-plugin")
    assert setting().missing() == missing
    for text in ("x", FORGED, signed(CLAIMS | {"exp": 1}), signed(CLAIMS, kid="k2")):
        found = gateway().decide(bearing(text))
        assert isinstance(found, Deny)
        told = (found.message, found.challenges, found.status)
        assert told == ("Invalid token in request", challenges, 401)


def test_notes() -> None:
    """What stood where, never the token."""
    scheme = setting(consumer=None, consumerClaim="sub")
    notes = dict(scheme.notes(bearing(GOOD)))

    assert notes["algorithm"] == "RS256"
    assert notes["key id"] == "k1"
    assert notes["claim sub"] == "ann"
    assert "in header authorization" in notes["credential"]
    assert not any(GOOD.rpartition(".")[2] in text for text in notes.values())
    assert scheme.notes(ask("/")) == ()
    assert scheme.notes(ask("/", ("authorization", "Basic eDp5"))) == (
        ("token", JwtPlugin.reasons["not_bearer"]),
    )


@given(wire_texts(max_size=60))
def test_no_text_is_a_token(text: str) -> None:
    """Any header at all is a refusal with a reason, never an error."""
    with pytest.raises(Denied) as refused:
        setting().authenticate(ask("/", ("authorization", text)), MEMORY)
    assert refused.value.deny.reason in JwtPlugin.reasons
