"""What a stranger's request costs: no more than its length, whatever it looks like."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from authz.values import Answer, Body, Credential, Deny, Request
from tests.support.gateway import Gateway, ask
from tests.support.memory import Memory, MemoryLookup
from tests.support.tokens import private_pem, rsa_key

#: In seconds of this process: a linear reader takes a hundredth of it, a quadratic one ten times
#: as much.
MUCH = 0.25
#: Envoy takes no more of a header block.
HEADER = 60_000
DOCUMENT = """
services:
  - {id: strict, hosts: [strict], auth: {hmac-auth: {validate_request_body: true}}}
  - {id: lax, hosts: [lax], auth: {hmac-auth: {profile: apisix-3.18}}}
  - {id: legacy, hosts: [legacy], auth: {hmac-auth: {profile: apisix-3.9}}}
  - {id: digest, hosts: [digest], auth: {any: [{digest: {}}, {appcode: {app_code: HEADER_QUERY}}]}}
consumers:
  - username: alice
    credentials:
      - {id: h, hmac-auth: {key_id: k, secret_key: s}}
      - {id: d, digest: {app_key: k, app_secret: s}}
"""
GATEWAY = Gateway(DOCUMENT)
DATE = ("date", "Fri, 15 Jan 2027 08:00:00 GMT")
FORM = ("content-type", "application/x-www-form-urlencoded")
APP = [("x-ca-key", "k"), ("x-ca-signature", "x")]
OLD = [("x-hmac-access-key", "k"), ("x-hmac-signature", "x"), ("x-hmac-algorithm", "hmac-sha256")]
MANY = "&".join(f"{number}%41=%e4%b8%ad+" for number in range(999))


def junk(host: str, text: str) -> Request:
    return ask("/", ("authorization", (text * 16_000)[:16_000]), DATE, host=host)


def claiming(host: str, name: str, signed: str, *lines: tuple[str, str]) -> Request:
    """With a signature that says that it is of this key id and of these headers."""
    fields = f'keyId="{name}",algorithm="hmac-sha256",headers="{signed}",signature="x"'
    return ask("/", ("authorization", f"Signature {fields}"), *lines, host=host)


def form(data: bytes) -> Request:
    request = ask("/", *APP, FORM, method="POST", host="digest")
    return replace(request, body=Body(data, complete=True, exact=True))


@pytest.mark.parametrize(
    "request_",
    [
        *(
            junk(host, start + text)
            for host in ("strict", "lax")
            for start in ("Signature ", "Signature")
            for text in ("a" * 16_000, "a=" * 8_000, 'a="' * 8_000, '",' * 8_000, " " * 16_000, ",")
        ),
        junk("legacy", "hmac-auth-v1" + "#" * 16_000),
        *(
            claiming(host, "k", " ".join(["x-a"] * 64), DATE, ("x-a", "v" * HEADER))
            for host in ("strict", "lax")
        ),
        ask(
            "/", *OLD, ("x-hmac-signed-headers", "x-a;" * 64), ("x-a", "v" * HEADER), host="legacy"
        ),
        ask("/", *OLD, ("x-hmac-signed-headers", ";" * HEADER), host="legacy"),
        *(
            claiming("lax", "k", "date", ("date", text))
            for text in ("a" * HEADER, "," + " " * HEADER, "Fri " + " " * HEADER, "Fri," * 15_000)
        ),
        *(ask(f"/?{MANY}", *lines, host="digest") for lines in (APP, [])),
        *(ask("/", *APP, ("x-ca-signature-headers", t * HEADER), host="digest") for t in "n,"),
        *(form(part * 60_000) for part in (b"a", b"%", b"+", b"%41", b"\xff", b"=", b"&")),
        ask("/", ("authorization", "APPCODE " + "," * HEADER), host="digest"),
    ],
    ids=lambda request: request.host,
)
def test_no_request_costs_much(request_: Request) -> None:
    """Nobody needs a credential to send these."""
    started = time.process_time()
    decision = GATEWAY.decide(request_)

    assert isinstance(decision, Deny)
    assert time.process_time() - started < MUCH


class _Counting(MemoryLookup):
    """A store that counts what it is asked for."""

    asked: list[str]

    def find(self, kind: str, identifier: str) -> Credential | None:
        self.asked.append(identifier)
        return super().find(kind, identifier)


class Counting(Memory):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def within(self, tenant: str) -> MemoryLookup:
        lookup = _Counting(self, tenant)
        lookup.asked = self.asked
        return lookup


SIGNING = """
services: [{id: s, routes: [{id: s, match: {path: /token}, endpoint: jwt-sign}]}]
consumers: []
"""


@pytest.mark.parametrize(
    ("document", "request_", "longest"),
    [
        (DOCUMENT, lambda name: claiming("strict", name, "date", DATE), 256),
        (DOCUMENT, lambda name: claiming("lax", name, "date", DATE), 256),
        (
            DOCUMENT,
            lambda name: ask("/", ("x-hmac-access-key", name), *OLD[1:], host="legacy"),
            256,
        ),
        (DOCUMENT, lambda name: ask("/", ("x-ca-key", name), APP[1], host="digest"), 128),
        (SIGNING, lambda name: ask(f"/token?key={name}"), 1024),
    ],
)
def test_no_name_is_longer_than_a_credentials(document: str, request_: Any, longest: int) -> None:
    """The store is not asked for names that nobody can have: each would cost a read, and room in
    the memory of what is not there."""
    gateway = Gateway(document)
    gateway.memory = Counting()

    for length in (longest, longest + 1, 15_000):
        gateway.decide(request_("k" * length))
    assert gateway.memory.asked == ["k" * longest]


def test_a_token_costs_a_signature() -> None:
    """The sign endpoint loads a private key once: that takes longer than Envoy waits."""
    key = rsa_key(4096)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    fields = {"key": "k", "algorithm": "RS256", "public_key": public}
    credential = {"jwt-auth": fields | {"private_key": private_pem(key)}}
    consumers = [{"username": "alice", "credentials": [credential]}]
    document = SIGNING.replace("consumers: []", f"consumers: {json.dumps(consumers)}")
    gateway = Gateway(document)

    started = time.process_time()
    found = gateway.decide(ask("/token?key=k"))
    assert isinstance(found, Answer)
    assert found.status == 200
    assert time.process_time() - started < MUCH
