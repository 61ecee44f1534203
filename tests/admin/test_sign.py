"""`authz sign`: for every scheme a curl line that the service lets in."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import RSAAlgorithm
from typer.testing import CliRunner, Result

from authz import signing
from authz.admin import described
from authz.cli import app
from authz.schemes import SCHEMES
from authz.values import Allow
from tests.support.gateway import Gateway
from tests.support.valkey import Valkey
from tests.support.workers import RING, apply

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
    "jwt-plugin": ["--private-key", "{here}/private.pem"],
    "hmac-auth": ["--consumer", "john", "--signed-header", "digest"],
    "appcode": ["-c", "code=@{here}/code"],
    "digest": ["--consumer", "john"],
}
REQUESTS = [
    ["http://{kind}.test/x?b=2&a=%20"],
    ["--", "curl", "-X", "PUT", "-H", "X-Extra: 1", "-d", "a=1&b=ü", "http://{kind}.test/x"],
    ["--", "curl", "--json", '{"a": "it\'s"}', "http://{kind}.test/x"],
    ["--", "curl", "-H", "Host: {kind}.test", "-H", "X-Empty;", "-d", "@{here}/at", "http://h/x"],
    ["--", "curl", "--data-raw", "@{here}/at", "http://{kind}.test/x"],
]


#: No text in any encoding that a terminal has.
BINARY = b"\x00\xff\xfe'\n"

#: Runs `authz sign` with these words in this process; (exit status, output, standard error).
Sign = Callable[..., Result]


@pytest.fixture(scope="module")
def sign(shared_valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Sign:
    directory = tmp_path_factory.mktemp("sign")
    apply(shared_valkey.url, json.dumps(DOCUMENT))
    (directory / "private.pem").write_bytes(PRIVATE)
    (directory / "code").write_text("3F2504E04F8911D39A0C0305E82C3301\n")
    (directory / "at").write_text("@code")
    (directory / "binary").write_bytes(BINARY)
    environment = {"AUTHZ_REDIS_URL": shared_valkey.url, "AUTHZ_KEYRING": RING}

    def run(*words: str) -> Result:
        here = [word.replace("{here}", str(directory)) for word in words]
        return CliRunner().invoke(app, ["sign", *here], env=environment)

    return run


def test_every_scheme_can_be_signed_for() -> None:
    """None is forgotten."""
    assert set(GIVEN) == set(SCHEMES)


def test_a_ready_line_for_every_scheme(sign: Sign) -> None:
    """What it prints is let in, as it stands and whatever the request is."""
    at = "2027-01-15T08:00:00Z"
    for kind, given in GIVEN.items():
        for request in REQUESTS:
            # One gateway each: a nonce is good for once.
            gateway = Gateway(json.dumps(DOCUMENT))
            words = [word.replace("{kind}", kind) for word in request]
            done = sign(kind, "--at", at, *given, *words)
            assert done.exit_code == 0, done.exception

            line = shlex.split(done.stdout)
            decision = gateway.decide(described.curl(line, 1_800_000_000.0).request)

            assert isinstance(decision, Allow), (line, decision)
            assert decision.identity.consumer.username == "john"


def test_the_string_to_sign_on_request(sign: Sign) -> None:
    """On standard error, so that the line can be taken as it is."""
    done = sign("digest", "--consumer", "john", "--string-to-sign", "http://h/x?b=1&a=2")

    assert done.stdout.startswith("curl -i ")
    assert done.stderr.startswith("GET\n")
    assert done.stderr.endswith("/x?a=2&b=1\n")
    assert SECRET not in done.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no-such", "http://h/"], "no-such"),
        (["hmac-auth", "http://h/"], "secret_key is missing"),
        (["hmac-auth", "-c", "key_id", "http://h/"], "NAME=VALUE"),
        (["jwt-auth", "--consumer", "john", "http://h/"], "--credential"),
        (["jwt-auth", "--consumer", "nobody", "http://h/"], "nobody"),
        (["jwt-plugin", "http://h/"], "--private-key"),
        (["key-auth", "--consumer", "john", "http://h/"], "only a digest of this key"),
        (["digest", "--consumer", "john", "--credential", "k", "http://h/"], "key-auth"),
        (["basic-auth", "-c", "username=a:b", "-c", "password=x", "http://h/"], "colons"),
        (["hmac-auth", "--consumer", "john", "--algorithm", "HS256", "http://h/"], "hmac-sha256"),
        (["hmac-auth", "--legacy", "--consumer", "john", "--algorithm", "x", "http://h/"], "sha1"),
        (["digest", "--consumer", "john", "--algorithm", "hmac-sha256", "http://h/"], "HmacSHA1"),
        (["jwt", "--consumer", "john", "--lifetime", "inf", "http://h/"], "lifetime"),
        (["jwt", "--consumer", "john", "--claim", "x=NaN", "http://h/"], "not JSON compliant"),
        (["jwt-plugin", "--private-key", "{here}/binary", "http://h/"], "not a key for RS256"),
        (["digest", "--consumer", "john", "http://[/"], "URL"),
    ],
)
def test_what_is_missing_is_said(sign: Sign, words: list[str], told: str) -> None:
    """With the mend."""
    assert told in str(sign(*words).exception)


def test_a_body_that_no_line_can_hold(sign: Sign) -> None:
    """Is piped into curl, byte for byte."""
    done = sign("hmac-auth", "--consumer", "john", "curl --data-binary @{here}/binary http://h/x")
    assert done.exit_code == 0, done.exception
    echo, decode, line = done.stdout.split(" | ")

    assert (echo.split()[0], decode) == ("echo", "base64 -d")
    assert base64.b64decode(echo.split()[1]) == BINARY
    assert shlex.split(line)[-3:] == ["--data-binary", "@-", "http://h/x"]
    assert f"digest: {signing.hmac_auth.digest(BINARY)}" in line.replace("Digest", "digest")


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["key-auth", "-c", "key=k\udcff", "--query", "apikey", "http://h/x"], b"?apikey=k%FF"),
        (["key-auth", "-c", "key=k\udcff", "http://h/x"], b"'apikey: k\xff'"),
        (["basic-auth", "-c", "username=u", "-c", "password=\udcff", "http://h/x"], b"Basic dTr/"),
        (["digest", "--consumer", "john", "http://\udcff@h/\udcff?a"], b"'http://h/\xff?a'"),
    ],
)
def test_bytes_that_are_no_text(sign: Sign, words: list[str], printed: bytes) -> None:
    """As a terminal passes them on, so are they printed."""
    done = sign(*words, "--string-to-sign")

    assert done.exit_code == 0, done.exception
    assert printed in done.stdout_bytes


def test_what_curl_would_leave_out_is_kept(sign: Sign) -> None:
    """A header without a value, and a host that is not the URL's."""
    done = sign("digest", "--consumer", "john", "curl -H 'X-Empty;' -H 'Host: a.test' http://h/x")

    words = shlex.split(done.stdout)
    assert "x-empty;" in words
    assert "host: a.test" in words
