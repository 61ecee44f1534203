"""Credentials of jwt: which are taken, what the store keeps of them, and what is shown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from authz.jose.keys import VerifyKey
from authz.jose.tokens import parse
from authz.references import Secret
from authz.schemes.jwt_user import JwtUser, JwtUserDraft
from authz.store.records import Codec
from authz.values import Credential
from tests.support.jwt import decode
from tests.support.memory import RING, CheapVault
from tests.support.sites import Authority
from tests.support.tokens import SECRET, pem, private_key, private_pem, rsa_key, token

VAULT = CheapVault()
TEXT = SECRET.decode()
#: Its base64 has both letters in which the alphabets differ.
BYTES = bytes([0xFB, 0xFF, 0xBF]) * 12


def draft(**fields: Any) -> JwtUserDraft:
    """As a document gives it."""
    return msgspec.convert({"username": "John Doe"} | fields, JwtUserDraft, dec_hook=decode)


def sealed(**fields: Any) -> JwtUser:
    index, form = draft(**fields).seal(VAULT, "", None)
    assert index == "John Doe"
    return form


def test_defaults() -> None:
    """HS256, and times that hold where they are there."""
    form = sealed(secret=TEXT)

    assert form.key == VerifyKey("HS256", SECRET)
    assert form.rules.listed is None
    assert (form.rules.covers("exp"), form.rules.covers("nbf"), form.rules.grace) == (True, True, 0)


@pytest.mark.parametrize("encode", [base64.standard_b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padded", [True, False])
def test_a_secret_in_base64(encode: Any, padded: bool) -> None:
    """Either alphabet, padding optional; the text itself is then no secret."""
    text = encode(BYTES + b"x").decode()
    key = sealed(secret=text if padded else text.rstrip("="), base64_secret=True).key

    assert key == VerifyKey("HS256", BYTES + b"x")
    assert sealed(secret=text).key == VerifyKey("HS256", text.encode())


def test_public_keys_in_every_wrapping(tmp_path: Path) -> None:
    """SubjectPublicKeyInfo, PKCS#1 and a certificate."""
    key = rsa_key()
    signed = parse(token({"name": "John Doe"}, key, "RS256"))
    pkcs1 = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.PKCS1
    )
    for text in (pem(key), pkcs1.decode()):
        assert sealed(algorithm="RS256", public_key=text).key.holds(signed)

    certificate = Path(Authority(tmp_path).ca_file).read_text()
    assert sealed(algorithm="ES256", public_key=certificate).key.algorithm == "ES256"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "secret: HS256 needs one"),
        ({"algorithm": "ES256"}, "public_key: ES256 needs one"),
        ({"secret": "apinto"}, "secret: the secret has 6 bytes, HS256 needs 32"),
        ({"secret": "x" * 63, "algorithm": "HS512"}, "secret: the secret has 63 bytes, HS512 need"),
        ({"secret": "", "allow_weak_secret": True}, "secret: expected a secret that is not empty"),
        ({"secret": {"hash": "x"}}, "secret: expected a secret that is not empty"),
        ({"secret": {"encrypted": "x"}}, "secret: not encrypted under a key of the key ring"),
        ({"secret": "!" * 44, "base64_secret": True}, "secret: not base64"),
        ({"secret": "-+" * 24, "base64_secret": True}, "secret: not base64"),
        ({"secret": "", "base64_secret": True}, "secret: expected a secret that is not empty"),
        ({"secret": "====", "base64_secret": True}, "secret: the secret is empty"),
        ({"secret": "YWJj", "base64_secret": True}, "secret: the secret has 3 bytes"),
        ({"secret": pem(rsa_key())}, "secret: the secret is a public key"),
        ({"secret": TEXT, "public_key": "x"}, "public_key: not for HS256, which needs a secret"),
        (
            {"secret": TEXT, "public_key": pem(rsa_key()), "algorithm": "RS256"},
            "secret: not for RS256, which needs a public_key",
        ),
        ({"public_key": "x", "algorithm": "RS256"}, "public_key: not PEM"),
        ({"public_key": " ", "algorithm": "RS256"}, "public_key: expected text that is not empty"),
        (
            {"public_key": private_pem(rsa_key()), "algorithm": "RS256"},
            "public_key: a private key: give the public one",
        ),
        (
            {"public_key": pem(rsa_key(1024)), "algorithm": "RS256"},
            "public_key: an RSA key of 1024",
        ),
        (
            {"public_key": pem(private_key("ES256")), "algorithm": "ES384"},
            "public_key: not a key for ES384",
        ),
        ({"public_key": pem(rsa_key()), "algorithm": "ES256"}, "public_key: not a key for ES256"),
        ({"username": "a\nb", "secret": TEXT}, "username: holds a control character"),
    ],
)
def test_what_is_unfit(fields: dict[str, Any], error: str) -> None:
    """Refused when it is written, with the field and the reason, and never with the secret."""
    with pytest.raises(ValueError, match=r"^\w+: ") as caught:
        sealed(**fields)

    assert str(caught.value).startswith(error)
    assert "apinto" not in str(caught.value)
    assert TEXT not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "PS256", "public_key": "x"},
        {"algorithm": "EdDSA", "public_key": "x"},
        {"algorithm": "none", "secret": TEXT},
        {"validation_fields": ["iat"], "secret": TEXT},
        {"validation_fields": "exp", "secret": TEXT},
        {"username": "", "secret": TEXT},
        {"username": "x" * 257, "secret": TEXT},
        {"secret": TEXT, "path": "$.name"},
    ],
)
def test_what_no_document_may_say(fields: dict[str, Any]) -> None:
    """The nine algorithms of the vendor's manual, and its two validation fields."""
    with pytest.raises(msgspec.ValidationError):
        draft(**fields)


EVERY = (
    {"secret": TEXT},
    {"secret": "apinto", "allow_weak_secret": True, "issuer": "acme"},
    {"secret": base64.b64encode(BYTES).decode(), "base64_secret": True, "validation_fields": []},
    {
        "algorithm": "RS256",
        "public_key": pem(rsa_key()),
        "validation_fields": ["exp", "nbf"],
        "issuer": "",
    },
)


@pytest.mark.parametrize("fields", EVERY)
def test_what_was_exported_can_be_applied(fields: dict[str, Any]) -> None:
    """And is the same credential, its secret encrypted under the key ring."""
    form = sealed(**fields)
    written = JwtUserDraft.reopen("John Doe", form, VAULT)

    assert draft(**written).seal(VAULT, "", form) == ("John Doe", form)
    assert set(written.get("secret", {"encrypted": ""})) == {"encrypted"}


@pytest.mark.parametrize("fields", EVERY)
def test_the_stored_record(fields: dict[str, Any]) -> None:
    """Opens to the same credential, and shows no secret."""
    codec = Codec(RING, {"jwt": JwtUser})
    credential = Credential("john", "app", "jwt", sealed(**fields))
    stored = codec.encode("key", credential)
    opened = codec.decode("key", stored, Credential)

    assert opened == credential
    assert opened.form.key == credential.form.key
    secret = fields.get("secret", "no secret")
    assert secret.encode() not in stored
    assert secret not in repr(opened)


def test_issuing() -> None:
    """A fresh secret, strong enough for its algorithm, shown once."""
    made, shown = JwtUserDraft.issue("John Doe")
    index, form = made.seal(VAULT, "", None)

    assert (index, shown["username"], shown["algorithm"]) == ("John Doe", "John Doe", "HS256")
    assert form.key == VerifyKey("HS256", shown["secret"].encode())
    assert JwtUserDraft.issue("John Doe")[1]["secret"] != shown["secret"]
    assert isinstance(made.secret, Secret)
    assert shown["secret"] not in repr(made)
