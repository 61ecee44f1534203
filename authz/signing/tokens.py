"""JSON Web Tokens (RFC 7519) for jwt-auth, jwt and jwt-plugin, signed by PyJWT's algorithms."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Mapping
from typing import Any, Literal, get_args

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from authz.signing.signed import Signed
from authz.signing.simple import placed

# fmt: off
Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512",
    "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA",
]
# fmt: on
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
#: A shared secret, or a private key: as PEM, or loaded, which takes longer than to sign.
SigningKey = str | bytes | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
SigningKey |= ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


def sign(
    claims: Mapping[str, Any],
    *,
    key: str | bytes,
    algorithm: Algorithm = "HS256",
    kid: str | None = None,
    lifetime: float | None = 300,
    at: float | None = None,
    header: str = "Authorization",
    query: str | None = None,
    cookie: str | None = None,
) -> Signed:
    """A fresh token, as `Bearer` in the Authorization header, or bare in another header, a query
    parameter or a cookie.

    `claims` name the caller: `{"key": …}` for jwt-auth, `{"name": …}` for jwt. Unless they hold an
    `exp`, or `lifetime` (seconds) is None, it is `at` (Unix seconds, default now) and `lifetime`.
    Raises ValueError, as `token` does.
    """
    held = dict(claims)
    if lifetime is not None:
        if not math.isfinite(lifetime):
            raise ValueError("lifetime: expected a number of seconds")
        held.setdefault("exp", int((time.time() if at is None else at) + lifetime))
    made = token(held, key=key, algorithm=algorithm, kid=kid)
    bearer = header.lower() == "authorization" and query is None and cookie is None
    return placed(
        f"Bearer {made}" if bearer else made,
        header=header,
        query=query,
        cookie=cookie,
        string_to_sign=made.rpartition(".")[0],
    )


def token(
    claims: Mapping[str, Any],
    *,
    key: SigningKey,
    algorithm: Algorithm = "HS256",
    kid: str | None = None,
) -> str:
    """A token in compact form (RFC 7515 section 7.1) with these claims and no others.

    `key` is the shared secret of an HS algorithm, of any length, or a private key. Raises
    ValueError for an algorithm, a key or a claim that will not do.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm: expected one of {', '.join(ALGORITHMS)}")
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid is not None else {})
    text = f"{_segment(header)}.{_segment(claims)}"
    # Not by `jwt.encode`: that warns of secrets that are too short, and it is the service's
    # registration that decides on those.
    signer = jwt.get_algorithm_by_name(algorithm)
    try:
        signature = signer.sign(text.encode(), signer.prepare_key(key))
    except (jwt.InvalidKeyError, AttributeError, TypeError, ValueError) as error:
        # Each library that PyJWT asks has its own word for a public key, or one of another kind.
        raise ValueError(f"key: not a key for {algorithm}") from error
    return f"{text}.{_encoded(signature)}"


def _segment(value: Mapping[str, Any]) -> str:
    return _encoded(json.dumps(value, separators=(",", ":"), allow_nan=False).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
