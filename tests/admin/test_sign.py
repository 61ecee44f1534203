"""`authz sign`: for every scheme a curl line that the service lets in."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import RSAAlgorithm

from authz.admin import described
from authz.schemes import SCHEMES
from authz.values import Allow
from tests.admin.test_commands import Shell
from tests.support.gateway import Gateway
from tests.support.valkey import Valkey

SECRET = "0123456789abcdef0123456789abcdef"
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = _RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = _RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
JWK = {**json.loads(RSAAlgorithm.to_jwk(_RSA.public_key())), "alg": "RS256"}
SETTINGS: dict[str, dict[str, object]] = {
    "hmac-auth": {"validate_request_body": True},
    "jwt-plugin": {"jwk": JWK, "consumer": "john"},
}
DOCUMENT = {
    "services": [
        {"id": kind, "hosts": [f"{kind}.test"], "auth": {kind: SETTINGS.get(kind, {})}}
        for kind in SCHEMES
    ],
    "consumers": [
        {
            "username": "john",
            "credentials": [
                {"id": "k", "key-auth": {"key": "johns-key"}},
                {"id": "b", "basic-auth": {"username": "john", "password": "pass word"}},
                {"id": "j", "jwt-auth": {"key": "john-key", "secret": SECRET}},
                {
                    "id": "rs",
                    "jwt-auth": {"key": "john-rs", "algorithm": "RS256", "public_key": PUBLIC},
                },
                {"id": "u", "jwt": {"username": "john", "algorithm": "HS256", "secret": SECRET}},
                {"id": "h", "hmac-auth": {"key_id": "john-id", "secret_key": SECRET}},
                {"id": "a", "appcode": {"code": "3F2504E04F8911D39A0C0305E82C3301"}},
                {"id": "d", "digest": {"app_key": "203753385", "app_secret": SECRET}},
            ],
        }
    ],
}
GIVEN = {
    "key-auth": ["-c", "key=johns-key"],
    "basic-auth": ["-c", "username=john", "-c", "password=pass word"],
    "jwt-auth": ["--consumer", "john", "--credential", "j"],
    "jwt": ["--consumer", "john"],
    "jwt-plugin": ["--private-key", "private.pem"],
    "hmac-auth": ["--consumer", "john"],
    "appcode": ["-c", "code=@code"],
    "digest": ["--consumer", "john"],
}
REQUESTS = [
    ["http://{kind}.test/x?b=2&a=%20"],
    ["--", "curl", "-X", "PUT", "-H", "X-Extra: 1", "-d", "a=1&b=ü", "http://{kind}.test/x"],
    ["--", "curl", "--json", '{{"a": "it\'s"}}', "http://{kind}.test/x"],
]


@pytest.fixture
def shell(store: Valkey, tmp_path: Path) -> Shell:
    made = Shell(tmp_path, store.url)
    made.run("keyring", "create", "ring")
    (tmp_path / "gateway.yaml").write_text(json.dumps(DOCUMENT))
    (tmp_path / "private.pem").write_bytes(PRIVATE)
    (tmp_path / "code").write_text("3F2504E04F8911D39A0C0305E82C3301\n")
    made.run("apply", "gateway.yaml")
    return made


def test_every_scheme_can_be_signed_for() -> None:
    """None is forgotten."""
    assert set(GIVEN) == set(SCHEMES)


def test_a_ready_line_for_every_scheme(shell: Shell) -> None:
    """What it prints is let in, as it stands and whatever the request is."""
    at = "2027-01-15T08:00:00Z"
    for kind, given in GIVEN.items():
        for request in REQUESTS:
            # One gateway each: a nonce is good for once.
            gateway = Gateway(json.dumps(DOCUMENT))
            words = [word.format(kind=kind) for word in request]
            line = shell.run("sign", kind, "--at", at, *given, *words)

            decision = gateway.decide(described.curl(shlex.split(line), 1_800_000_000.0).request)

            assert isinstance(decision, Allow), (line, decision)
            assert decision.identity.consumer.username == "john"


def test_the_string_to_sign_on_request(shell: Shell) -> None:
    """On standard error, so that the line can be taken as it is."""
    shell.run("sign", "digest", "--consumer", "john", "--string-to-sign", "http://h/x?b=1&a=2")
    # The helper gives standard output; a failure gives standard error.
    told = shell.run("sign", "key-auth", "--consumer", "john", "http://h/x", status=2)

    assert "only a digest of this key: give it with -c key=" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no-such", "http://h/"], "no-such"),
        (["hmac-auth", "http://h/"], "key_id"),
        (["hmac-auth", "-c", "key_id", "http://h/"], "NAME=VALUE"),
        (["jwt-auth", "--consumer", "john", "http://h/"], "--credential"),
        (["jwt-auth", "--consumer", "nobody", "http://h/"], "nobody"),
        (["jwt-plugin", "http://h/"], "--private-key"),
        (["digest", "--consumer", "john", "--credential", "k", "http://h/"], "key-auth"),
        (["basic-auth", "-c", "username=a:b", "-c", "password=x", "http://h/"], "colons"),
    ],
)
def test_what_is_missing_is_said(shell: Shell, words: list[str], told: str) -> None:
    """In one line, with the mend."""
    assert told in shell.run("sign", *words, status=2)
