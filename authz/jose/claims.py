"""What a verified token's claims must say (RFC 7519 section 4.1), and when."""

from __future__ import annotations

from math import inf
from typing import Any, Literal

from msgspec import Struct

#: The end of the year 9999: the last instant that a date can name, in Unix seconds.
MAX_TIME = 253402300799

TOKEN_EXPIRED = "token_expired"
TOKEN_NOT_YET_VALID = "token_not_yet_valid"
ISSUED_IN_FUTURE = "token_issued_in_future"
CLAIM_MISSING = "claim_missing"
CLAIM_MALFORMED = "claim_malformed"
WRONG_ISSUER = "wrong_issuer"
WRONG_AUDIENCE = "wrong_audience"
#: Every reason that `check` may give, and what it means.
REASONS = {
    TOKEN_EXPIRED: "the token's `exp` has passed",
    TOKEN_NOT_YET_VALID: "the token's `nbf` has not come",
    ISSUED_IN_FUTURE: "the token's `iat` lies ahead",
    CLAIM_MISSING: "the token lacks a claim that must be there",
    CLAIM_MALFORMED: "a claim has the wrong type: `exp`, `nbf`, `iat` are numbers from 0 to the "
    "year 9999, `aud` is text or texts, `jti` is text",
    WRONG_ISSUER: "the token's `iss` is another issuer",
    WRONG_AUDIENCE: "the token's `aud` is another audience",
}


class Rules(Struct, frozen=True):
    """What to ask of claims.

    `listed` of `exp` and `nbf`: these must be there, and `unlisted` says whether the other is
    checked where it is present; None: both are checked where they are present. `grace`, in seconds,
    widens all times. `strict_start`: at the very instant of nbf a token is not yet valid. `issued`:
    whether iat is ignored, must be a number, or must also not lie ahead. `audience`: the token's
    must contain one of these.
    """

    listed: tuple[str, ...] | None = None
    unlisted: bool = True
    grace: float = 0
    strict_start: bool = False
    issued: Literal["ignored", "number", "past"] = "number"
    issuer: str | None = None
    audience: tuple[str, ...] = ()

    def covers(self, name: str) -> bool:
        """Whether this time is checked where it is present."""
        return self.listed is None or self.unlisted or name in self.listed


def check(claims: dict[str, Any], rules: Rules, at: float) -> str | None:
    """Why these claims do not hold at this instant, in Unix seconds; or None."""
    return (
        _check_times(claims, rules, at)
        or _check_issued(claims, rules, at)
        or _check_issuer(claims, rules)
        or _check_audience(claims, rules)
    )


def end(claims: dict[str, Any]) -> float:
    """Until when claims that hold go on to hold: whatever else is asked of them, time does not
    undo it."""
    exp: Any = claims.get("exp")
    return float(exp) if is_time(exp) else inf


def is_time(value: Any) -> bool:
    """Whether this is a NumericDate: a JSON number of Unix seconds, not after the year 9999."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= MAX_TIME


def _check_times(claims: dict[str, Any], rules: Rules, at: float) -> str | None:
    for name, check_time in (("exp", _check_end), ("nbf", _check_start)):
        if name in claims:
            reason = check_time(claims[name], rules, at) if rules.covers(name) else None
        else:
            reason = CLAIM_MISSING if name in (rules.listed or ()) else None
        if reason is not None:
            return reason
    return None


def _check_end(exp: Any, rules: Rules, at: float) -> str | None:
    if not is_time(exp):
        return CLAIM_MALFORMED
    return TOKEN_EXPIRED if exp + rules.grace <= at else None


def _check_start(nbf: Any, rules: Rules, at: float) -> str | None:
    if not is_time(nbf):
        return CLAIM_MALFORMED
    ahead = nbf - rules.grace - at
    return TOKEN_NOT_YET_VALID if ahead > 0 or (rules.strict_start and ahead == 0) else None


def _check_issued(claims: dict[str, Any], rules: Rules, at: float) -> str | None:
    if rules.issued == "ignored" or "iat" not in claims:
        return None
    if not is_time(claims["iat"]):
        return CLAIM_MALFORMED
    ahead = claims["iat"] - rules.grace > at
    return ISSUED_IN_FUTURE if ahead and rules.issued == "past" else None


def _check_issuer(claims: dict[str, Any], rules: Rules) -> str | None:
    if rules.issuer is None:
        return None
    if "iss" not in claims:
        return CLAIM_MISSING
    return None if claims["iss"] == rules.issuer else WRONG_ISSUER


def _check_audience(claims: dict[str, Any], rules: Rules) -> str | None:
    if not rules.audience:
        return None
    if "aud" not in claims:
        return CLAIM_MISSING
    found = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if not all(isinstance(each, str) for each in found):
        return CLAIM_MALFORMED
    return None if any(each in rules.audience for each in found) else WRONG_AUDIENCE
