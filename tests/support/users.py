"""jwt by itself: a route, a user whose tokens name John Doe, and what is decided."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from authz.schemes.jwt import Jwt
from authz.values import Allow, Body, Deny, Headers, Request
from tests.support.gateway import NOW, Gateway, ask
from tests.support.tokens import SECRET, token

CLAIMS: dict[str, Any] = {"name": "John Doe", "exp": int(NOW) + 60}
GOOD = token(CLAIMS)
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def gateway(settings: dict[str, Any] | None = None, **credential: Any) -> Gateway:
    """A route with these settings, and john, whose tokens name John Doe."""
    fields = {"username": "John Doe", "secret": SECRET.decode()} | credential
    kept = {name: value for name, value in fields.items() if value is not None}
    document = {
        "services": [{"id": "api", "auth": {"jwt": settings or {}}}],
        "consumers": [{"username": "john", "credentials": [{"id": "app", "jwt": kept}]}],
    }
    return Gateway(json.dumps(document))


def setting(**fields: Any) -> Jwt:
    return msgspec.convert(fields, Jwt)


def bearing(text: str, at: float = NOW) -> Request:
    return ask("/", ("authorization", f"Bearer {text}"), at=at)


def outcome(made: Gateway, request: Request) -> str:
    """Who was let in, or why nobody was."""
    found = made.decide(request)
    if isinstance(found, Allow):
        return found.identity.consumer.username
    assert isinstance(found, Deny)
    return found.reason


def posting(body: str | bytes, kind: str, **more: Any) -> Request:
    """A request with a body."""
    data = body.encode() if isinstance(body, str) else body
    headers = Headers([("content-type", kind), ("content-length", str(len(data)))])
    whole = Body(data, complete=more.pop("complete", True), exact=more.pop("exact", True))
    return msgspec.structs.replace(ask("/", method="POST"), headers=headers, body=whole)
