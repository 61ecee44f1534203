"""What the JWT schemes share: reading a token, remembering that it was verified, telling of it."""

from __future__ import annotations

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
from authz.values import fold

WRONG_ALGORITHM = "wrong_algorithm"
UNKNOWN_KEY_ID = "unknown_key_id"
INVALID_SIGNATURE = "invalid_signature"
TOKEN_REPLAYED = "token_replayed"
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
}
#: Longer tokens are verified each time: thousands of them would not fit into memory.
MEMORABLE = 4 * 1024
#: A nonce outlives its token by so many seconds, for workers whose clocks are behind.
MARGIN = 60
#: No `jti` is longer, in characters: it becomes a name in the store.
MAX_JTI = 256
#: Headers that routing, framing or other proxies rely on: no claim may set them.
_RESERVED = frozenset(
    (
        *("host", "content-length", "content-type", "content-encoding", "transfer-encoding"),
        *("connection", "keep-alive", "te", "trailer", "upgrade", "expect", "cookie", "forwarded"),
        *("authorization", "x-request-id", "x-real-ip", "via", "date"),
    )
)
_RESERVED_FAMILIES = ("x-consumer-", "x-credential-", "x-forwarded-", "x-envoy-", "proxy-")


class Seen(Struct, frozen=True):
    """A token that was taken apart. `token` is None for one that is remembered: then `key` signed
    it, which remains true whatever becomes of the credential."""

    algorithm: str
    key_id: str | None
    claims: dict[str, Any]
    token: Token | None = None
    key: VerifyKey | None = None

    def __repr__(self) -> str:
        return f"Seen({self.algorithm})"


def look_at(text: str, store: Lookup) -> Seen:
    """Take a token apart, or recall it. Raises `NotAToken`."""
    known = store.recall(text)
    if isinstance(known, Seen):
        return known
    token = tokens.parse(text)
    return Seen(token.algorithm, token.key_id, token.claims, token)


def is_signed(seen: Seen, text: str, key: VerifyKey, store: Lookup) -> bool:
    """Whether this key signed the token. What holds is remembered: a second time costs nothing."""
    if seen.key is not None and seen.key == key:
        return True
    if not key.holds(seen.token or tokens.parse(text)):
        return False
    if len(text) <= MEMORABLE:
        store.remember(text, Seen(seen.algorithm, seen.key_id, seen.claims, key=key))
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
    return json.dumps([*owner, jti]), ceil(claims["exp"] + grace - at) + MARGIN


# -- told to others --------------------------------------------------------------------------------


def check_header_names(names: list[str]) -> None:
    """Raises ValueError for headers that no claim may set, and for one that is named twice."""
    for name in names:
        folded = fold(name)
        if folded in _RESERVED or folded.startswith(_RESERVED_FAMILIES):
            raise ValueError(f"{name}: no claim may set this header")
    if len({fold(name) for name in names}) < len(names):
        raise ValueError("one header is named twice")


def claim_text(value: Any) -> str | None:
    """A claim as text for an upstream; None for one that is absent or null.

    Text is told as it is, several plain values joined by commas, all else as JSON; a list in which
    a comma would be ambiguous, too.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [_scalar(each) for each in value]
        if all(part is not None and "," not in part for part in parts):
            return ",".join(part or "" for part in parts)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _scalar(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else None


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
