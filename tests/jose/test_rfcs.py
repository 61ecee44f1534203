"""The examples of RFC 7515, RFC 7520 (the cookbook), RFC 7797 and RFC 8037."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from authz.jose.key_set import KeySet
from authz.jose.keys import UnfitKey
from authz.jose.tokens import NotAToken, parse, parse_jws
from tests.jose.vectors import VECTORS, holds, load, public

RFCS: list[dict[str, Any]] = load("rfc7515_8037.json")["vectors"]
COOKBOOK = VECTORS / "cookbook"
#: The cookbook's compact tokens that say all that there is to them.
COMPACT = {
    "jws/4_1.rsa_v15_signature.json": "RS256",
    "jws/4_2.rsa-pss_signature.json": "PS384",
    "jws/4_3.ecdsa_signature.json": "ES512",
    "jws/4_4.hmac-sha2_integrity_protection.json": "HS256",
    "curve25519/jws.json": "EdDSA",
}


@pytest.mark.parametrize("vector", RFCS, ids=lambda vector: vector["id"])
def test_rfc_7515_and_8037(vector: dict[str, Any]) -> None:
    """Each signed example holds under its key; the unsecured one (A.5) is refused."""
    key = vector["key"] or RFCS[0]["key"]

    assert holds(key, vector["token"]) is (vector["expect"] == "valid")


def test_a_signed_text_is_no_jwt() -> None:
    """RFC 7515 A.4 and RFC 8037 A.4 sign words; a JSON Web Token signs an object."""
    refused = []
    for vector in RFCS:
        try:
            parse(vector["token"])
        except NotAToken:
            refused.append(vector["id"])

    assert refused == ["RFC7515 A.4", "RFC7515 A.5", "RFC8037 A.4"]
    assert len(RFCS) == 6


DETACHED = "jws/4_5.signature_with_detached_content.json"
NESTED = "6.nesting_signatures_and_encryption.json"


def recipes() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(COOKBOOK.rglob("*.json")):
        yield path.relative_to(COOKBOOK).as_posix(), json.loads(path.read_text(encoding="utf-8"))


def outputs(recipe: Any) -> Iterator[Any]:
    """Every token, in every serialization, that a recipe makes."""
    if isinstance(recipe, dict):
        for name, value in recipe.items():
            if name in ("compact", "json", "json_flat"):
                yield value
            else:
                yield from outputs(value)


@pytest.mark.parametrize(("name", "algorithm"), COMPACT.items())
def test_the_cookbook_holds(name: str, algorithm: str) -> None:
    """Five compact signatures hold under the recipe's key, and not under another's."""
    recipe = json.loads((COOKBOOK / name).read_text(encoding="utf-8"))
    key, token = public(recipe["input"]["key"]), recipe["output"]["compact"]

    assert parse_jws(token).algorithm == algorithm
    assert holds(key, token)
    assert not holds(RFCS[0]["key"], token)


def test_all_else_of_the_cookbook_is_refused() -> None:
    """JSON serializations, b64=false, encryption, and signatures inside of it."""
    others = [
        token
        for name, recipe in recipes()
        for token in outputs(recipe)
        if not (isinstance(token, str) and (name in COMPACT or name in (DETACHED, NESTED)))
    ]

    assert (len(others), len(list(recipes()))) == (61, 32)
    for token in others:
        with pytest.raises(NotAToken):
            parse_jws(token if isinstance(token, str) else json.dumps(token))


def test_detached_content_does_not_hold() -> None:
    """Its payload is empty, and that is not what was signed (RFC 7515 appendix F)."""
    recipe = json.loads((COOKBOOK / DETACHED).read_text(encoding="utf-8"))

    assert parse_jws(recipe["output"]["compact"]).payload == b""
    assert not holds(public(recipe["input"]["key"]), recipe["output"]["compact"])


def test_a_nested_token_is_refused() -> None:
    """What is signed inside may hold; what is sent is encrypted."""
    recipe = json.loads((COOKBOOK / NESTED).read_text(encoding="utf-8"))
    inner, outer = (text for text in outputs(recipe) if isinstance(text, str))

    assert holds(public(recipe["sign"]["input"]["key"]), inner)
    with pytest.raises(NotAToken):
        parse_jws(outer)


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("3_1.ec_public_key.json", True),
        ("3_2.ec_private_key.json", False),
        ("3_3.rsa_public_key.json", True),
        ("3_4.rsa_private_key.json", False),
        ("3_5.symmetric_key_mac_computation.json", True),
        ("3_6.symmetric_key_encryption.json", False),
    ],
)
def test_the_cookbooks_keys(name: str, fit: bool) -> None:
    """Public keys and the secret for signing are taken, private keys and the one for AES not."""
    path: Path = COOKBOOK / "jwk" / name
    jwk = json.loads(path.read_text(encoding="utf-8"))

    if fit:
        assert KeySet.of(jwk, oct=True).keys
    else:
        with pytest.raises(UnfitKey):
            KeySet.of(jwk, oct=True)
