"""Hostile tokens, wherever one may stand: never an error, and never in but with a token that was
signed, byte for byte; and wrong ones beside other schemes."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from authz.denials import LIVENESS
from authz.server import wire
from authz.values import Allow, Body, Deny, Headers, Request
from tests.support.gateway import NOW, Gateway, ask
from tests.support.tokens import SECRET, SIGNERS, b64, jwk, pem, private_key, rsa_key, token

RSA, EC, STRANGER = rsa_key(), private_key("ES256"), rsa_key(name="stranger")
PUBLIC = jwk("RS256", RSA, kid="r", alg="RS256")
TOLD = {"a": "X-A", "b": "X-B"}
PLUGIN: dict[str, Any] = {
    "jwks": {"keys": [PUBLIC, jwk("ES256", EC)]},
    "consumerClaim": "key",
    "hide_credentials": True,
    "claimParameters": [
        {"claimName": claim, "parameterName": f"X-{claim}", "location": location}
        for claim in "ab"
        for location in ("header", "query")
    ],
}
AUTHS: dict[str, dict[str, Any]] = {
    "strict": {"jwt-auth": {"claims_to_headers": TOLD, "store_in_ctx": True}},
    "once": {"jwt-auth": {"require_jti_once": True, "verify_iat": True, "audience": ["us"]}},
    "lax": {"jwt-auth": {"profile": "apisix-3.18", "claims_to_headers": TOLD}},
    "old": {"jwt-auth": {"profile": "apisix-3.9", "hide_credentials": True}},
    "header": {"jwt": {"hide_credentials": True}},
    "query": {"jwt": {"position": "query", "name": "jwt", "username_path": "$.names[0]"}},
    "form": {"jwt": {"position": "body", "name": "jwt", "username_path": "$['user']['name']"}},
    "json": {"jwt": {"position": "body", "name": "jwt"}},
    "plugin": {"jwt-plugin": PLUGIN},
    "plugin-query": {
        "jwt-plugin": PLUGIN | {"parameterLocation": "query", "parameter": "jwt"},
    },
    "plugin-cookie": {
        "jwt-plugin": PLUGIN
        | {"parameterLocation": "cookie", "parameter": "jwt", "preventJtiReplay": True}
    },
}
JOHN = [
    {"id": "a", "jwt-auth": {"key": "john", "secret": SECRET.decode()}},
    {"id": "b", "jwt-auth": {"key": "set", "jwks": PLUGIN["jwks"], "lifetime_grace_period": 9}},
    {"id": "c", "jwt": {"username": "john", "secret": SECRET.decode()}},
    {"id": "d", "jwt": {"username": "set", "algorithm": "RS256", "public_key": pem(RSA)}},
]
GATEWAY = Gateway(
    json.dumps(
        {
            "services": [
                {"id": id, "hosts": [f"{id}.test"], "auth": auth} for id, auth in AUTHS.items()
            ],
            "consumers": [{"username": "john", "credentials": JOHN}, {"username": "set"}],
        }
    )
)


def carrying(place: str, text: str) -> Request:
    """A request with this text where the host of this name looks for a token."""
    host = f"{place}.test"
    if place.endswith("query"):
        return replace(ask(f"/?a=1&jwt={quote(text, safe='')}"), host=host)
    if place.endswith("cookie"):
        return replace(ask("/", ("cookie", f"x=y; jwt={text}")), host=host)
    if place == "form":
        return _posting(host, f"jwt={quote(text, safe='')}", "x-www-form-urlencoded")
    if place == "json":
        return _posting(host, json.dumps({"jwt": text}), "json")
    return replace(ask("/", ("authorization", f"Bearer {text}")), host=host)


def _posting(host: str, body: str, kind: str) -> Request:
    headers = Headers([("content-type", f"application/{kind}")])
    whole = Body(body.encode(), complete=True, exact=True)
    return replace(ask("/", method="POST"), host=host, headers=headers, body=whole)


# -- any token -------------------------------------------------------------------------------------

KEYS: list[tuple[str, Any]] = [
    ("HS256", SECRET),
    ("HS512", SECRET),
    ("RS256", RSA),
    ("PS256", RSA),
    ("ES256", EC),
    ("HS256", pem(RSA).encode()),
    ("HS256", json.dumps(PUBLIC).encode()),
    ("RS256", STRANGER),
]
_ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 1e308, -1e308, 10**99, NOW, NOW + 0.5, NOW - 1),
    *(253402300799, 253402300800, "", "a", "1", "é", "\r\nX: y", "\0", "\u2028", "x" * 9000),
    *([], {}, [1, "a"], ["a,b"], [[1]], {"name": "john"}, ["john"], "john", "set", "\U0001f600"),
]
_DEEP = st.integers(0, 40).map(lambda depth: json.loads("[" * depth + "1" + "]" * depth))
_NAMES = ("key", "name", "names", "user", "exp", "nbf", "iat", "iss", "aud", "jti", "a", "b")
_PARAMETERS = ("kid", "typ", "cty", "crit", "zip", "b64", "jku", "jwk", "x5u", "alg")
_VALUES = st.sampled_from(_ODD) | _DEEP


@st.composite
def tokens_of_ours(draw: st.DrawFn) -> str:
    """Signed with a key that some credential has, or might be taken for; with claims and a header
    that may be anything."""
    name = draw(st.sampled_from(["john", "set"]))
    claims: dict[str, Any] = {"key": name, "name": name, "names": [name], "user": {"name": name}}
    claims |= {"exp": NOW + 60, "jti": str(draw(st.integers())), "aud": "us"}
    claims |= draw(st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=2))
    algorithm, key = draw(st.sampled_from(KEYS))
    header = {"alg": algorithm, "typ": "JWT"}
    header |= draw(st.dictionaries(st.sampled_from(_PARAMETERS), _VALUES, max_size=1))
    return _signed(header, claims, algorithm, key)


def _signed(header: Any, claims: Any, algorithm: str, key: Any) -> str:
    signed = f"{b64(json.dumps(header))}.{b64(json.dumps(claims))}"
    # Not through `prepare_key`, which refuses to confuse a public key with a secret.
    return f"{signed}.{b64(SIGNERS[algorithm].sign(signed.encode(), key))}"


_PIECES = st.sampled_from(
    [*".=-_+/ ,;\"'%&\t\x00\x7f", "é", "", "..", "A", "Bearer ", "b64=", "\n"]
)
_EDITS = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 3), _PIECES), max_size=2)


def changed(text: str, edits: list[tuple[int, int, str]]) -> str:
    for at, gone, put in edits:
        place = at % (len(text) + 1)
        text = text[:place] + put + text[place + gone :]
    return text


@settings(max_examples=400)
@given(st.sampled_from(sorted(AUTHS)), tokens_of_ours(), _EDITS)
def test_no_token_is_an_error(place: str, text: str, edits: list[tuple[int, int, str]]) -> None:
    """A refusal with a reason, or an answer that Envoy can take; changed tokens are refused."""
    made = changed(text, edits)
    request = carrying(place, made)
    verdict = GATEWAY.verdict(request)

    wire.write(verdict).SerializeToString()
    if isinstance(verdict.decision, Allow):
        assert made.removeprefix("Bearer ") == text
        assert verdict.decision.identity.consumer.username in ("john", "set")
        algorithm = json.loads(base64.urlsafe_b64decode(text.partition(".")[0] + "=="))["alg"]
        assert algorithm in ("HS256", "RS256", "PS256", "ES256")
    else:
        assert isinstance(verdict.decision, Deny)
        assert verdict.route is not None
        [scheme] = verdict.route.schemes
        assert verdict.decision.reason in {*scheme.reasons, *LIVENESS}
    [scheme] = verdict.route.schemes if verdict.route else ()
    signature = made.rpartition(".")[2]
    assert len(signature) < 40 or not any(signature in told for _, told in scheme.notes(request))


@pytest.mark.parametrize("place", sorted(AUTHS))
def test_a_good_token_is_taken_everywhere(place: str) -> None:
    """Else the test above would show nothing."""
    claims = {"key": "set", "name": "set", "names": ["set"], "user": {"name": "set"}, "aud": "us"}
    text = token(claims | {"exp": NOW + 60, "jti": place}, RSA, "RS256", kid="r")
    found = GATEWAY.decide(carrying(place, text))

    assert isinstance(found, Allow)
    assert found.identity.scheme in AUTHS[place]


@pytest.mark.parametrize("place", sorted(AUTHS))
def test_no_public_key_signs(place: str) -> None:
    """With HMAC under a public key in any spelling, whatever credential the token names."""
    texts = [pem(RSA), pem(RSA).strip(), pem(RSA).replace("\n", ""), json.dumps(PUBLIC)]
    texts += [PUBLIC["n"], "".join(pem(RSA).splitlines()[1:-1]), "", "\0"]
    for text, name, kid in itertools.product(texts, ("john", "set"), ("r", None)):
        claims = {"key": name, "name": name, "names": [name], "user": {"name": name}, "aud": "us"}
        for algorithm in ("HS256", "HS384", "HS512"):
            header = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid else {})
            forged = _signed(
                header, claims | {"exp": NOW + 60, "jti": "1"}, algorithm, text.encode()
            )
            assert isinstance(GATEWAY.decide(carrying(place, forged)), Deny)


# -- beside other schemes --------------------------------------------------------------------------

_BYPASS = {"jwk": PUBLIC, "consumer": "john", "bypassEmptyToken": True}
_BYPASS |= {"anonymous_consumer": "guest"}
#: Schemes, and where each looks.
BESIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "basic": ("authorization", {"basic-auth": {}}),
    "key": ("authorization", {"key-auth": {"header": "Authorization"}}),
    "hmac": ("authorization", {"hmac-auth": {}}),
    "jwt-auth": ("authorization query cookie", {"jwt-auth": {}}),
    "jwt": ("authorization", {"jwt": {}}),
    "jwt query": ("query", {"jwt": {"position": "query", "name": "jwt"}}),
    "plugin": ("authorization", {"jwt-plugin": _BYPASS}),
    "plugin cookie": (
        "cookie",
        {"jwt-plugin": _BYPASS | {"parameterLocation": "cookie", "parameter": "jwt"}},
    ),
    "plugin query": (
        "query",
        {"jwt-plugin": _BYPASS | {"parameterLocation": "query", "parameter": "jwt"}},
    ),
    "anybody": ("", {"key-auth": {"anonymous_consumer": "guest"}}),
}
WRONG = token({"key": "john", "name": "john", "exp": NOW + 60}, b"wrong" * 8)
FORGED = token({"key": "john", "exp": NOW + 60}, STRANGER, "RS256", kid="r")
_AUTHORIZATIONS = (
    *("", "Bearer", "Bearer ", "Bearer x", f"Bearer {WRONG}", f"bEARER {FORGED}", WRONG, "x"),
    *(f"Bearer\t{FORGED}", f"Bearer {FORGED},Basic YTpi", 'Bearer token="x"', f"JWT {FORGED}"),
    *("Basic YTpi", "Basic x", 'Signature keyId="x",signature="x"', "Digest x=y", "Bearer=x"),
)
_SENT: list[tuple[str, Request]] = [
    *(
        ("authorization", ask("/", ("authorization", value), exact=exact))
        for value in _AUTHORIZATIONS
        for exact in (True, False)
    ),
    *(
        ("cookie", ask("/", ("cookie", value)))
        for value in ("jwt", "jwt=", "a=b; jwt=x", f"jwt={FORGED}", f'jwt="{FORGED}"')
    ),
    *(
        ("query", ask(f"/?{query}"))
        for query in ("jwt", "jwt=", "jwt=x", "jwt=%zz", f"jwt={FORGED}", f"a&jwt=Bearer+{WRONG}")
    ),
]


@pytest.mark.parametrize("names", list(itertools.permutations(BESIDE, 2)), ids=" then ".join)
def test_a_wrong_credential_is_no_anonymous_call(names: tuple[str, ...]) -> None:
    """Where any scheme of a route looks, what stands there must hold, in whatever order they are,
    also on routes that let in who sends nothing."""
    document = {
        "services": [{"id": "api", "auth": {"any": [BESIDE[name][1] for name in names]}}],
        "consumers": [{"username": "john"}, {"username": "guest"}],
    }
    made = Gateway(json.dumps(document))
    looked = " ".join(BESIDE[name][0] for name in names).split()
    open_ = any(name.startswith(("plugin", "anybody")) for name in names)

    for where, request in _SENT:
        found = made.decide(request)
        if where in looked or not open_:
            assert isinstance(found, Deny)
        else:
            assert isinstance(found, Allow)
            assert found.identity.consumer.username == "guest"
            assert found.identity.credential is None
    assert isinstance(made.decide(ask("/")), Allow) is open_
