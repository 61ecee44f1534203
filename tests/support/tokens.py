"""Tokens and the keys that sign them, made by PyJWT and cryptography."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import get_default_algorithms

SIGNERS = get_default_algorithms()
SECRET = b"0123456789abcdef" * 4
_CURVES: dict[str, Any] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


def rsa_key(bits: int = 2048, exponent: int = 65537, name: str = "") -> rsa.RSAPrivateKey:
    """An RSA key; another for each name."""
    return _rsa_key(bits, exponent, name)


def private_key(algorithm: str, name: str = "") -> Any:
    """A private key, or a secret, for an algorithm; another for each name."""
    if algorithm.startswith("HS"):
        return name.encode() + SECRET
    return rsa_key(name=name) if algorithm[0] in "RP" else _curve_key(algorithm, name)


@cache
def _rsa_key(bits: int, exponent: int, _name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, bits)


@cache
def _curve_key(algorithm: str, _name: str) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "Ed448":
        return ed448.Ed448PrivateKey.generate()
    return ec.generate_private_key(_CURVES[algorithm]())


def pem(key: Any) -> str:
    """The public half of a key, as SubjectPublicKeyInfo."""
    public = key.public_key() if hasattr(key, "public_key") else key
    made: bytes = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return made.decode()


def private_pem(key: Any) -> str:
    """A private key, as unencrypted PKCS#8."""
    made: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.decode()


def jwk(algorithm: str, key: Any, **members: Any) -> dict[str, Any]:
    """The public half of a key (or a secret) as a JWK, with these members beside."""
    public = key.public_key() if hasattr(key, "public_key") else key
    made: dict[str, Any] = SIGNERS[algorithm].to_jwk(public, as_dict=True)
    return {name: value for name, value in made.items() if name != "key_ops"} | members


def b64(data: bytes | str) -> str:
    """Base64url without padding."""
    encoded = base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data)
    return encoded.rstrip(b"=").decode()


def token(
    claims: Any, key: Any = SECRET, algorithm: str = "HS256", *, header: Any = None, **more: Any
) -> str:
    """A signed token. `header` replaces the header; what else is named is added to it. Text stands
    for JSON as it is written."""
    head = {"alg": algorithm, "typ": "JWT", **more} if header is None else header
    parts = (part if isinstance(part, str) else json.dumps(part) for part in (head, claims))
    signed = ".".join(b64(part) for part in parts)
    signer = SIGNERS[algorithm]
    return f"{signed}.{b64(signer.sign(signed.encode(), signer.prepare_key(key)))}"
