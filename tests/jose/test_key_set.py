"""JSON Web Keys and sets of them: what is taken, what is refused, and which key is a token's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authz.jose.key_set import MAX_KEYS, MAX_SET, KeySet
from authz.jose.keys import UnfitKey
from authz.jose.tokens import ALGORITHMS, parse
from tests.jose.vectors import public
from tests.support.tokens import SECRET, SIGNERS, b64, jwk, private_key, rsa_key, token

RSA = jwk("RS256", rsa_key())
EC = jwk("ES256", private_key("ES256"))
OKP = jwk("EdDSA", private_key("EdDSA"))
OCT = {"kty": "oct", "k": b64(SECRET)}


def algorithms(key: dict[str, Any]) -> list[str]:
    return [each.algorithm for each in KeySet.of(key, oct=True).keys]


def refusal(plain: Any, **options: bool) -> str:
    with pytest.raises(UnfitKey) as refused:
        KeySet.of(plain, **options)
    return str(refused.value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_keys_that_pyjwt_writes(algorithm: str) -> None:
    """They are read, and hold what PyJWT signs."""
    key = private_key(algorithm)
    keys = KeySet.parse(json.dumps({"keys": [jwk(algorithm, key, kid="k")]}).encode(), oct=True)
    made = parse(token({"a": 1}, key, algorithm, kid="k"))
    found = keys.find("k", algorithm)

    assert found is not None
    assert found.holds(made)
    assert found.id == "k"
    assert keys.find("other", algorithm) is None
    assert keys.find(None, algorithm) == found


def test_the_algorithms_of_a_key() -> None:
    """Its own; else the one of its curve; else every one of its kind, secrets as long as they are
    good for."""
    assert algorithms(RSA) == ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
    assert algorithms(RSA | {"alg": "PS384"}) == ["PS384"]
    assert algorithms(EC) == ["ES256"]
    assert algorithms(jwk("ES512", private_key("ES512"))) == ["ES512"]
    assert algorithms(OKP) == algorithms(jwk("EdDSA", private_key("Ed448"))) == ["EdDSA"]
    assert algorithms(OCT) == ["HS256", "HS384", "HS512"]
    assert algorithms(OCT | {"k": b64(SECRET[:50])}) == ["HS256", "HS384"]
    assert algorithms(OCT | {"alg": "HS512"}) == ["HS512"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "not a JSON Web Key"),
        ([RSA], "not a JSON Web Key"),
        ("{}", "not a JSON Web Key"),
        ({}, "kty: expected"),
        ({"kty": ["RSA"]}, "kty: expected"),
        (RSA | {"kty": "XYZ"}, "kty: expected"),
        (RSA | {"use": "enc"}, "use: not for signatures"),
        (RSA | {"use": None}, "use: not for signatures"),
        (RSA | {"key_ops": ["sign"]}, "key_ops: not for verifying"),
        (RSA | {"key_ops": "verify"}, "key_ops: not for verifying"),
        (RSA | {"alg": "RSA-OAEP"}, "alg: not a signature algorithm"),
        (EC | {"alg": "ES521"}, "alg: not a signature algorithm"),
        (RSA | {"alg": "none"}, "alg: not a signature algorithm"),
        (RSA | {"alg": "ES256"}, "alg: not one for this kind"),
        (EC | {"alg": "ES384"}, "alg: not one for this kind"),
        (RSA | {"alg": "HS256"}, "alg: not one for this kind"),
        (OCT | {"alg": "RS256"}, "alg: not one for this kind"),
        (RSA | {"d": "AQAB"}, "private key"),
        (EC | {"d": "AQAB"}, "private key"),
        (RSA | {"kid": ""}, "kid: expected"),
        (RSA | {"kid": 1}, "kid: expected"),
        (RSA | {"kid": "k" * 257}, "kid: expected"),
        (RSA | {"n": 5}, "n: expected text"),
        (RSA | {"n": "AQ=="}, "n: expected base64url"),
        (RSA | {"n": ""}, "not an RSA key"),
        (RSA | {"n": b64(b"\xff" * 128)}, "1024 bits"),
        (RSA | {"n": b64(b"\xff" * 1100)}, "more than 8192 bits"),
        (RSA | {"e": "AQ"}, "not an RSA key|exponent"),
        (RSA | {"e": "Ag"}, "not an RSA key|exponent"),
        (RSA | {"e": b64(b"\xff" * 9)}, "exponent of more than 64"),
        ({"kty": "RSA", "e": "AQAB"}, "n: expected text"),
        (EC | {"crv": "P-384"}, "not of the curve's length"),
        (EC | {"crv": "secp256k1"}, "crv: expected P-256"),
        (EC | {"crv": ["P-256"]}, "crv: expected text"),
        (EC | {"x": b64(bytes(32))}, "not a point"),
        (EC | {"y": EC["x"]}, "not a point"),
        (EC | {"x": EC["x"][:-2]}, "expected base64url|length"),
        (OKP | {"crv": "X25519"}, "crv: expected Ed25519"),
        (OKP | {"crv": "Ed448"}, "x: not a key"),
        (OKP | {"x": b64(b"short")}, "x: not a key"),
        (OCT | {"k": ""}, "empty"),
        (OCT | {"k": b64(b"short")}, "has 5 bytes"),
        (OCT | {"alg": "HS512", "k": b64(SECRET[:63])}, "has 63 bytes"),
    ],
)
def test_unfit_keys(key: Any, message: str) -> None:
    """A single key that cannot be used is refused, with what is wrong."""
    with pytest.raises(UnfitKey, match=message):
        KeySet.of(key, oct=True)


def test_secrets_only_where_they_are_allowed() -> None:
    """What is published is not secret."""
    assert "expected public keys only" in refusal(OCT)
    assert "keys[1]: a secret" in refusal({"keys": [RSA, OCT]})


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_private_keys_are_refused(algorithm: str) -> None:
    """As PyJWT writes them, whole; without their private half they are taken."""
    written = SIGNERS[algorithm].to_jwk(private_key(algorithm), as_dict=True)
    written.pop("key_ops", None)

    assert "private key" in refusal(written)
    assert KeySet.of(public(written)).keys


# -- sets ------------------------------------------------------------------------------------------


def test_keys_for_other_purposes_are_left_out() -> None:
    """Issuers publish keys for encryption, and of new kinds, in one set (RFC 7517 section 5)."""
    others = [
        RSA | {"use": "enc", "kid": "k"},
        RSA | {"alg": "RSA-OAEP", "kid": "k"},
        {"kty": "AKP", "kid": "k"},
        OKP | {"crv": "X25519"},
    ]
    keys = KeySet.of({"keys": [*others, EC | {"kid": "k"}]})

    assert [(key.algorithm, key.id) for key in keys.keys] == [("ES256", "k")]
    assert refusal({"keys": others}) == "no key in this set can verify a signature"
    assert refusal({"keys": []}) == "no key in this set can verify a signature"


def test_an_unfit_key_refuses_a_set_unless_that_is_forgiven() -> None:
    """By value, somebody made a mistake; from another's server, the rest must go on working."""
    weak = RSA | {"n": b64(b"\xff" * 128)}

    assert (
        refusal({"keys": [EC, weak]}) == "keys[1]: an RSA key of 1024 bits: expected 2048 to 8192"
    )
    kept = KeySet.of({"keys": [weak, EC, OCT, None]}, forgiving=True)
    assert [key.algorithm for key in kept.keys] == ["ES256"]
    assert "no key" in refusal({"keys": [weak]}, forgiving=True)


@pytest.mark.parametrize("forgiving", [True, False])
def test_ambiguous_sets(forgiving: bool) -> None:
    """Secrets beside public keys, and two keys of one name, are refused whoever published them."""
    other = jwk("ES256", private_key("ES256", "other"))
    options = {"forgiving": forgiving, "oct": True}

    assert "both secrets and public keys" in refusal({"keys": [OCT, EC]}, **options)
    twice = {"keys": [EC | {"kid": "k"}, other | {"kid": "k"}]}
    assert refusal(twice, **options) == "two keys with one kid"


def test_one_name_for_two_algorithms() -> None:
    """Name and algorithm together are one key's."""
    keys = KeySet.of({"keys": [EC | {"kid": "k"}, OKP | {"kid": "k"}]})
    found = [keys.find("k", name) for name in ("ES256", "EdDSA", "RS256")]

    assert [key.algorithm if key else None for key in found] == ["ES256", "EdDSA", None]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "JSON object"),
        (b"[]", "JSON object"),
        (b'{"keys": [], "keys": []}', "JSON object"),
        (b'{"keys": {}}', "nor a set"),
        (b'{"keys": null}', "nor a set"),
        (b" " * (MAX_SET + 1), "more than 262144 bytes"),
        (json.dumps({"keys": [{}] * (MAX_KEYS + 1)}).encode(), "more than 100 keys"),
    ],
)
def test_malformed_sets(data: bytes, message: str) -> None:
    with pytest.raises(UnfitKey, match=message):
        KeySet.parse(data)


# -- choosing --------------------------------------------------------------------------------------


def test_a_kid_is_matched_exactly() -> None:
    """No other spelling, no other key."""
    keys = KeySet.of({"keys": [EC | {"kid": "key-1"}]})

    assert keys.find("key-1", "ES256") is not None
    for kid in ("KEY-1", "key-1 ", "key", "*", "", "../key-1"):
        assert keys.find(kid, "ES256") is None


def test_without_a_kid_there_must_be_one_choice() -> None:
    """Of several keys for the algorithm none is guessed."""
    other = jwk("ES256", private_key("ES256", "other"))
    one = KeySet.of({"keys": [EC | {"kid": "a"}, RSA | {"kid": "b"}]})
    two = KeySet.of({"keys": [EC | {"kid": "a"}, other | {"kid": "b"}]})

    assert one.find(None, "ES256") == one.find("a", "ES256") is not None
    assert two.find(None, "ES256") is None
    assert two.find("b", "ES256") is not None


def test_a_key_without_a_name() -> None:
    """Stands for an unknown `kid` only where that is asked for, and if it is the only one."""
    other = jwk("ES256", private_key("ES256", "other"))
    keys = KeySet.of({"keys": [EC, other | {"kid": "b"}]})
    nameless = keys.find("?", "ES256", lenient=True)

    assert keys.find("?", "ES256") is None
    assert nameless is not None
    assert nameless.id is None
    assert keys.find("b", "ES256", lenient=True) == keys.find("b", "ES256")
    two = KeySet.of({"keys": [EC, other]})
    assert two.find("?", "ES256", lenient=True) is None
    assert two.find(None, "ES256", lenient=True) is None
