"""Requests made on the spot are those that vendors publish, and the tokens are good tokens."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.conformance.case import Inexpressible
from tests.conformance.formats.apisix_generate import MOMENT, materialise
from tests.conformance.formats.weak import short_secret

SIGNED: dict[str, Any] = {
    "kind": "hmac-signature",
    "key_id": "john-key",
    "secret": "john-secret-key",
    "algorithm": "hmac-sha256",
    "headers_param": ["@request-target", "date"],
    "signing_lines": ["{key_id}", "{method} {path}", "date: {header:date}"],
    "date_offset_s": 0,
}
LEGACY: dict[str, Any] = {
    "kind": "hmac-v1",
    "access_key": "user-key",
    "secret": "my-secret-key",
    "algorithm": "hmac-sha256",
    "signed_headers": ["User-Agent", "x-custom-a"],
    "signing_lines": [
        *("{method}", "{path_only}", "{canonical_query}", "{access_key}", "{header:date}"),
        *("User-Agent:{header:user-agent}", "x-custom-a:{header:X-Custom-A}"),
    ],
    "carrier": "x-hmac-headers",
}
TOKEN: dict[str, Any] = {
    "kind": "jwt",
    "header": {"alg": "HS256"},
    "payload": {"key": "k", "exp": {"now_plus": 60}, "deep": [{"now_plus": -1}]},
    "signing_key": "0123456789abcdef0123456789abcdef",
    "place": {"in": "header", "name": "Authorization", "prefix": "Bearer "},
}
GET: dict[str, Any] = {"method": "GET", "path": "/get", "headers": {}}
HELLO: dict[str, Any] = {
    "method": "GET",
    "path": "/index.html?name=james&age=36",
    "headers": {"User-Agent": "curl/7.29.0", "x-custom-a": ["test", "other"]},
}


def test_apisix_samples() -> None:
    """From the documentation of hmac-auth, 3.11 and later, and up to 3.10."""
    made = materialise(GET, SIGNED, 1729531878)["headers"]
    assert made == {
        "Date": "Mon, 21 Oct 2024 17:31:18 GMT",
        "Authorization": 'Signature keyId="john-key",algorithm="hmac-sha256",'
        'headers="@request-target date",signature="ztFfl9w7LmCrIuPjRC/DWSF4gN6Bt8dBBz4y+u1pzt8="',
    }
    legacy = materialise(HELLO, LEGACY, 1611056000)["headers"]
    assert legacy["Date"] == "Tue, 19 Jan 2021 11:33:20 GMT"
    assert legacy["X-HMAC-SIGNATURE"] == "8XV1GB7Tq23OJcoz6wjqTs4ZLxr9DiLoY4PxzScWGYg="
    assert legacy["X-HMAC-SIGNED-HEADERS"] == "User-Agent;x-custom-a"
    hashed = materialise(HELLO, {**LEGACY, "carrier": "authorization-hash"}, 1611056000)["headers"]
    assert "Date" not in hashed
    assert hashed["Authorization"].split("#") == [
        *("hmac-auth-v1", "user-key", legacy["X-HMAC-SIGNATURE"], "hmac-sha256", legacy["Date"]),
        "User-Agent;x-custom-a",
    ]


def test_a_signatures_fields() -> None:
    changes = {
        "headers_param": None,
        "field_order": ["signature", "keyId", "algorithm", "headers"],
        "field_sep": ", ",
        "scheme": "signature",
        "scheme_sep": "  ",
        "omit_fields": ["algorithm"],
        "extra_fields": [["keyId", "jane"]],
        "signature_literal": "x",
        "sent_date_offset_s": -1,
        "date_format": "asctime",
    }
    made = materialise(GET, {**SIGNED, **changes}, 1729531878)["headers"]
    assert made == {
        "Date": "Mon Oct 21 17:31:17 2024",
        "Authorization": 'signature  signature="x", keyId="john-key", keyId="jane"',
    }


def private_key(algorithm: str) -> str:
    made: Any
    match algorithm[:2]:
        case "ES":
            made = ec.generate_private_key(ec.SECP256R1())
        case "Ed":
            made = ed25519.Ed25519PrivateKey.generate()
        case _:
            made = rsa.generate_private_key(65537, 2048)
    pem: bytes = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


@pytest.mark.parametrize("algorithm", ["HS256", "RS384", "PS256", "ES256", "EdDSA"])
def test_tokens_verify(algorithm: str) -> None:
    key = TOKEN["signing_key"] if algorithm == "HS256" else private_key(algorithm)
    recipe = {**TOKEN, "header": {"alg": algorithm, "kid": "1"}, "signing_key": key}
    scheme, token = materialise(GET, recipe, MOMENT)["headers"]["Authorization"].split(" ")
    assert scheme == "Bearer"
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": "1"}
    if algorithm != "HS256":
        key = jwt.algorithms.get_default_algorithms()[algorithm].prepare_key(key).public_key()
    claims = jwt.decode(token, key, algorithms=[algorithm], options={"verify_exp": False})
    assert claims == {"key": "k", "exp": MOMENT + 60, "deep": [MOMENT - 1]}


def test_places_of_a_token() -> None:
    request = {**GET, "path": "/get?a=1", "headers": {"cookie": "b=2", "authorization": "old"}}
    literal = {**TOKEN, "signature_literal": ""}
    in_header = materialise(request, literal, MOMENT)
    token = in_header["headers"]["Authorization"].removeprefix("Bearer ")
    assert token.endswith(".")
    assert "authorization" not in in_header["headers"]
    place = {"in": "query", "name": "jwt"}
    assert materialise(request, {**literal, "place": place}, MOMENT) == {
        **request,
        "path": f"/get?a=1&jwt={token}",
    }
    place = {"in": "cookie", "name": "jwt"}
    in_cookie = materialise(request, {**literal, "place": place}, MOMENT)["headers"]
    assert in_cookie == {"Cookie": f"b=2; jwt={token}", "authorization": "old"}


@pytest.mark.parametrize(
    "recipe",
    [
        {"kind": "magic"},
        {**SIGNED, "salt": "1"},
        {**SIGNED, "date_format": "stardate"},
        {**LEGACY, "carrier": "pigeon"},
        {**TOKEN, "place": {"in": "body", "name": "jwt"}},
    ],
)
def test_what_is_not_understood_is_said(recipe: dict[str, Any]) -> None:
    with pytest.raises(Inexpressible):
        materialise(GET, recipe, MOMENT)


def test_short_secrets() -> None:
    assert short_secret("a" * 31, "HS256", encoded=False)
    assert not short_secret("a" * 32, "HS256", encoded=False)
    assert short_secret("YWFh" * 10, "HS256", encoded=True)
    assert not short_secret("-_8A" * 11, "HS256", encoded=True)
    assert not short_secret("a", "RS256", encoded=False)
    assert not short_secret(None, "HS256", encoded=False)
