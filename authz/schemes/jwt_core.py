"""What the JWT schemes share: reading a token, remembering that it was verified, telling of it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from math import ceil
from typing import Any

from msgspec import Struct

from authz.contracts import Lookup
from authz.jose import claims as claims_of
from authz.jose import tokens
from authz.jose.claims import Rules
from authz.jose.keys import VerifyKey
from authz.jose.tokens import NotAToken, Token

WRONG_ALGORITHM = "wrong_algorithm"
UNKNOWN_KEY_ID = "unknown_key_id"
INVALID_SIGNATURE = "invalid_signature"
TOKEN_REPLAYED = "token_replayed"
CLAIMS_TOO_LONG = "claims_too_long"
NOT_BEARER = "not_bearer"
#: What a token may be refused for, by all of the schemes.
REASONS = {
    NOT_BEARER: "Authorization of another scheme",
    **tokens.REASONS,
    WRONG_ALGORITHM: "the token's `alg` is not the credential's",
    UNKNOWN_KEY_ID: "the key set has no key with the token's `kid` and `alg`, or without a `kid` "
    "more than one",
    INVALID_SIGNATURE: "the credential's key did not sign the token",
    **claims_of.REASONS,
    TOKEN_REPLAYED: "a token with this `jti` was used before",
    CLAIMS_TOO_LONG: "the claims that the upstream is to be told make more than 8 KiB",
}
#: Longer tokens are verified each time: thousands of them would not fit into memory.
MEMORABLE = 4 * 1024
#: A nonce outlives its token by so many seconds, for workers whose clocks are behind.
MARGIN = 60
#: No `jti` is longer, in characters: it becomes a name in the store.
MAX_JTI = 256


class Proven(Struct, frozen=True):
    """What is remembered of a token: that this key signed it, which remains true whatever becomes
    of the credential. Its claims stay text: as values they may take twenty times the memory."""

    algorithm: str
    key_id: str | None
    type: str
    payload: bytes
    key: VerifyKey

    def __repr__(self) -> str:
        return f"Proven({self.algorithm})"


class Seen(Struct, frozen=True):
    """A token that was taken apart: `token`; or one that is remembered: `key` signed it. `type` is
    the header's `typ` in lower case, empty when there is none."""

    algorithm: str
    key_id: str | None
    type: str
    claims: dict[str, Any]
    token: Token | None = None
    key: VerifyKey | None = None

    def __repr__(self) -> str:
        return f"Seen({self.algorithm})"


def look_at(text: str, store: Lookup) -> Seen:
    """Take a token apart, or recall it. Raises `NotAToken`."""
    known = store.recall(text)
    if isinstance(known, Proven):
        claims = json.loads(known.payload)  # which was read strictly before
        return Seen(known.algorithm, known.key_id, known.type, claims, key=known.key)
    token = tokens.parse(text)
    return Seen(token.algorithm, token.key_id, token.type, token.claims, token)


def is_signed(seen: Seen, text: str, key: VerifyKey, store: Lookup) -> bool:
    """Whether this key signed the token. What holds is remembered: a second time costs little."""
    if seen.key is not None and seen.key == key:
        return True
    token = seen.token or tokens.parse(text)
    if not key.holds(token):
        return False
    if len(text) <= MEMORABLE:
        known = Proven(token.algorithm, token.key_id, token.type, token.payload, key)
        store.remember(text, known)
    return True


# -- used once -------------------------------------------------------------------------------------


class NotOnce(Exception):
    """A token that cannot be used just once; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def nonce(
    claims: dict[str, Any], owner: tuple[str, ...], grace: float, at: float
) -> tuple[str, int]:
    """What makes a token count once: a nonce of its `jti`, another one for each owner, and for how
    many seconds to remember it. Raises `NotOnce` unless the token has `jti` and a live `exp`."""
    reason = claims_of.check(claims, Rules(("exp",), False, grace, issued="ignored"), at)
    if reason is not None:
        raise NotOnce(reason)
    jti = claims.get("jti")
    if "jti" not in claims:
        raise NotOnce(claims_of.CLAIM_MISSING)
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        raise NotOnce(claims_of.CLAIM_MALFORMED)
    # Digested, so that nobody can make it long: the store holds it for as long as the token says.
    name = hashlib.sha256(json.dumps([*owner, jti]).encode()).hexdigest()
    return name, ceil(claims["exp"] + grace - at) + MARGIN


# -- for an operator -------------------------------------------------------------------------------


def notes_of(text: str, *names: str) -> tuple[tuple[str, str], ...]:
    """What an operator may know of a token: its algorithm, key id, these claims and its times.
    Nothing of it is proven."""
    try:
        token = tokens.parse(text)
    except NotAToken as refused:
        return (("token", tokens.REASONS[refused.reason]),)
    made = [("algorithm", token.algorithm)]
    if token.key_id is not None:
        made.append(("key id", _shown(token.key_id)))
    made += [
        (f"claim {name}", _shown(token.claims[name])) for name in names if name in token.claims
    ]
    for name in ("exp", "nbf"):
        if name in token.claims:
            made.append((f"claim {name}", _instant(token.claims[name])))
    return tuple(made)


def _shown(value: Any) -> str:
    if isinstance(value, str) and value.isprintable():
        return value[:256]
    return ascii(value)[:256]


def _instant(value: Any) -> str:
    if not claims_of.is_time(value):
        return _shown(value)
    return datetime.fromtimestamp(value, UTC).isoformat()
