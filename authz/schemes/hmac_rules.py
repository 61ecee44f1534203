"""hmac-auth as it is since APISIX 3.11: what a signature must have to hold on a route."""

from __future__ import annotations

import math
from functools import cached_property

from msgspec import Struct

from authz.schemes.hmac_key import HmacKey
from authz.schemes.hmac_request import (
    ABSENT,
    ALGORITHM,
    BAD_SIGNATURE,
    CLOCK_SKEW,
    DATE_MALFORMED,
    DATE_MISSING,
    DIGEST_MISMATCH,
    DIGEST_MISSING,
    NOT_SIGNED,
    Claim,
    Refused,
    same,
    target_of,
    value_of,
    whole_body,
)
from authz.schemes.http_date import http_date, imf_fixdate
from authz.signing import hmac_auth
from authz.signing.hmac_auth import REQUEST_TARGET, encoded
from authz.values import Request, raw


class Rules(Struct, frozen=True, dict=True):
    """A route's rules. `required` names what must be signed: in lower case, unless tolerant, where
    the letter counts. `body_limit`, in bytes, is None where the body is not looked at."""

    algorithms: tuple[str, ...]
    clock_skew: int
    required: tuple[str, ...]
    body_limit: int | None
    tolerant: bool

    @cached_property
    def _required(self) -> frozenset[str]:
        return frozenset(self.required)

    def verify(self, claim: Claim, key: HmacKey, request: Request) -> int:
        """Until when this signature holds, in Unix seconds. Raises `Refused`.

        What only depends on the request comes first, so that no key costs less than any other.
        """
        if claim.algorithm not in self.algorithms:
            raise Refused(ALGORITHM)
        date = value_of(request, "date", tolerant=self.tolerant)
        until = valid_until(date, self.clock_skew, request, tolerant=self.tolerant)
        self._require_signed(claim, request)
        text = self.string_to_sign(claim, request, date)
        expected = encoded(key.tag(claim.algorithm, raw(text)))
        if not same(expected, claim.signature, tolerant=self.tolerant):
            raise Refused(BAD_SIGNATURE)
        if not self.tolerant and key.algorithm not in (None, claim.algorithm):
            raise Refused(ALGORITHM)
        if self.body_limit is not None:
            expected = hmac_auth.digest(whole_body(request, self.body_limit))
            sent = value_of(request, "digest", tolerant=self.tolerant)
            if not same(expected, sent or ""):
                raise Refused(DIGEST_MISMATCH)
        return until

    def string_to_sign(self, claim: Claim, request: Request, date: str | None = None) -> str:
        """Raises `Refused` where something of it can be read in two ways, or is not there at all;
        APISIX passes over that. `date` is that header's value, where it was read before."""
        target = target_of(request) if REQUEST_TARGET in claim.names else ""

        def value(name: str) -> str | None:
            known = date if name == "date" else None
            found = known or value_of(request, name, tolerant=self.tolerant)
            if found is None and not self.tolerant:
                raise Refused(ABSENT)
            return found

        return hmac_auth.string_to_sign(claim.key_id, request.method, target, claim.names, value)

    def _require_signed(self, claim: Claim, request: Request) -> None:
        if self.body_limit is not None and "digest" not in request.headers:
            raise Refused(DIGEST_MISSING)
        named = claim.names if self.tolerant else claim.signed
        if not self._required.issubset(named):
            raise Refused(NOT_SIGNED)
        # APISIX passes over what is not there, and so would sign nothing where much is required.
        for name in self.required if self.tolerant else ():
            if name != REQUEST_TARGET and value_of(request, name, tolerant=True) is None:
                raise Refused(ABSENT)


def valid_until(date: str | None, skew: int, request: Request, *, tolerant: bool) -> int:
    """The last second in which a signature of this date holds. Raises `Refused` unless now is in
    time, `skew` seconds either way."""
    if not date:
        raise Refused(DATE_MISSING)
    at = http_date(date) if tolerant else imf_fixdate(date)
    if at is None:
        raise Refused(DATE_MALFORMED)
    # A date has whole seconds, and so has the comparison.
    if abs(math.floor(request.at) - at) > skew:
        raise Refused(CLOCK_SKEW)
    return at + skew
