"""Keys that verify, each bound to one algorithm, and the rules that a key must meet at
registration: what is weak, mistyped or secret where it should be public never verifies anything.
"""

from __future__ import annotations

import re
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import get_default_algorithms
from msgspec import Struct

from authz.jose.published import is_published
from authz.jose.roca import has_roca_fingerprint
from authz.jose.small_order import has_small_order
from authz.jose.tokens import ALGORITHMS, Jws

#: Longest text of a key in PEM, in characters; a certificate of an RSA key has some 2000.
MAX_PEM = 32 * 1024
#: No HMAC secret is longer, in bytes.
MAX_SECRET = 8 * 1024
#: Bits of an RSA modulus: below, it can be factored; above, verifying costs milliseconds.
MIN_RSA, MAX_RSA = 2048, 8192
#: The least that a secret has, in bytes: its hash's length (RFC 7518 section 3.2).
MIN_SECRET = {"HS256": 32, "HS384": 48, "HS512": 64}
CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}
#: Length of a raw r||s signature, in bytes (RFC 7518 section 3.4).
_EC_SIGNATURE = {"ES256": 64, "ES384": 96, "ES512": 132}
_VERIFIERS: dict[str, Any] = get_default_algorithms()
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----")

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PublicKey |= ed448.Ed448PublicKey


class UnfitKey(ValueError):
    """A key that must not verify anything; the text says why, without the key."""


class VerifyKey(Struct, frozen=True):
    """A key bound to one algorithm. `key` is a secret's bytes or a public key of cryptography's,
    and `id` what a token's `kid` may name it by."""

    algorithm: str
    key: Any
    id: str | None = None

    def holds(self, jws: Jws) -> bool:
        """Whether this key signed it, with this key's algorithm and no other."""
        if jws.algorithm != self.algorithm:
            return False
        expected = _EC_SIGNATURE.get(self.algorithm)
        if expected is not None and len(jws.signature) != expected:
            return False
        try:
            return bool(_VERIFIERS[self.algorithm].verify(jws.signed, self.key, jws.signature))
        except (InvalidSignature, ValueError):
            return False

    def __repr__(self) -> str:
        return f"VerifyKey({self.algorithm})"


# -- secrets ---------------------------------------------------------------------------------------


def secret_key(
    algorithm: str, secret: bytes, *, allow_weak: bool = False, id: str | None = None
) -> VerifyKey:
    """A key for HS256, HS384 or HS512. Raises `UnfitKey` when it is shorter than the hash, which
    `allow_weak` permits, or when it is a public key, which nothing permits."""
    least = MIN_SECRET.get(algorithm)
    if least is None:
        raise UnfitKey("only HS256, HS384 and HS512 take a secret")
    if not secret:
        raise UnfitKey("the secret is empty")
    if len(secret) > MAX_SECRET:
        raise UnfitKey(f"the secret is longer than {MAX_SECRET} bytes")
    if is_published(secret):
        raise UnfitKey("the secret is a public key, which everybody may know")
    if len(secret) < least and not allow_weak:
        raise UnfitKey(
            f"the secret has {len(secret)} bytes, {algorithm} needs {least} (RFC 7518 section 3.2)"
        )
    return VerifyKey(algorithm, secret, id)


# -- public keys -----------------------------------------------------------------------------------


def public_key(algorithm: str, pem: str, *, id: str | None = None) -> VerifyKey:
    """A key from PEM: SubjectPublicKeyInfo, PKCS#1 or a certificate, of which only the key counts.
    Raises `UnfitKey`."""
    if len(pem) > MAX_PEM:
        raise UnfitKey(f"longer than {MAX_PEM} characters")
    return bound(algorithm, _load(pem), id)


def _load(pem: str) -> Any:
    labels = _PEM.findall(pem)
    if not labels:
        raise UnfitKey("not PEM: no -----BEGIN …-----")
    if any("PRIVATE" in label for label in labels):
        raise UnfitKey("a private key: give the public one")
    if len(labels) > 1:
        raise UnfitKey("more than one key")
    try:
        if labels[0] == "CERTIFICATE":
            return x509.load_pem_x509_certificate(pem.encode()).public_key()
        return load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise UnfitKey(f"not a key that can be read ({labels[0]})") from None


def bound(algorithm: str, key: Any, id: str | None = None) -> VerifyKey:
    """A public key of cryptography's, bound to an algorithm. Raises `UnfitKey` unless it fits."""
    if algorithm not in ALGORITHMS:
        raise UnfitKey("not an algorithm that is known")
    family = algorithm[:2]
    if family in ("RS", "PS") and isinstance(key, rsa.RSAPublicKey):
        _check_rsa(key.public_numbers())
    elif family == "ES" and isinstance(key, ec.EllipticCurvePublicKey):
        _check_curve(algorithm, key)
    elif family == "Ed" and isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        _check_edwards(key)
    else:
        raise UnfitKey(f"not a key for {algorithm}")
    return VerifyKey(algorithm, key, id)


def _check_rsa(numbers: rsa.RSAPublicNumbers) -> None:
    bits = numbers.n.bit_length()
    if not MIN_RSA <= bits <= MAX_RSA:
        raise UnfitKey(f"an RSA key of {bits} bits: expected {MIN_RSA} to {MAX_RSA}")
    if numbers.e < 3 or numbers.e % 2 == 0 or numbers.e.bit_length() > 64:  # noqa: PLR2004
        raise UnfitKey("an RSA key whose exponent is not odd, from 3 to 2^64")
    if has_roca_fingerprint(numbers.n):
        raise UnfitKey("an RSA key made by a broken generator (ROCA, CVE-2017-15361)")


def _check_curve(algorithm: str, key: ec.EllipticCurvePublicKey) -> None:
    curve = CURVES.get(algorithm)
    if curve is None or not isinstance(key.curve, curve):
        raise UnfitKey(f"not a key for {algorithm}: its curve is {key.curve.name}")


def _check_edwards(key: ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) -> None:
    if has_small_order(key):
        raise UnfitKey("an EdDSA key of small order, under which forged signatures hold")
