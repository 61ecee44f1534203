"""Taking a token apart: compact JWS (RFC 7515 section 7.1), canonical and of one reading."""

from __future__ import annotations

import base64
import re
from typing import Any

from msgspec import Struct

from authz import strict_json

#: Longer tokens are refused before anything of them is parsed, in characters.
MAX_TOKEN = 16 * 1024
MAX_KEY_ID = 256
ALGORITHMS = (
    *("HS256", "HS384", "HS512"),
    *("RS256", "RS384", "RS512"),
    *("ES256", "ES384", "ES512"),
    *("PS256", "PS384", "PS512"),
    "EdDSA",
)
#: Header parameters that change what a signature means, or where its key comes from. None is
#: understood here, so a token that relies on one cannot be judged (RFC 7515 section 4.1.11).
_REFUSED = ("crit", "b64", "zip", "cty", "epk", "enc")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")

TOO_LONG = "token_too_long"
NOT_THREE_SEGMENTS = "token_not_three_segments"
NOT_BASE64URL = "token_not_base64url"
NOT_JSON = "token_not_json"
HEADER_REFUSED = "token_header_refused"
ALGORITHM_UNKNOWN = "token_algorithm_unknown"
SIGNATURE_MALFORMED = "token_signature_malformed"
#: Every reason of `NotAToken`, and what it means.
REASONS = {
    TOO_LONG: "the token is longer than 16 KiB",
    NOT_THREE_SEGMENTS: "the token is not header, payload and signature, joined by dots",
    NOT_BASE64URL: "the token's header or payload is not canonical base64url",
    NOT_JSON: "the token's header or payload is not a JSON object that reads in one way only",
    HEADER_REFUSED: "the token's header has `crit`, `b64`, `zip`, `cty`, `epk` or `enc`, which "
    "change what a signature means, or a malformed `kid` or `typ`",
    ALGORITHM_UNKNOWN: "the token's header names no signature algorithm that is known",
    SIGNATURE_MALFORMED: "the token's signature is not canonical base64url",
}


class NotAToken(ValueError):
    """Not a compact JWS, or one that two verifiers might read differently; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Jws(Struct, frozen=True):
    """A signed text taken apart. Nothing of it is proven yet. `signed` is what the signature is
    made over."""

    header: dict[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        """One of `ALGORITHMS`."""
        return str(self.header["alg"])

    @property
    def key_id(self) -> str | None:
        found: str | None = self.header.get("kid")
        return found

    @property
    def type(self) -> str:
        """The header's `typ` in lower case (RFC 7515 section 4.1.9); empty when there is none."""
        return str(self.header.get("typ", "")).lower()

    def __repr__(self) -> str:  # a token is a credential
        return f"{type(self).__name__}({self.algorithm})"


class Token(Jws, frozen=True):
    """A JSON Web Token taken apart: a signed JSON object. Nothing of it is proven yet."""

    claims: dict[str, Any]


def parse(text: str) -> Token:
    """Take a JSON Web Token apart. Raises `NotAToken`."""
    header, payload, signature = _segments(text)
    head = _object(header)
    claims = _object(payload)
    _check_header(head)
    return Token(head, payload, _signed(text), _decode_signature(signature), claims)


def parse_jws(text: str) -> Jws:
    """Take apart a compact JWS of any payload. Raises `NotAToken`."""
    header, payload, signature = _segments(text)
    head = _object(header)
    _check_header(head)
    return Jws(head, payload, _signed(text), _decode_signature(signature))


def decode_segment(segment: str) -> bytes:
    """Base64url without padding, in its one canonical spelling. Raises `NotAToken`."""
    # Re-encoding finds the unused bits after the end, which a decoder drops.
    if _BASE64URL.fullmatch(segment) and len(segment) % 4 != 1:
        data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        if encode_segment(data) == segment:
            return data
    raise NotAToken(NOT_BASE64URL)


def encode_segment(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _segments(text: str) -> tuple[bytes, bytes, str]:
    """Header and payload decoded, and the signature as it stands."""
    if len(text) > MAX_TOKEN:
        raise NotAToken(TOO_LONG)
    segments = text.split(".")
    if len(segments) != 3 or not segments[2]:  # noqa: PLR2004 - header, payload, signature
        raise NotAToken(NOT_THREE_SEGMENTS)
    header, payload, signature = segments
    return decode_segment(header), decode_segment(payload), signature


def _signed(text: str) -> bytes:
    return text.rpartition(".")[0].encode()


def _decode_signature(segment: str) -> bytes:
    try:
        return decode_segment(segment)
    except NotAToken:
        raise NotAToken(SIGNATURE_MALFORMED) from None


def _object(data: bytes) -> dict[str, Any]:
    try:
        return strict_json.load_object(data)
    except strict_json.NotStrict:
        raise NotAToken(NOT_JSON) from None


def _check_header(header: dict[str, Any]) -> None:
    if any(name in header for name in _REFUSED):
        raise NotAToken(HEADER_REFUSED)
    if "kid" in header and not is_key_id(header["kid"]):
        raise NotAToken(HEADER_REFUSED)
    if not isinstance(header.get("typ", ""), str):
        raise NotAToken(HEADER_REFUSED)
    if header.get("alg") not in ALGORITHMS:
        raise NotAToken(ALGORITHM_UNKNOWN)


def is_key_id(value: Any) -> bool:
    """Whether this may name a key: text of 1 to 256 characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_KEY_ID
