"""jwt-plugin by itself: a key, a route with its public half, and what is decided."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from authz.schemes.jwt_plugin import JwtPlugin
from authz.values import Allow, Deny, Proof, Request
from tests.support.gateway import NOW, Gateway, ask
from tests.support.tokens import jwk, rsa_key, token

KEY = rsa_key()
JWK = jwk("RS256", KEY, kid="k1", alg="RS256", use="sig")
CLAIMS: dict[str, Any] = {"sub": "ann", "exp": int(NOW) + 60}
#: What a set needs beside its keys.
WHOSE = {"consumer": "app"}


def signed(claims: dict[str, Any], **header: Any) -> str:
    return token(claims, KEY, "RS256", **({"kid": "k1"} | header))


GOOD = signed(CLAIMS)
FORGED = token(CLAIMS, rsa_key(name="other"), "RS256", kid="k1")


def setting(**fields: Any) -> JwtPlugin:
    return msgspec.convert({"jwk": JWK, **WHOSE} | fields, JwtPlugin)


def gateway(**fields: Any) -> Gateway:
    """A route with these settings, and consumers app, ann, bob and guest."""
    kept = {name: value for name, value in ({"jwk": JWK, **WHOSE} | fields).items() if value != ""}
    document = {
        "services": [{"id": "api", "auth": {"jwt-plugin": kept}}],
        "consumers": [{"username": name} for name in ("app", "ann", "bob", "guest")],
    }
    return Gateway(json.dumps(document))


def bearing(text: str, at: float = NOW) -> Request:
    return ask("/", ("authorization", f"bearer {text}"), at=at)


def outcome(made: Gateway, request: Request) -> str:
    found = made.decide(request)
    if isinstance(found, Allow):
        return found.identity.consumer.username
    assert isinstance(found, Deny)
    assert found.reason in JwtPlugin.reasons
    return found.reason


def proof(scheme: JwtPlugin, request: Request) -> Proof:
    found = scheme.authenticate(request, MEMORY)
    assert isinstance(found, Proof)
    return found


MEMORY = Gateway("services: []").memory.within("")
