"""jwt-auth: credentials as operators write them, what is stored of them, and the way back."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.document import parse
from authz.jose.key_set import MAX_SET
from authz.plain import DocumentError
from authz.references import Secret
from authz.schemes.jwt_draft import JwtDraft
from authz.schemes.jwt_key import JwtKey
from authz.secrets import Recoverable
from authz.store.records import Codec
from authz.values import Credential
from tests.support.gateway import NOW
from tests.support.jwt import CLAIMS, VAULT, bearing, draft, outcome, setting, store
from tests.support.memory import RING
from tests.support.tokens import SECRET, jwk, pem, private_key, private_pem, rsa_key, token

EC, RSA = private_key("ES256"), rsa_key()
TEXT = SECRET.decode()


def seal(**fields: Any) -> JwtKey:
    index, form = draft(**({"key": "k"} | fields)).seal(VAULT, "", None)
    assert index == fields.get("key", "k")
    return form


def refusal(**fields: Any) -> str:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the caller looks at the text
        seal(**fields)
    return str(refused.value)


def test_a_secret_needs_no_algorithm() -> None:
    """HS256 unless it says otherwise, as in APISIX."""
    assert seal(secret=TEXT) == JwtKey("HS256", Recoverable(SECRET))
    assert seal(secret=TEXT, algorithm="HS512").algorithm == "HS512"


def test_public_keys_and_sets() -> None:
    """Stored as they are; the algorithm of a set's keys is theirs."""
    keys = {"keys": [jwk("ES256", EC, kid="e")]}

    assert seal(public_key=pem(RSA), algorithm="PS384") == JwtKey("PS384", public_key=pem(RSA))
    assert seal(jwks=keys) == JwtKey(jwks=keys)
    assert seal(jwks=keys["keys"][0], algorithm="ES256").algorithm == "ES256"
    assert seal(jwks_url="https://x.example/keys?a=b") == JwtKey(
        jwks_url="https://x.example/keys?a=b"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "secret: HS256 needs one"),
        ({"algorithm": "HS384"}, "secret: HS384 needs one"),
        ({"algorithm": "RS256"}, "public_key: RS256 needs one"),
        ({"secret": ""}, "secret: expected a secret that is not empty"),
        ({"secret": {"digest": "k.x"}}, "secret: expected a secret that is not empty"),
        ({"secret": {"encrypted": "x"}}, "secret: not encrypted under a key"),
        ({"secret": "short"}, "secret: the secret has 5 bytes, HS256 needs 32"),
        ({"secret": TEXT[:48], "algorithm": "HS512"}, "secret: the secret has 48 bytes"),
        ({"secret": pem(RSA)}, "secret: the secret is a public key"),
        ({"secret": pem(RSA), "allow_weak_secret": True}, "secret: the secret is a public key"),
        ({"secret": "no base64!", "base64_secret": True}, "secret: not base64"),
        ({"secret": "c2hvcnQ=", "base64_secret": True}, "secret: the secret has 5 bytes"),
        ({"secret": TEXT, "algorithm": "RS256"}, "secret: not for RS256"),
        ({"secret": TEXT, "public_key": pem(RSA)}, "public_key: not beside secret"),
        ({"secret": TEXT, "jwks_url": "https://x"}, "jwks_url: not beside secret"),
        ({"public_key": pem(RSA)}, "algorithm: a public_key needs one"),
        ({"public_key": pem(RSA), "algorithm": "HS256"}, "public_key: not for HS256"),
        ({"public_key": pem(RSA), "algorithm": "ES256"}, "public_key: not a key for ES256"),
        (
            {"public_key": pem(rsa_key(1024)), "algorithm": "RS256"},
            "public_key: an RSA key of 1024",
        ),
        ({"public_key": private_pem(RSA), "algorithm": "RS256"}, "public_key: a private key"),
        ({"public_key": "somekey", "algorithm": "RS256"}, "public_key: not PEM"),
        ({"public_key": " ", "algorithm": "RS256"}, "public_key: expected text"),
        ({"public_key": {"hash": "x"}, "algorithm": "RS256"}, "public_key: expected text"),
        ({"jwks": {"keys": []}}, "jwks: no key in this set"),
        ({"jwks": "{"}, "jwks: not strict JSON"),
        ({"jwks": {"keys": [jwk("HS256", SECRET)]}}, "jwks: keys[0]: a secret"),
        ({"jwks": jwk("ES256", EC), "algorithm": "HS256"}, "jwks: not for HS256"),
        ({"jwks": {"a": 1}}, "jwks: kty: expected"),
        ({"jwks": {"keys": [jwk("RS256", rsa_key(1024))]}}, "jwks: keys[0]: an RSA key of 1024"),
        ({"jwks": jwk("RS256", RSA), "algorithm": "ES256"}, "jwks: no key in this set is for ES"),
        ({"jwks": jwk("RS256", RSA) | {"x": "y" * MAX_SET}}, "jwks: longer than 262144 bytes"),
        ({"jwks_url": "ftp://x"}, "jwks_url: expected an https URL"),
        ({"jwks_url": "https://"}, "jwks_url: expected an https URL"),
        ({"jwks_url": "https://x:y"}, "jwks_url: expected an https URL"),
        ({"jwks_url": "https://x y"}, "jwks_url: expected an https URL"),
        ({"jwks_url": "https://x/ü"}, "jwks_url: expected an https URL"),
        ({"jwks_url": "https://x/" + "a" * 2048}, "jwks_url: expected an https URL"),
        ({"jwks_url": "https://u:p@x"}, "jwks_url: expected a URL without user name"),
        ({"jwks_url": "https://x/#a"}, "jwks_url: expected a URL without user name"),
        ({"secret": TEXT, "private_key": private_pem(RSA)}, "private_key: only beside"),
        ({"jwks": jwk("ES256", EC), "private_key": private_pem(EC)}, "private_key: only beside"),
        ({"secret": TEXT, "key": "a\nb"}, "key: holds a control character"),
    ],
)
def test_unfit_credentials(fields: dict[str, Any], message: str) -> None:
    """Refused when they are applied, with the field that is wrong; no secret is repeated."""
    said = refusal(**fields)

    assert said.startswith(message)
    assert TEXT not in said


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"key": ""}, "length >= 1"),
        ({"key": "k" * 1025}, "length <= 1024"),
        ({"key": 123}, "Expected `str`"),
        ({}, "missing required field `key`"),
        ({"key": "k", "algorithm": "none"}, "Invalid enum value"),
        ({"key": "k", "algorithm": "ES256K"}, "Invalid enum value"),
        ({"key": "k", "exp": 0}, ">= 1"),
        ({"key": "k", "lifetime_grace_period": -1}, ">= 0"),
        ({"key": "k", "lifetime_grace_period": 2**31}, "<= 2147483647"),
        ({"key": "k", "exp": 10**400}, "<= 2147483647"),
        ({"key": "k", "jwks": 5}, "jwks: expected a JWK Set"),
        ({"key": "k", "jwks": [jwk("ES256", EC)]}, "jwks: expected a JWK Set"),
        ({"key": "k", "jwks": {"keys": {1, 2}}}, "jwks: expected a JWK Set"),
        ({"key": "k", "jwks": {"file": 1}}, "jwks: expected a string"),
        ({"key": "k", "sercet": "x"}, "unknown field"),
    ],
)
def test_malformed_drafts(written: dict[str, Any], message: str) -> None:
    """Refused when the document is read."""
    with pytest.raises(msgspec.ValidationError) as refused:
        draft(**written)
    assert message in str(refused.value)


def test_a_weak_secret_expressly_allowed() -> None:
    """Then it verifies."""
    memory = store({"secret": "apinto", "allow_weak_secret": True})

    assert outcome(setting(), bearing(token(CLAIMS, b"apinto")), memory) == "jack-key"


@given(st.binary(min_size=32, max_size=40), st.booleans())
def test_a_base64_secret_stands_for_its_bytes(secret: bytes, padded: bool) -> None:
    """Whatever bytes they are, with padding or without."""
    text = base64.b64encode(secret).decode()
    written = text if padded else text.rstrip("=")
    memory = store({"secret": written, "base64_secret": True})

    assert outcome(setting(), bearing(token(CLAIMS, secret)), memory) == "jack-key"


@pytest.mark.parametrize(
    ("algorithm", "own", "other"),
    [("RS256", RSA, EC), ("PS512", RSA, rsa_key(name="other")), ("ES256", EC, RSA)],
)
def test_private_keys_for_the_sign_endpoint(algorithm: str, own: Any, other: Any) -> None:
    """Only the public key's own half; it is kept like a secret."""
    fields = {"public_key": pem(own), "algorithm": algorithm}

    loaded: Any = seal(**fields, private_key=private_pem(own)).signing_key
    assert loaded.private_numbers() == own.private_numbers()
    assert refusal(**fields, private_key=private_pem(other)).startswith("private_key: not ")
    assert refusal(**fields, private_key=pem(own)).startswith("private_key: not a private key")
    assert refusal(**fields, private_key="x" * 40_000).startswith("private_key: longer than")


def test_what_signs() -> None:
    """The bytes that a secret stands for; without a private key, nothing."""
    encoded = base64.b64encode(SECRET).decode()

    assert seal(secret=TEXT).signing_key == SECRET
    assert seal(secret=encoded, base64_secret=True).signing_key == SECRET
    assert seal(public_key=pem(EC), algorithm="ES256").signing_key is None


# -- and back --------------------------------------------------------------------------------------

EVERY_KIND: list[dict[str, Any]] = [
    {"secret": TEXT},
    {"secret": base64.b64encode(SECRET).decode(), "base64_secret": True, "algorithm": "HS512"},
    {"secret": "weak", "allow_weak_secret": True, "exp": 60, "lifetime_grace_period": 5},
    {"public_key": pem(RSA), "algorithm": "RS256", "private_key": private_pem(RSA)},
    {"jwks": {"keys": [jwk("ES256", EC)]}, "issuer": "us", "audience": ["a", "b"]},
    {"jwks_url": "https://x.example/keys", "algorithm": "RS256"},
]


@pytest.mark.parametrize("fields", EVERY_KIND, ids=lambda fields: next(iter(fields)))
def test_an_export_can_be_applied_again(fields: dict[str, Any]) -> None:
    """It shows no secret, and gives the very same form."""
    form = seal(**fields)
    written = JwtDraft.reopen("k", form, VAULT)

    assert TEXT not in json.dumps(written)
    assert "PRIVATE" not in json.dumps(written)
    assert seal(**written) == form


@pytest.mark.parametrize("fields", EVERY_KIND, ids=lambda fields: next(iter(fields)))
def test_a_form_survives_the_store(fields: dict[str, Any]) -> None:
    """Encrypted in between."""
    form = seal(**fields)
    codec = Codec(RING, {"jwt-auth": JwtKey})
    stored = codec.encode("name", Credential("jack", "one", "jwt-auth", form))

    assert SECRET not in stored
    assert b"PRIVATE" not in stored
    assert codec.decode("name", stored, Credential).form == form


def test_nothing_shows_a_secret() -> None:
    """Neither the draft nor the form, however it is printed."""
    written = draft(key="k", secret=TEXT)
    form = written.seal(VAULT, "", None)[1]

    assert TEXT not in f"{written!r} {form!r} {form.key!r}"


def test_a_fresh_credential() -> None:
    """384 random bits, shown once; fit for every hash, and as base64, too."""
    made, shown = JwtDraft.issue("jack-key")
    _, other = JwtDraft.issue("jack-key")
    form = made.seal(VAULT, "", None)[1]

    assert shown["key"] == "jack-key"
    assert len(bytes.fromhex(shown["secret"])) == 48
    assert len(base64.b64decode(shown["secret"], validate=True)) >= 64
    assert shown["secret"] != other["secret"]
    assert form == JwtKey("HS256", Recoverable(shown["secret"].encode()))


DOCUMENT = """
consumers:
  - username: jack
    credentials:
      - id: one
        jwt-auth: {key: a, jwks: {file: keys.json}}
      - id: two
        jwt-auth: {key: b, algorithm: ES256, public_key: {file: key.pem}}
      - id: three
        jwt-auth: {key: c, secret: {env: JACKS_SECRET}}
"""


def test_keys_in_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolved with the document's other secrets, relative to it."""
    monkeypatch.setenv("JACKS_SECRET", TEXT)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk("ES256", EC)]}))
    (tmp_path / "key.pem").write_text(pem(EC))
    [consumer] = parse(DOCUMENT, tmp_path).consumers
    one, two, three = (entry.jwt_auth.seal(VAULT, "", None)[1] for entry in consumer.credentials)

    assert one.key_set.keys[0].key == EC.public_key() == two.key.key
    assert three.signing_key == SECRET


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Said with its place."""
    with pytest.raises(DocumentError, match=r"credentials\[0\].jwt-auth: file keys.json"):
        parse(DOCUMENT, tmp_path)


def test_jwks_may_be_text() -> None:
    """JSON as a string, as environment variables hold it."""
    written = json.dumps(jwk("ES256", EC))
    memory = store({"jwks": written})

    assert isinstance(draft(key="k", jwks=written).jwks, Secret)
    assert outcome(setting(), bearing(token(CLAIMS, EC, "ES256")), memory) == "jack-key"
    assert int(NOW) < CLAIMS["exp"]
