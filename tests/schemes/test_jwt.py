"""jwt: a token that names its user by a JSONPath, and the key that is the user's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from joserfc import jwt as other_library
from joserfc.jwk import OctKey

from authz.denials import Foreign
from authz.jose import tokens
from authz.jose.keys import VerifyKey
from authz.schemes import jwt_core
from authz.schemes.jwt import Jwt
from authz.values import Denied, Deny, Place, Proof
from tests.support.gateway import NOW, Gateway, ask
from tests.support.texts import wire_texts
from tests.support.tokens import SECRET, pem, private_key, rsa_key, token
from tests.support.users import (
    CLAIMS,
    FORM,
    GOOD,
    JSON,
    bearing,
    gateway,
    outcome,
    posting,
    setting,
)

#: The API Open Platform's own example, with its dates.
EXAMPLE = {
    "sub": "1234567890",
    "iss": "apinto",
    "name": "John Doe",
    "iat": 1516239022,
    "exp": 1713339896,
}


def test_the_manuals_example() -> None:
    """Secret `apinto`, user John Doe, in the Authorization header: good until its exp, for those
    who allow a secret that anybody could guess."""
    made = gateway({"username_path": "$.name"}, secret="apinto", allow_weak_secret=True)
    text = token(EXAMPLE, b"apinto", header={"alg": "HS256", "typ": "JWT"})

    assert outcome(made, bearing(text, at=1713339895.9)) == "john"
    assert outcome(made, bearing(text, at=1713339896)) == "token_expired"
    assert outcome(made, ask("/", ("authorization", text), at=1.7e9)) == "john"


@pytest.mark.parametrize("algorithm", [a for a in tokens.ALGORITHMS if a[:2] in ("HS", "RS", "ES")])
def test_nine_algorithms(algorithm: str) -> None:
    """Each with its own key, and with no other algorithm."""
    key = private_key(algorithm)
    made = gateway(None, **material(algorithm, key))

    assert outcome(made, bearing(token(CLAIMS, key, algorithm))) == "john"
    assert outcome(made, bearing(token(CLAIMS, private_key(algorithm, "x"), algorithm))) == (
        "invalid_signature"
    )
    other = "HS512" if algorithm != "HS512" else "HS256"
    assert outcome(made, bearing(token(CLAIMS, SECRET, other))) == "wrong_algorithm"


def material(algorithm: str, key: Any) -> dict[str, Any]:
    if algorithm.startswith("HS"):
        return {"algorithm": algorithm, "secret": key.decode()}
    return {"algorithm": algorithm, "public_key": pem(key), "secret": None}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", tokens.NOT_THREE_SEGMENTS),
        ("a.b", tokens.NOT_THREE_SEGMENTS),
        (GOOD.rpartition(".")[0] + ".", tokens.NOT_THREE_SEGMENTS),
        (token(CLAIMS, crit=["exp"]), tokens.HEADER_REFUSED),
        (token(CLAIMS, typ=7), tokens.HEADER_REFUSED),
        (token(CLAIMS, header={"alg": "HS256"}), "wrong_token_type"),
        (token(CLAIMS, typ="dpop+jwt"), "wrong_token_type"),
        (token(CLAIMS, typ=""), "wrong_token_type"),
        (token({"exp": NOW + 1}), "missing_user"),
        (token({"name": ["John Doe"]}), "missing_user"),
        (token({"name": ""}), "missing_user"),
        (token({"name": "John Doe\n"}), "missing_user"),
        (token({"name": "john"}), "unknown_user"),
        (token({"name": "john doe"}), "unknown_user"),
        (token(CLAIMS, SECRET, "HS384"), "wrong_algorithm"),
        (token(CLAIMS, rsa_key(), "RS256"), "wrong_algorithm"),
        (token(CLAIMS, b"x" * 32), "invalid_signature"),
        (token(CLAIMS | {"exp": 1}, b"x" * 32), "invalid_signature"),
        (token(CLAIMS | {"exp": 1}), "token_expired"),
    ],
)
def test_refusals_in_their_order(text: str, reason: str) -> None:
    """One answer for all, so that a stranger learns nothing; the reason is the operator's."""
    found = gateway().decide(bearing(text))

    assert isinstance(found, Deny)
    assert found.reason == reason
    assert found == Deny(reason, 401, "missing or invalid token", ('Bearer realm="jwt"',), "jwt")
    assert reason in Jwt.reasons


@pytest.mark.parametrize("type_", ["JWT", "jwt", "Jwt", "at+jwt", "AT+JWT"])
def test_types(type_: str) -> None:
    """An access token of RFC 9068 is one, too."""
    made = gateway()
    text = token(CLAIMS, typ=type_)

    assert [outcome(made, bearing(text)) for _ in range(2)] == ["john", "john"]


def test_a_remembered_token_is_judged_by_its_type_again() -> None:
    """Another scheme of the tenant, which asks for none, may have verified it before."""
    made = gateway()
    text = token(CLAIMS, header={"alg": "HS256"})
    lookup = made.memory.within("")
    assert jwt_core.is_signed(
        jwt_core.look_at(text, lookup), text, VerifyKey("HS256", SECRET), lookup
    )
    assert lookup.recall(text) is not None

    assert outcome(made, bearing(text)) == "wrong_token_type"


@pytest.mark.parametrize(
    ("listed", "claims", "expected"),
    [
        (None, {}, "john"),
        (None, {"exp": NOW + 1, "nbf": NOW}, "john"),
        (None, {"exp": NOW}, "token_expired"),
        (None, {"nbf": NOW + 1}, "token_not_yet_valid"),
        (None, {"exp": "2099"}, "claim_malformed"),
        (None, {"iat": "now"}, "claim_malformed"),
        (None, {"iat": NOW + 9999}, "john"),
        ([], {}, "john"),
        ([], {"exp": 1, "nbf": NOW + 1, "iat": "now"}, "john"),
        (["exp"], {"exp": NOW + 1, "nbf": NOW + 1}, "john"),
        (["exp"], {"exp": NOW}, "token_expired"),
        (["exp"], {}, "claim_missing"),
        (["exp"], {"exp": True}, "claim_malformed"),
        (["nbf"], {"exp": 1, "nbf": NOW}, "john"),
        (["nbf"], {"nbf": NOW + 0.5}, "token_not_yet_valid"),
        (["nbf"], {"exp": NOW + 1}, "claim_missing"),
        (["exp", "nbf"], {"exp": NOW + 1, "nbf": NOW - 1}, "john"),
        (["exp", "nbf"], {"exp": NOW + 1}, "claim_missing"),
    ],
)
def test_validation_fields(listed: list[str] | None, claims: dict[str, Any], expected: str) -> None:
    """A list is obeyed exactly; without one, exp and nbf hold where they are."""
    made = gateway(validation_fields=listed)

    assert outcome(made, bearing(token({"name": "John Doe"} | claims))) == expected


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"iss": "apinto"}, "john"),
        ({"iss": "Apinto"}, "wrong_issuer"),
        ({"iss": ["apinto"]}, "wrong_issuer"),
        ({}, "claim_missing"),
    ],
)
def test_issuer(claims: dict[str, Any], expected: str) -> None:
    """A credential's issuer is the token's; the vendor asks only that there is one."""
    made = gateway(issuer="apinto")

    assert outcome(made, bearing(token(CLAIMS | claims))) == expected
    assert outcome(gateway(), bearing(token(CLAIMS | {"iss": 7}))) == "john"


def test_each_users_own_key() -> None:
    """Of two users of one route, neither can sign for the other."""
    secrets = {"Ann": "a" * 32, "Bob": "b" * 32}
    consumers = [
        {"username": name.lower(), "credentials": [{"jwt": {"username": name, "secret": secret}}]}
        for name, secret in secrets.items()
    ]
    services = [{"id": "api", "auth": {"jwt": {}}}]
    made = Gateway(json.dumps({"services": services, "consumers": consumers}))

    assert outcome(made, bearing(token({"name": "Ann"}, b"a" * 32))) == "ann"
    assert outcome(made, bearing(token({"name": "Bob"}, b"b" * 32))) == "bob"
    assert outcome(made, bearing(token({"name": "Bob"}, b"a" * 32))) == "invalid_signature"


def test_a_token_of_another_library() -> None:
    """Made by joserfc, which was not asked to please us."""
    text = other_library.encode(
        {"alg": "HS256", "typ": "JWT"}, {"user": {"id": "John Doe"}}, OctKey.import_key(SECRET)
    )

    assert outcome(gateway({"username_path": "user.id"}), bearing(text)) == "john"


def test_who_may_call_without_a_token() -> None:
    """The anonymous consumer, for whom a wrong token is none; profiles of APISIX change nothing."""
    for profile in (None, "apisix-3.18", "alibaba"):
        scheme = setting(anonymous_consumer="guest", profile=profile)
        assert scheme.tolerant is False
        document = {
            "profile": profile or "api7",
            "services": [{"id": "api", "auth": {"jwt": {"anonymous_consumer": "guest"}}}],
            "consumers": [{"username": "guest"}],
        }
        made = Gateway(json.dumps(document))
        assert outcome(made, ask("/")) == "guest"
        assert outcome(made, bearing(GOOD)) == "unknown_user"
        assert outcome(made, ask("/", ("authorization", "Basic eDp5"))) == "not_bearer"


def test_beside_another_scheme() -> None:
    """What is not Bearer is for the other one to judge."""
    with pytest.raises(Foreign) as refused:
        setting().authenticate(
            ask("/", ("authorization", "Basic eDp5")), gateway().memory.within("")
        )
    assert refused.value.deny.reason == "not_bearer"


@given(wire_texts(max_size=60))
def test_no_text_is_a_token(text: str) -> None:
    """Any header at all is a refusal with a reason, never an error."""
    with pytest.raises(Denied) as refused:
        setting().authenticate(ask("/", ("authorization", text)), MEMORY)
    assert refused.value.deny.reason in Jwt.reasons


MEMORY = gateway().memory.within("")


@given(wire_texts(max_size=60))
def test_no_body_is_an_error(text: str) -> None:
    """Whatever a form or a JSON body holds."""
    scheme = setting(position="body", name="t")
    data = text.encode("utf-8", "surrogateescape")
    for kind, body in ((JSON, data), (FORM, data), (FORM, b"t=" + data)):
        try:
            found = scheme.authenticate(posting(body, kind), MEMORY)
        except Denied as denied:
            assert denied.deny.reason in Jwt.reasons  # noqa: PT017
        else:
            assert found is None


def test_notes() -> None:
    """Where the token stood and what it says, never the token."""
    scheme = setting(position="query", name="token", username_path="$.name")
    claims = CLAIMS | {"secret": "canary"}
    text = token(claims)

    notes = dict(scheme.notes(ask(f"/?token={text}")))
    assert notes == {
        "credential": f"{len(text)} characters in query token",
        "algorithm": "HS256",
        "claim exp": "2027-01-15T08:01:00+00:00",
        "user": "John Doe",
    }
    assert scheme.notes(ask("/")) == ()
    assert scheme.notes(ask("/?token=a&token=b")) == (
        ("token", "the credential was sent more than once"),
    )
    nameless = dict(scheme.notes(ask(f"/?token={token({})}")))
    assert nameless["user"] == Jwt.reasons["missing_user"]


def test_place() -> None:
    assert setting().place == Place(header="authorization")
    assert setting(position="query", name="T").place == Place(query="T")
    assert setting(position="body", name="T").place == Place(body="T")


def test_a_proof_has_no_claims() -> None:
    """The upstream and Envoy's filters are told the user, and no more."""
    found = setting().authenticate(bearing(GOOD), MEMORY)

    assert isinstance(found, Proof)
    assert (found.headers, found.query, found.claims, found.once) == ((), (), None, None)
