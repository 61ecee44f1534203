"""Keys that would let strangers sign: published ones as secrets, and points of small order."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from authz.jose.jwk import from_jwk
from authz.jose.key_set import KeySet
from authz.jose.keys import UnfitKey, VerifyKey, public_key, secret_key
from authz.jose.small_order import has_small_order
from authz.jose.tokens import parse
from tests.support.tokens import SECRET, b64, jwk, pem, private_key

P25519, P448 = 2**255 - 19, 2**448 - 2**224 - 1
ALGORITHMS = ("RS256", "ES256", "EdDSA")


def bare(text: bytes) -> bytes:
    return text.rstrip(b"=")


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "base64": base64.b64encode,
    "without padding": lambda data: bare(base64.b64encode(data)),
    "url alphabet": base64.urlsafe_b64encode,
    "url alphabet, without padding": lambda data: bare(base64.urlsafe_b64encode(data)),
    "in lines": base64.encodebytes,
    "hexadecimal": lambda data: data.hex().encode(),
    "HEXADECIMAL": lambda data: data.hex().upper().encode(),
    "base64 twice": lambda data: base64.b64encode(base64.b64encode(data)),
}


def forms(algorithm: str) -> dict[str, bytes]:
    """A public key in every form in which one is handed about."""
    public = private_key(algorithm).public_key()
    encoding, spki = serialization.Encoding, serialization.PublicFormat.SubjectPublicKeyInfo
    text, member = pem(public).encode(), jwk(algorithm, public, kid="k")
    return {
        "PEM": text,
        "PEM in one line": text.replace(b"\n", b""),
        "PEM with escaped lines": text.replace(b"\n", b"\\n"),
        "PEM behind a byte order mark": b"\xef\xbb\xbf" + text,
        "DER": public.public_bytes(encoding.DER, spki),
        "OpenSSH": public.public_bytes(encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
        "JWK": json.dumps(member).encode(),
        "JWK in lines": json.dumps(member, indent=2).encode(),
        "JWK with a name twice": json.dumps(member).encode()[:-1] + b',"kty":"oct"}',
        "half a JWK": json.dumps({"kty": "x", **member}).encode()[:-9],
        "JWK Set": json.dumps({"keys": [member]}).encode(),
        "list of JWKs": json.dumps([member]).encode(),
    }


def refusal(secret: bytes) -> str:
    """Why this is no secret; empty when it is one."""
    try:
        secret_key("HS256", secret, allow_weak=True)
    except UnfitKey as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_published_key_is_a_secret(algorithm: str, encoding: str) -> None:
    """Else whoever knows it could sign (CVE-2015-9235, CVE-2026-39999): not encoded either."""
    made = {form: ENCODINGS[encoding](text) for form, text in forms(algorithm).items()}

    assert [form for form, text in made.items() if "may know" not in refusal(text)] == []
    assert len(made) == 12


def test_the_body_of_openssh_alone() -> None:
    """What stands between the type and the comment."""
    public = private_key("RS256").public_key()
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)

    assert "may know" in refusal(line.split(b" ")[1])


@given(st.binary(min_size=64, max_size=200), st.sampled_from(sorted(ENCODINGS)))
def test_random_secrets_are_taken(secret: bytes, encoding: str) -> None:
    """In every encoding; so is JSON that is no key."""
    written = ENCODINGS[encoding](secret)

    assert secret_key("HS512", written).key == written
    assert secret_key("HS256", b'{"secret": "kty"}' + SECRET).algorithm == "HS256"


# -- small order -----------------------------------------------------------------------------------

EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
CURVES: list[tuple[Any, int, int, list[int]]] = [
    (Ed25519PublicKey, 32, P25519, [EIGHTH, P25519 - EIGHTH]),
    (Ed448PublicKey, 57, P448, []),
]


def small(length: int, prime: int, more: list[int]) -> list[bytes]:
    """Every spelling of every point of small order: y below the prime or above, either sign."""
    found = [y for y in (0, 1, prime - 1, prime, prime + 1, *more) if y.bit_length() < 8 * length]
    return [
        (y | sign << (8 * length - 1)).to_bytes(length, "little") for y in found for sign in (0, 1)
    ]


def multiple() -> tuple[bytes, bytes]:
    """A multiple of Ed448's base point, and its number modulo the group's order (RFC 8032 section
    5.2.5): a public key, for which signing is known."""
    seed = b"s" * 57
    order = 2**446 - 13818066809895115352007386748515426880336692474882178609894547503885
    digest = bytearray(hashlib.shake_256(seed).digest(57))
    digest[0] &= 0xFC
    digest[55] |= 0x80
    digest[56] = 0
    number = int.from_bytes(digest, "little") % order
    point = Ed448PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return point, number.to_bytes(57, "little")


def forged(number: int, length: int) -> str:
    """A token that nobody signed: of a key whose multiples vanish, R = sB holds for any message."""
    header, claims = b64('{"alg":"EdDSA"}'), b64(json.dumps({"n": number}))
    r, s = (bytes([1]) + bytes(31), bytes(32)) if length == 32 else multiple()
    return f"{header}.{claims}.{b64(r + s)}"


@pytest.mark.parametrize(("kind", "length", "prime", "more"), CURVES)
def test_points_of_small_order_verify_nothing(
    kind: Any, length: int, prime: int, more: list[int]
) -> None:
    """Forged tokens hold under such keys, so no such key is taken, in PEM, in a JWK or in a set."""
    name = {32: "Ed25519", 57: "Ed448"}[length]
    held = 0
    for encoded in small(length, prime, more):
        key = kind.from_public_bytes(encoded)
        held += any(VerifyKey("EdDSA", key).holds(parse(forged(n, length))) for n in range(64))
        member = {"kty": "OKP", "crv": name, "x": b64(encoded)}
        with pytest.raises(UnfitKey, match="small order"):
            public_key("EdDSA", pem(key))
        with pytest.raises(UnfitKey, match="small order"):
            from_jwk(member)
        good = jwk("EdDSA", private_key("EdDSA"), kid="good")
        assert [k.id for k in KeySet.of({"keys": [member, good]}, forgiving=True).keys] == ["good"]
    assert held


@pytest.mark.parametrize("name", ["EdDSA", "Ed448"])
def test_real_keys_are_not_of_small_order(name: str) -> None:
    assert not has_small_order(private_key(name).public_key())
