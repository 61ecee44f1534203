"""JSON Web Signatures (RFC 7515): what all JWT schemes share.

A token is taken apart under strict rules before any key is looked for, and verified with one key
whose algorithm was fixed when it was registered: the token chooses neither (RFC 8725 section 3.1).
PyJWT and cryptography do the arithmetic.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from cryptography.exceptions import InvalidSignature
from jwt.algorithms import get_default_algorithms
from msgspec import Struct

from authz.schemes import strict_json

#: Longer tokens are refused before anything of them is parsed.
MAX_TOKEN = 16 * 1024
MAX_KEY_ID = 256
ALGORITHMS = (
    *("HS256", "HS384", "HS512"),
    *("RS256", "RS384", "RS512"),
    *("ES256", "ES384", "ES512"),
    *("PS256", "PS384", "PS512"),
    "EdDSA",
)
#: Length of a raw r||s signature, in bytes (RFC 7518 section 3.4).
_EC_SIGNATURE = {"ES256": 64, "ES384": 96, "ES512": 132}
#: Header parameters that change what a signature means, or where its key comes from. None is
#: understood here, so a token that relies on one cannot be judged (RFC 7515 section 4.1.11).
_REFUSED = ("crit", "b64", "zip", "cty", "epk", "enc")

_VERIFIERS: dict[str, Any] = get_default_algorithms()


class NotAToken(ValueError):
    """Not a compact JWS of a JSON object, or one that two verifiers might read differently."""


class Token(Struct, frozen=True):
    """A token taken apart. Nothing of it is proven yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        return str(self.header["alg"])

    @property
    def key_id(self) -> str | None:
        found: str | None = self.header.get("kid")
        return found

    def __repr__(self) -> str:  # a token is a credential
        return "Token()"


def parse(text: str) -> Token:
    """Take a compact JWS apart. Raises `NotAToken`."""
    if len(text) > MAX_TOKEN:
        raise NotAToken("too long")
    segments = text.split(".")
    if len(segments) != 3:  # noqa: PLR2004 - header, payload, signature
        raise NotAToken("not three segments")
    header, payload, signature = (decode_segment(segment) for segment in segments)
    try:
        made = Token(
            header=strict_json.load_object(header),
            claims=strict_json.load_object(payload),
            signed=text.rpartition(".")[0].encode(),
            signature=signature,
        )
    except strict_json.NotStrict as error:
        raise NotAToken(str(error)) from None
    _check_header(made.header)
    return made


def _check_header(header: dict[str, Any]) -> None:
    if header.get("alg") not in ALGORITHMS:
        raise NotAToken("no algorithm that is known")
    if any(name in header for name in _REFUSED):
        raise NotAToken("a header parameter that is not understood")
    kid = header.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KEY_ID):
        raise NotAToken("kid is no short text")
    if not isinstance(header.get("typ", ""), str):
        raise NotAToken("typ is no text")


def decode_segment(segment: str) -> bytes:
    """Base64url without padding, in its one canonical spelling. Raises `NotAToken`."""
    try:
        data = base64.b64decode(segment + "=" * (-len(segment) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise NotAToken("not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=") != segment.encode():
        raise NotAToken("not canonical base64url")
    return data


class VerifyKey(Struct, frozen=True):
    """A key bound to one algorithm. `key` is what PyJWT's algorithm object takes."""

    algorithm: str
    key: Any
    id: str | None = None

    def holds(self, token: Token) -> bool:
        """Whether this key signed the token, with this key's algorithm and no other."""
        if token.algorithm != self.algorithm:
            return False
        expected = _EC_SIGNATURE.get(self.algorithm)
        if expected is not None and len(token.signature) != expected:
            return False
        try:
            verifier = _VERIFIERS[self.algorithm]
            return bool(verifier.verify(token.signed, self.key, token.signature))
        except (InvalidSignature, ValueError):
            return False

    def __repr__(self) -> str:
        return f"VerifyKey({self.algorithm})"
