"""Callers with addresses, asked of a document where guesses are counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from authz import signing
from authz.access.guessing import Guesses
from authz.pipeline import decide
from authz.values import Allow, Answer, Deny, Request
from tests.support.checks import basic
from tests.support.gateway import NOW, Gateway, ask

SECRET = "0123456789abcdef0123456789abcdef"
HERE, THERE = "192.0.2.1", "198.51.100.7"
PASSWORD, TOKEN, HMAC, DIGEST, KEY = (
    "basic.test",
    "jwt.test",
    "hmac.test",
    "digest.test",
    "key.test",
)
DOCUMENT = f"""
services:
  - {{id: basic, hosts: [basic.test], auth: {{basic-auth: {{}}}}, access: ACCESS}}
  - {{id: key, hosts: [key.test], auth: {{key-auth: {{}}}}, access: ACCESS}}
  - {{id: jwt, hosts: [jwt.test], auth: {{jwt-auth: {{}}}}, access: ACCESS}}
  - {{id: hmac, hosts: [hmac.test], auth: {{hmac-auth: {{}}}}, access: ACCESS}}
  - {{id: digest, hosts: [digest.test], auth: {{digest: {{}}}}, access: ACCESS}}
  - id: guest
    hosts: [guest.test]
    auth: {{basic-auth: {{profile: apisix-3.18, anonymous_consumer: guest}}}}
  - id: sign
    hosts: [sign.test]
    routes: [{{id: sign, match: {{}}, endpoint: jwt-sign}}]
consumers:
  - username: alice
    credentials:
      - {{id: b, basic-auth: {{username: alice, password: right}}}}
      - {{id: k, key-auth: {{key: alice-key}}}}
      - {{id: j, jwt-auth: {{key: alice, secret: {SECRET}}}}}
      - {{id: h, hmac-auth: {{key_id: alice, secret_key: {SECRET}}}}}
      - {{id: d, digest: {{app_key: alice, app_secret: {SECRET}}}}}
  - {{username: bob, credentials: [{{id: k, key-auth: {{key: bob-key}}}}]}}
  - username: gone
    disabled: true
    credentials: [{{id: b, basic-auth: {{username: gone, password: right}}}}]
  - {{username: guest}}
"""


class Guarded:
    """A document in memory, and what failed."""

    def __init__(self, access: str = "{}", guesses: Guesses | None = None) -> None:
        self.gateway = Gateway(DOCUMENT.replace("ACCESS", access))
        self.guesses = guesses or Guesses()

    def decision(self, request: Request, address: str = HERE, at: float = NOW) -> Any:
        sent = replace(request, address=address, at=at)
        return decide(sent, self.gateway.routes, self.gateway.memory, self.guesses).decision

    def ask(self, request: Request, address: str = HERE, at: float = NOW) -> int:
        """The status."""
        found = self.decision(request, address, at)
        if isinstance(found, Allow):
            return 200
        assert isinstance(found, Deny | Answer)
        return found.status

    def all(self, requests: Iterable[Request], address: str = HERE, at: float = NOW) -> list[int]:
        return [self.ask(request, address, at) for request in requests]


def password(text: str, user: str = "alice", host: str = PASSWORD) -> Request:
    return ask("/", basic(user, text), host=host)


def passwords(count: int, user: str = "alice", host: str = PASSWORD) -> Iterator[Request]:
    """Wrong ones, none of them twice."""
    return (password(f"wrong-{number}", user, host) for number in range(count))


def key(text: str) -> Request:
    return ask("/", ("apikey", text), host=KEY)


def keys(count: int, start: int = 0) -> Iterator[Request]:
    return (key(f"unknown-{number}") for number in range(start, start + count))


def _lower(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers]


def token(user: str, number: int, secret: str = "another" * 8, algorithm: Any = "HS256") -> Request:
    claims = {"key": user, "number": number}
    made = signing.sign_jwt(claims, key=secret, at=NOW, algorithm=algorithm)
    return ask("/", *_lower(made.headers), host=TOKEN)


def signature(user: str, number: int, secret: str = "another", at: float = NOW) -> Request:
    target = f"/{number}"
    made = signing.sign_hmac_auth("GET", target, key_id=user, secret=secret, at=at)
    return ask(target, *_lower(made.headers), host=HMAC)


def digest(user: str, number: int, secret: str = "another") -> Request:
    target = f"/{number}"
    made = signing.sign_digest("GET", target, app_key=user, app_secret=secret, at=NOW)
    return ask(target, *_lower(made.headers), host=DIGEST)
