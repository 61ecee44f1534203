"""hmac-auth as APISIX had it from 2.x to 3.10 (profile apisix-3.9): hmac-auth-v1.

The rules are the credential's, not the route's. `Date` and `X-HMAC-DIGEST` may be left out where
the credential does not ask for them.
"""

from __future__ import annotations

from authz.schemes.hmac_key import HmacKey
from authz.schemes.hmac_request import (
    ALGORITHM,
    BAD_SIGNATURE,
    DIGEST_MISMATCH,
    DIGEST_MISSING,
    MALFORMED,
    NOT_ALLOWED,
    Claim,
    Refused,
    authorization,
    bounded,
    same,
    target_of,
    value_of,
    whole_body,
)
from authz.schemes.hmac_rules import valid_until
from authz.signing import hmac_legacy
from authz.signing.hmac_auth import HASHES, signature
from authz.values import Request

ACCESS_KEY = "x-hmac-access-key"
DIGEST = "x-hmac-digest"
#: Removed from what the upstream sees, unless the credential keeps them.
STRIPPED = ("x-hmac-signature", "x-hmac-algorithm", "x-hmac-signed-headers")
#: What a credential's signatures have unless it says otherwise.
DEFAULT_ALGORITHM = "hmac-sha256"

#: Key, signature, algorithm, date and names.
_PARTS = 5


def read(request: Request) -> Claim | None:
    """What X-HMAC-* headers say, or else Authorization. Raises `Refused`."""
    key = _first(request, ACCESS_KEY)
    if key is not None:
        sent, algorithm, names = (_first(request, name) for name in STRIPPED)
        if sent is None or algorithm is None:
            raise Refused(MALFORMED)
        return _claim(key, sent, algorithm, _first(request, "date") or "", names or "")
    rest = authorization(request, f"{hmac_legacy.MARK}#")
    if rest is None:
        return None
    parts = rest.split("#")
    if len(parts) != _PARTS:
        raise Refused(MALFORMED)
    return _claim(*parts)


def _claim(key: str, sent: str, algorithm: str, date: str, names: str) -> Claim:
    # A name with a colon could pass for another name with the start of its value.
    if ":" in names:
        raise Refused(MALFORMED)
    listed = bounded(names.split(";") if names else [], tolerant=True)
    signed = frozenset(name.lower() for name in listed)
    return Claim(key, algorithm, sent, listed, signed, date)


def _first(request: Request, name: str) -> str | None:
    return value_of(request, name, tolerant=True)


def verify(
    claim: Claim, key: HmacKey, request: Request, *, skew: int, body_limit: int | None
) -> int:
    """Until when this signature holds, in Unix seconds; 0 where no date is asked for (`skew` is 0).
    Raises `Refused`. `body_limit`, in bytes, is None where the body is not looked at.

    The credential's rules come last, so that no key costs less than any other.
    """
    if claim.algorithm not in HASHES:
        raise Refused(ALGORITHM)
    text = string_to_sign(claim, request, encode_uri_params=key.encode_uri_params)
    expected = signature(key.secret_key.value, claim.algorithm, text)
    if not same(expected, claim.signature, tolerant=True):
        raise Refused(BAD_SIGNATURE)
    if claim.algorithm != (key.algorithm or DEFAULT_ALGORITHM):
        raise Refused(ALGORITHM)
    if key.signed_headers and not set(claim.names) <= set(key.signed_headers):
        raise Refused(NOT_ALLOWED)
    until = valid_until(claim.date, skew, request, tolerant=True) if skew else 0
    if body_limit is not None:
        _verify_digest(claim, key, request, body_limit)
    return until


def _verify_digest(claim: Claim, key: HmacKey, request: Request, limit: int) -> None:
    sent = _first(request, DIGEST)
    if sent is None:
        raise Refused(DIGEST_MISSING)
    body = whole_body(request, limit)
    if not same(hmac_legacy.body_digest(key.secret_key.value, claim.algorithm, body), sent):
        raise Refused(DIGEST_MISMATCH)


def string_to_sign(claim: Claim, request: Request, *, encode_uri_params: bool = True) -> str:
    """Raises `Refused` for a target that can be read in two ways."""
    try:
        return hmac_legacy.string_to_sign(
            request.method,
            target_of(request),
            claim.key_id,
            claim.date or "",
            claim.names,
            lambda name: _first(request, name),
            encode_uri_params=encode_uri_params,
        )
    except ValueError:
        raise Refused(MALFORMED) from None


def kept(request: Request) -> tuple[tuple[str, str], ...]:
    """The headers that are otherwise stripped, as they were sent. Raises `Refused`."""
    found = ((name, _first(request, name)) for name in STRIPPED)
    return tuple((name, value) for name, value in found if value is not None)
