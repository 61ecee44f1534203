"""Export gives back every field of the schemes of tokens, of credentials and of routes alike; what
is unfit is refused with its place before anything is written."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from authz import document
from authz.admin import plan as planning
from authz.admin.catalog import Catalog
from authz.plain import DocumentError
from authz.schemes.jwt import Jwt
from authz.schemes.jwt_auth import JwtAuth
from authz.schemes.jwt_draft import JwtDraft
from authz.schemes.jwt_plugin import JwtPlugin
from authz.schemes.jwt_user import JwtUserDraft
from tests.support.everything import credentials, exported
from tests.support.tokens import SECRET, jwk, pem, private_key, private_pem, rsa_key
from tests.support.valkey import Valkey
from tests.support.workers import catalog

RSA, EC = rsa_key(), private_key("ES256")
TEXT, ENCODED = SECRET.decode(), base64.b64encode(b"\xff" * 64).decode()
KEYS = {"keys": [jwk("RS256", RSA, kid="r", alg="PS384", use="sig"), jwk("ES256", EC)]}
#: Between them they have every field.
CREDENTIALS: list[dict[str, Any]] = [
    {
        "jwt-auth": {
            "key": "k 1/ü",
            "algorithm": "HS512",
            "secret": ENCODED,
            "base64_secret": True,
            "exp": 60,
            "lifetime_grace_period": 5,
            "issuer": "us",
            "audience": ["a", "b"],
        }
    },
    {"jwt-auth": {"key": "weak", "secret": "apinto", "allow_weak_secret": True, "issuer": ""}},
    {
        "jwt-auth": {
            "key": "pair",
            "algorithm": "EdDSA",
            "public_key": pem(private_key("EdDSA")),
            "private_key": private_pem(private_key("EdDSA")),
        }
    },
    {"jwt-auth": {"key": "set", "algorithm": "ES256", "jwks": KEYS}},
    {"jwt-auth": {"key": "one", "jwks": KEYS["keys"][1]}},
    {"jwt-auth": {"key": "url", "jwks_url": "https://issuer.test/keys?v=1"}},
    {
        "jwt": {
            "username": "John Doe",
            "algorithm": "HS384",
            "secret": "-_" * 64,
            "base64_secret": True,
            "validation_fields": [],
            "issuer": "us",
        }
    },
    {
        "jwt": {
            "username": "weak",
            "secret": "apinto",
            "allow_weak_secret": True,
            "validation_fields": ["nbf", "exp"],
        }
    },
    {"jwt": {"username": "public", "algorithm": "ES256", "public_key": pem(EC)}},
]
AUTHS: list[dict[str, Any]] = [
    {
        "jwt-auth": {
            "header": "X-Token",
            "query": None,
            "cookie": None,
            "realm": "r",
            "key_claim_name": "sub",
            "claims_to_verify": [],
            "issuer": "us",
            "audience": ["a"],
            "verify_iat": True,
            "require_jti_once": True,
            "claims_to_headers": {"sub": "X-Subject"},
            "store_in_ctx": True,
            "hide_credentials": True,
            "anonymous_consumer": "john",
            "profile": "apisix-3.9",
        }
    },
    {
        "jwt": {
            "position": "query",
            "name": "t",
            "username_path": "$['a']",
            "claims_to_headers": {"sub": "X-Sub"},
            "hide_credentials": True,
            "anonymous_consumer": "john",
            "profile": "alibaba",
        }
    },
    {
        "jwt-plugin": {
            "parameter": "t",
            "parameterLocation": "cookie",
            "jwks": KEYS["keys"],
            "claimParameters": [
                {"claimName": "a", "parameterName": "X-A", "location": "header"},
                {"claimName": "b", "parameterName": "b", "location": "query"},
            ],
            "preventJtiReplay": True,
            "bypassEmptyToken": True,
            "consumerClaim": "sub",
            "hide_credentials": True,
            "anonymous_consumer": "john",
            "profile": "alibaba",
        }
    },
    {"jwt-plugin": {"jwk": KEYS["keys"][0], "consumer": "john", "ignoreExpirationCheck": True}},
]


def written(credentials: list[dict[str, Any]], auths: list[dict[str, Any]]) -> str:
    entries = [{"id": f"c{number}", **each} for number, each in enumerate(credentials)]
    services = [
        {"id": f"s{number}", "hosts": [f"s{number}.test"], "auth": auth}
        for number, auth in enumerate(auths)
    ]
    consumers = [{"username": "john", "credentials": entries}]
    return json.dumps({"services": services, "consumers": consumers})


def test_the_examples_have_every_field() -> None:
    """So that a field which is new is not forgotten here."""
    for kind, type_, examples in (
        ("jwt-auth", JwtDraft, CREDENTIALS),
        ("jwt", JwtUserDraft, CREDENTIALS),
        ("jwt-auth", JwtAuth, AUTHS),
        ("jwt", Jwt, AUTHS),
        ("jwt-plugin", JwtPlugin, AUTHS),
    ):
        named = {name for example in examples for name in example.get(kind, {})}
        assert named == set(type_.__struct_encode_fields__)


def put(store: Catalog, text: str) -> int:
    """Apply; how much changed."""
    made = planning.plan(document.parse(text), store, at=1000.0)
    planning.apply(store, made)
    return len(made.lines)


def test_every_field_comes_back(store: Valkey) -> None:
    """Applied again it changes nothing; applied to an empty store it makes the same; it shows no
    secret."""
    target = catalog(store.url)
    put(target, written(CREDENTIALS, AUTHS))
    first, policy = credentials(target), target.policy()
    text = exported(target)

    assert put(target, text) == 0
    for secret in (TEXT, ENCODED, "apinto", "-_-_", "PRIVATE KEY"):
        assert secret not in text
    store.client().flushall()
    put(target, text)
    assert credentials(target) == first
    assert target.policy() == policy


@pytest.mark.parametrize(
    ("credential", "error"),
    [
        (
            {"jwt-auth": {"key": "k", "secret": pem(RSA)}},
            "jwt-auth.secret: the secret is a public",
        ),
        (
            {"jwt-auth": {"key": "k", "algorithm": "RS256", "public_key": pem(rsa_key(1024))}},
            "jwt-auth.public_key: an RSA key of 1024 bits: expected 2048 to 8192",
        ),
        (
            {"jwt-auth": {"key": "k", "algorithm": "RS256", "public_key": private_pem(RSA)}},
            "jwt-auth.public_key: a private key: give the public one",
        ),
        (
            {"jwt-auth": {"key": "k", "jwks": {"keys": [jwk("ES256", EC, alg="ES384")]}}},
            "jwt-auth.jwks: keys[0]: alg: not one for this kind of key",
        ),
        (
            {"jwt": {"username": "j", "algorithm": "ES384", "public_key": pem(EC)}},
            "jwt.public_key: not a key for ES384: its curve is secp256r1",
        ),
        (
            {"jwt": {"username": "j", "secret": "short"}},
            "jwt.secret: the secret has 5 bytes, HS256 needs 32",
        ),
        (
            {"jwt-plugin": {}},
            "jwt-plugin: its keys stand in the settings of a service or a route",
        ),
    ],
)
def test_unfit_credentials_are_refused_with_their_place(
    store: Valkey, credential: dict[str, Any], error: str
) -> None:
    """And nothing is written."""
    target = catalog(store.url)
    with pytest.raises(DocumentError) as caught:
        put(target, written([credential], []))

    assert str(caught.value).startswith(f"consumers[0].credentials[0].{error}")
    assert store.client().dbsize() == 0


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"jwk": jwk("RS256", rsa_key(1024))}, "jwk: an RSA key of 1024 bits"),
        ({"jwk": jwk("HS256", SECRET)}, "jwk: a secret: expected public keys only"),
        ({"jwks": [KEYS["keys"][1], KEYS["keys"][1] | {"use": "enc"}] * 2}, ""),
        ({"jwks": [KEYS["keys"][0]] * 2}, "jwks: two keys with one kid"),
        ({"jwks": []}, "jwks: no key in this set can verify a signature"),
        ({"jwks": {}}, "jwks: not a JSON Web Key"),
    ],
)
def test_unfit_keys_of_a_route(settings: dict[str, Any], error: str) -> None:
    """Said with the place as well; keys without an id may be many."""
    text = written([], [{"jwt-plugin": settings | {"consumer": "john"}}])
    if not error:
        document.parse(text)
        return
    with pytest.raises(DocumentError) as caught:
        document.parse(text)

    assert str(caught.value).startswith("services[0].auth.jwt-plugin")
    assert error in str(caught.value)
