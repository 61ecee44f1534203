"""Every refusal that is not a scheme's own. The reasons are stable: people alert on them.

403 rather than 401 where no credential could mend the request.
"""

from __future__ import annotations

from typing import NamedTuple

from authz.values import Consumer, Credential, Denied, Deny

NO_ROUTE = Deny("no_route", 403, "No route matches this request")
NO_SCHEME = Deny("no_scheme", 403, "This route admits nobody")
#: The request can be read in two ways, and a guess would be an attack's way in.
AMBIGUOUS = Deny("ambiguous_request", 403, "Ambiguous request")
MALFORMED = Deny("malformed_request", 403, "Malformed request")
#: A path that a backend may resolve to another one than we matched.
UNSAFE_PATH = Deny("unsafe_path", 403, "Malformed request")
#: `X_Consumer_Username` and its like, which CGI-style backends read as our own header.
SPOOFED = Deny("spoofed_identity_header", 403, "Malformed request")
#: APISIX's words when none of several schemes is satisfied.
NONE_PROVEN = Deny("no_scheme_proven", 401, "Authorization Failed", scheme="multi-auth")
#: APISIX's words when `anonymous_consumer` names nobody; the scheme adds its challenge.
NO_ANONYMOUS = "Invalid user authorization"

#: All of them, for the list of reasons in the manual.
GENERAL = (NO_ROUTE, NO_SCHEME, AMBIGUOUS, MALFORMED, UNSAFE_PATH, SPOOFED)


class Lapses(NamedTuple):
    """Why something known does not hold; the client sees what a wrong credential gets."""

    disabled: str
    expired: str
    not_yet_valid: str


CREDENTIAL = Lapses("credential_disabled", "credential_expired", "credential_not_yet_valid")
CONSUMER = Lapses("consumer_disabled", "consumer_expired", "consumer_not_yet_valid")
CONSUMER_MISSING = "consumer_missing"
ANONYMOUS_MISSING = "anonymous_consumer_missing"
DIFFERENT_CONSUMERS = "credentials_of_different_consumers"

LIVENESS = (*CREDENTIAL, *CONSUMER, CONSUMER_MISSING, ANONYMOUS_MISSING, DIFFERENT_CONSUMERS)


class Foreign(Denied):
    """A credential stands where a scheme looks, but it belongs to another scheme.

    Alone on a route this is the refusal; beside other schemes, the next one may look.
    """


def not_live(credential: Credential | None, consumer: Consumer | None, at: float) -> str | None:
    """Why a credential or its consumer does not hold at this instant, or None."""
    if consumer is None:
        return CONSUMER_MISSING
    reason = _lapsed(credential, CREDENTIAL, at) if credential is not None else None
    return reason or _lapsed(consumer, CONSUMER, at)


def _lapsed(thing: Credential | Consumer, reasons: Lapses, at: float) -> str | None:
    if thing.disabled:
        return reasons.disabled
    if thing.expires_at and at >= thing.expires_at:
        return reasons.expired
    if at < thing.not_before:
        return reasons.not_yet_valid
    return None
