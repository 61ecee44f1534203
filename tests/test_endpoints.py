"""The endpoint that signs tokens: who gets one, what it says, and that it verifies."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from authz import document
from authz.admin.policy import warnings
from authz.values import Allow, Answer, Deny
from tests.support.gateway import NOW, Gateway, ask

SECRET = "0123456789abcdef0123456789abcdef"
_EC = ec.generate_private_key(ec.SECP256R1())
PRIVATE = _EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = _EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
DOCUMENT = f"""
services:
  - id: api
    auth: {{jwt-auth: {{}}}}
    routes:
      - {{id: ip, match: {{path: /ip}}}}
      - {{id: sign, match: {{path: /api7/plugin/jwt/sign}}, endpoint: jwt-sign}}
      - {{id: own, match: {{path: /tokens}}, endpoint: jwt-sign, auth: {{key-auth: {{}}}}}}
consumers:
  - username: john
    credentials:
      - {{id: hs, jwt-auth: {{key: john-key, secret: {SECRET}, exp: 30}}}}
      - {{id: es, jwt-auth: {{key: john-es, algorithm: ES256, public_key: {json.dumps(PUBLIC)},
          private_key: {json.dumps(PRIVATE)}}}}}
      - {{id: pub, jwt-auth: {{key: john-pub, algorithm: ES256, public_key: {json.dumps(PUBLIC)}}}}}
      - {{id: out, disabled: true, jwt-auth: {{key: john-off, secret: {SECRET}}}}}
      - {{id: key, key-auth: {{key: johns-key}}}}
  - username: dis
    disabled: true
    credentials: [{{id: d, jwt-auth: {{key: dis-key, secret: {SECRET}}}}}]
"""
GATEWAY = Gateway(DOCUMENT)
PATHS = ("/apisix/plugin/jwt/sign", "/api7/plugin/jwt/sign")


def answer(target: str, method: str = "GET", *headers: tuple[str, str]) -> Any:
    return GATEWAY.decide(ask(target, *headers, method=method))


def signed(target: str) -> str:
    found = answer(target)
    assert isinstance(found, Answer)
    assert (found.status, found.reason) == (200, "token_signed")
    assert found.body not in repr(found)
    return found.body


@pytest.mark.parametrize("path", PATHS)
def test_a_token_that_passes(path: str) -> None:
    """On both paths, whichever of the two the route names."""
    token = signed(f"{path}?key=john-key")

    decision = answer("/ip", "GET", ("authorization", token))
    assert isinstance(decision, Allow)
    assert decision.identity.consumer.username == "john"
    claims = jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False})
    assert claims == {"key": "john-key", "exp": NOW + 30}
    assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "HS256"}


def test_a_private_key_signs_as_well() -> None:
    """Where the credential has one; its tokens live a day unless it says otherwise."""
    token = signed(f"{PATHS[0]}?key=john-es")

    claims = jwt.decode(token, PUBLIC, ["ES256"], options={"verify_exp": False})
    assert claims == {"key": "john-es", "exp": NOW + 86400}


def test_a_payload_cannot_choose_key_and_expiry() -> None:
    """Its other claims are taken over."""
    payload = quote(json.dumps({"key": "admin", "exp": 9999999999, "sub": "ü", "n": [1, None]}))
    token = signed(f"{PATHS[0]}?key=john-key&payload={payload}")

    claims = jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False})
    assert claims == {"key": "john-key", "exp": NOW + 30, "sub": "ü", "n": [1, None]}


@pytest.mark.parametrize(
    ("query", "method", "status", "reason"),
    [
        ("?key=john-key", "POST", 404, "sign_not_a_get"),
        ("", "GET", 400, "sign_key_missing"),
        ("?key=", "GET", 400, "sign_key_missing"),
        ("?key=john-key&key=john-es", "GET", 400, "sign_key_missing"),
        ("?key=%ff", "GET", 400, "sign_key_missing"),
        ("?key=nobody", "GET", 404, "sign_key_unknown"),
        ("?key=john-pub", "GET", 404, "sign_key_unknown"),
        ("?key=john-off", "GET", 404, "sign_key_unknown"),
        ("?key=dis-key", "GET", 404, "sign_key_unknown"),
        ("?key=johns-key", "GET", 404, "sign_key_unknown"),
        ("?key=john-key&payload=[]", "GET", 400, "sign_payload_malformed"),
        ("?key=john-key&payload={", "GET", 400, "sign_payload_malformed"),
        ('?key=john-key&payload={"a":1,"a":2}', "GET", 400, "sign_payload_malformed"),
    ],
)
def test_who_gets_none(query: str, method: str, status: int, reason: str) -> None:
    """An empty body, as APISIX, and a reason for the operator."""
    assert answer(f"{PATHS[0]}{query}", method) == Answer(reason, status)


def test_it_is_guarded_by_its_own_auth_alone() -> None:
    """The service's, which wants a token, is not asked; its own is."""
    refused = answer("/tokens?key=john-key")

    assert isinstance(refused, Deny)
    assert refused.reason == "missing_key"
    found = answer("/tokens?key=john-key", "GET", ("apikey", "johns-key"))
    assert isinstance(found, Answer)
    assert found.status == 200


def test_it_is_off_unless_a_route_exposes_it() -> None:
    """Elsewhere its paths are paths like any other."""
    gateway = Gateway(DOCUMENT.replace(", endpoint: jwt-sign", ""))

    decision = gateway.decide(ask(f"{PATHS[1]}?key=john-key"))
    assert isinstance(decision, Deny)


def test_apply_warns_of_one_that_nobody_guards() -> None:
    """With its place and the mend."""
    [warning] = warnings(document.parse(DOCUMENT), lambda *_: True)

    assert warning.startswith("services[0].routes[1]: jwt-sign is open")


GUARDS = """
services:
  - id: api
    routes: [{id: sign, endpoint: jwt-sign, auth: AUTH}]
consumers: [{username: guest}]
"""
GUESTS = "{key-auth: {anonymous_consumer: guest}}"


@pytest.mark.parametrize(
    ("auth", "warned"),
    [
        ("{key-auth: {}}", False),
        (GUESTS, True),
        (f"{{any: [{{basic-auth: {{}}}}, {GUESTS}]}}", True),
        (f"{{all: [{{basic-auth: {{}}}}, {GUESTS}]}}", False),
        ("{appcode: {app_code: DISABLE, anonymous_consumer: guest}}", True),
    ],
)
def test_apply_warns_of_a_guard_that_lets_anybody_in(auth: str, warned: bool) -> None:
    """An anonymous consumer guards nothing."""
    found = list(warnings(document.parse(GUARDS.replace("AUTH", auth)), lambda *_: True))

    assert [w.startswith("services[0].routes[0]: jwt-sign is open") for w in found] == [
        True
    ] * warned
