"""jwt-auth: what the upstream, Envoy's other filters and operators are told, and what is hidden."""

from __future__ import annotations

from typing import Any

import pytest

from authz.schemes.jwt_auth import JwtAuth
from authz.values import Place, Proof, Request
from tests.support.gateway import NOW, ask
from tests.support.jwt import CLAIMS, bearing, outcome, prove, sent, setting
from tests.support.tokens import token

GOOD = token(CLAIMS)
STRICT = setting()


def proof(scheme: JwtAuth, claims: dict[str, Any]) -> Proof:
    found = prove(scheme, sent(CLAIMS | claims))
    assert isinstance(found, Proof)
    return found


def test_claims_for_envoys_filters() -> None:
    """Only where they are asked for."""
    assert proof(STRICT, {"sub": "a"}).claims is None
    assert proof(setting(store_in_ctx=True), {"sub": "a"}).claims == CLAIMS | {"sub": "a"}


def test_claims_for_the_upstream() -> None:
    """As text; a claim that is not there is not told, and a client's own copy is removed."""
    names = {name: f"X-Claim-{name}" for name in ("a", "b", "c", "d", "e", "f", "g", "h", "i")}
    scheme = setting(claims_to_headers=names)
    claims: dict[str, Any] = {"a": "text, as it is", "b": 5, "c": 1.5, "d": True, "e": {"x": "ü"}}
    claims |= {"f": ["admin", 7, False], "g": ["a,b", "c"], "h": None}

    assert dict(proof(scheme, claims).headers) == {
        "x-claim-a": "text, as it is",
        "x-claim-b": "5",
        "x-claim-c": "1.5",
        "x-claim-d": "true",
        "x-claim-e": '{"x":"ü"}',
        "x-claim-f": "admin,7,false",
        "x-claim-g": '["a,b","c"]',
    }
    assert scheme.tells == tuple(f"x-claim-{letter}" for letter in "abcdefghi")


@pytest.mark.parametrize(
    "name",
    [
        *("X-Consumer-Username", "x_consumer_id", "X-Credential-Identifier", "Host", "Cookie"),
        *("Content-Length", "Transfer-Encoding", "Connection", "TE", "Upgrade", "X-Request-Id"),
        *(
            "X-Forwarded-For",
            "x.forwarded.proto",
            "X-Envoy-Original-Path",
            "Authorization",
            ":path",
        ),
        *("Proxy-Authorization", "X Claim", "X-Claim\n", ""),
        *("X-Original-URL", "X_Rewrite_Url", "X-HTTP-Method-Override"),
    ],
)
def test_headers_that_no_claim_may_set(name: str) -> None:
    """Refused when the document is read, in every spelling."""
    with pytest.raises(ValueError, match=r"no claim may set|Expected `str`"):
        setting(claims_to_headers={"sub": name})


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"a": "x" * 8192}, "jack-key"),
        ({"a": "x" * 8193}, "claims_too_long"),
        ({"a": "x" * 4096, "b": "x" * 4096}, "jack-key"),
        ({"a": "x" * 4096, "b": "x" * 4097}, "claims_too_long"),
        ({"a": "é" * 1365}, "jack-key"),
        ({"a": "é" * 1366}, "claims_too_long"),
        ({"a": ["%"] * 1400}, "claims_too_long"),
        ({"c": "x" * 9000}, "jack-key"),
    ],
)
def test_claims_that_make_no_header(claims: dict[str, Any], expected: str) -> None:
    """As they travel, escapes included, they must leave room: a refusal, nothing is cut off."""
    scheme = setting(claims_to_headers={"a": "X-A", "b": "X-B"})

    assert outcome(scheme, sent(CLAIMS | claims)) == expected


def test_one_header_for_two_claims() -> None:
    """Which one would win?"""
    with pytest.raises(ValueError, match="named twice"):
        setting(claims_to_headers={"a": "X-Claim", "b": "x_claim"})


def test_notes() -> None:
    """What an operator may see: never the token, nor its signature."""
    claims = CLAIMS | {"nbf": NOW - 5, "secret": "s"}
    text = token(claims, kid="key\n1")
    found = dict(STRICT.notes(bearing(text)))

    assert found == {
        "credential": f"{len(text) + 7} characters in header authorization",
        "algorithm": "HS256",
        "key id": "'key\\n1'",
        "claim key": "jack-key",
        "claim exp": "2027-01-15T08:01:00+00:00",
        "claim nbf": "2027-01-15T07:59:55+00:00",
    }
    assert STRICT.notes(ask("/")) == ()
    assert STRICT.notes(ask("/", ("authorization", "Basic x"))) == (
        ("token", "Authorization of another scheme"),
    )
    assert "canonical base64url" in dict(STRICT.notes(bearing(f"+{text}")))["token"]
    beside = ask(f"/?jwt={text}", ("authorization", "Basic x"))
    assert dict(STRICT.notes(beside))["credential"] == f"{len(text)} characters in query jwt"


# -- hiding ----------------------------------------------------------------------------------------

STRICT_HIDING = setting(hide_credentials=True)
TOLERANT_HIDING = setting(hide_credentials=True, profile="apisix-3.18")
IN_HEADER = ("authorization", f"Bearer {GOOD}")
BASIC = ("authorization", "Basic Zm9vOmJhcg==")


@pytest.mark.parametrize(
    ("scheme", "request_", "expected"),
    [
        (STRICT, ask(f"/?jwt={GOOD}", IN_HEADER), ()),
        (STRICT_HIDING, ask("/", IN_HEADER), (Place("authorization", "jwt", "jwt"),)),
        (STRICT_HIDING, ask("/", ("authorization", GOOD)), (Place("authorization", "jwt", "jwt"),)),
        (STRICT_HIDING, ask("/", BASIC, IN_HEADER), (Place("authorization", "jwt", "jwt"),)),
        (STRICT_HIDING, ask("/"), (Place(None, "jwt", "jwt"),)),
        (STRICT_HIDING, ask(f"/?jwt={GOOD}", BASIC), (Place(None, "jwt", "jwt"),)),
        # APISIX hides what it read, whether it held or not.
        (TOLERANT_HIDING, ask("/"), ()),
        (TOLERANT_HIDING, ask("/", BASIC), ()),
        (TOLERANT_HIDING, ask("/?jwt=x", IN_HEADER), (Place("authorization", tolerant=True),)),
        (TOLERANT_HIDING, ask("/?jwt=x"), (Place(query="jwt", tolerant=True),)),
        (TOLERANT_HIDING, ask("/?jwt"), (Place(None, "jwt", "jwt", tolerant=True),)),
    ],
)
def test_what_is_hidden(scheme: JwtAuth, request_: Request, expected: tuple[Place, ...]) -> None:
    """Nothing unless it is asked for, and never another scheme's Authorization."""
    for proven in (True, False):
        assert scheme.hidden(request_, proven=proven) == expected
