"""Keys from JSON Web Keys (RFC 7517; parameters: RFC 7518 section 6, RFC 8037 section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from authz.jose.keys import CURVES, MAX_RSA, MIN_SECRET, UnfitKey, VerifyKey, bound, secret_key
from authz.jose.tokens import ALGORITHMS, NotAToken, decode_segment, is_key_id

_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "priv")
_CURVE_NAMES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_EDWARDS: dict[str, Any] = {
    "Ed25519": ed25519.Ed25519PublicKey,
    "Ed448": ed448.Ed448PublicKey,
}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


class OtherPurpose(UnfitKey):
    """Not a key that verifies signatures, as far as anybody here can tell: it is for encryption,
    or of a kind or an algorithm that is not known. A set may hold such keys beside ours."""


def from_jwk(jwk: Any, *, oct: bool = False) -> tuple[VerifyKey, ...]:
    """One JWK, bound to its `alg`; without one, once to each algorithm that its kind is for.

    Raises `UnfitKey`, for private keys too, and for secrets unless `oct` says otherwise.
    """
    if not isinstance(jwk, Mapping):
        raise UnfitKey("not a JSON Web Key")
    _check_purpose(jwk)
    if any(name in jwk for name in _PRIVATE):
        raise UnfitKey("a private key: give the public one")
    id = jwk.get("kid")
    if id is not None and not is_key_id(id):
        raise UnfitKey("kid: expected a text of 1 to 256 characters")
    if jwk["kty"] == "oct":
        return _from_oct(jwk, id, allowed=oct)
    key, algorithms = _MAKERS[jwk["kty"]](jwk)
    return tuple(bound(name, key, id) for name in _chosen(jwk, algorithms))


def _check_purpose(jwk: Mapping[str, Any]) -> None:
    if jwk.get("kty") not in ("oct", *_MAKERS):
        raise OtherPurpose("kty: expected RSA, EC, OKP or oct")
    if jwk.get("use", "sig") != "sig":
        raise OtherPurpose("use: not for signatures")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise OtherPurpose("key_ops: not for verifying")
    if jwk.get("alg", ALGORITHMS[0]) not in ALGORITHMS:
        raise OtherPurpose("alg: not a signature algorithm that is known")


def _chosen(jwk: Mapping[str, Any], algorithms: tuple[str, ...]) -> tuple[str, ...]:
    own = jwk.get("alg")
    if own is None:
        return algorithms
    if own not in algorithms:
        raise UnfitKey("alg: not one for this kind of key")
    return (own,)


def _from_oct(jwk: Mapping[str, Any], id: str | None, *, allowed: bool) -> tuple[VerifyKey, ...]:
    if not allowed:
        raise UnfitKey("a secret: expected public keys only")
    secret = _octets(jwk, "k")
    algorithms = _chosen(jwk, tuple(MIN_SECRET))
    if "alg" not in jwk:
        # At least the first, so that a secret that is too short for all is refused.
        fitting = (name for name in algorithms[1:] if len(secret) >= MIN_SECRET[name])
        algorithms = (algorithms[0], *fitting)
    return tuple(secret_key(name, secret, id=id) for name in algorithms)


def _from_rsa(jwk: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    modulus, exponent = _octets(jwk, "n"), _octets(jwk, "e")
    if len(modulus) > MAX_RSA // 8 + 1 or len(exponent) > 8:  # noqa: PLR2004
        raise UnfitKey(f"an RSA key of more than {MAX_RSA} bits, or an exponent of more than 64")
    numbers = rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big"))
    try:
        return numbers.public_key(), _RSA
    except ValueError:
        raise UnfitKey("not an RSA key: its numbers make none") from None


def _from_ec(jwk: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    algorithm = _CURVE_NAMES.get(_text(jwk, "crv"))
    if algorithm is None:
        raise OtherPurpose("crv: expected P-256, P-384 or P-521")
    curve = CURVES[algorithm]()
    x, y = _octets(jwk, "x"), _octets(jwk, "y")
    if not len(x) == len(y) == (curve.key_size + 7) // 8:
        raise UnfitKey("x, y: not of the curve's length (RFC 7518 section 6.2.1.2)")
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve
    )
    try:
        return numbers.public_key(), (algorithm,)
    except ValueError:
        raise UnfitKey("x, y: not a point of the curve") from None


def _from_okp(jwk: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    kind = _EDWARDS.get(_text(jwk, "crv"))
    if kind is None:
        raise OtherPurpose("crv: expected Ed25519 or Ed448")
    try:
        return kind.from_public_bytes(_octets(jwk, "x")), ("EdDSA",)
    except (ValueError, UnsupportedAlgorithm):
        raise UnfitKey("x: not a key of this curve") from None


_MAKERS = {"RSA": _from_rsa, "EC": _from_ec, "OKP": _from_okp}


def _text(jwk: Mapping[str, Any], name: str) -> str:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise UnfitKey(f"{name}: expected text")
    return value


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    try:
        return decode_segment(_text(jwk, name))
    except NotAToken:
        raise UnfitKey(f"{name}: expected base64url without padding") from None
