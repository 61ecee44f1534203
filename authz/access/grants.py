"""Who may call what: a consumer's grants, and its groups', for a service or a route, in a stage,
within a time.

The stage is the one that Envoy's route names in `context_extensions`, which a client cannot write;
without it the one that the client names, as clients of Alibaba Cloud API Gateway do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from authz.access.rule import Call
from authz.denials import AMBIGUOUS, MALFORMED
from authz.values import EVERY_STAGE, RELEASE, Denied, Grant, Request

STAGE_HEADER = "x-ca-stage"
_STAGE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: What a grant may name.
STAGE = re.compile(rf"\*|{_STAGE.pattern}")
Stage = Annotated[
    str,
    Meta(
        pattern=rf"^(?:{STAGE.pattern})$(?!\n)",
        description="RELEASE, PRE, TEST or a name of your own; `*` for every one.",
    ),
]

MISSING = "not_granted"
EXPIRED = "grant_expired"
NOT_YET = "grant_not_yet_valid"
WRONG_STAGE = "grant_wrong_stage"
REQUESTED = "grant_requested"
REFUSED = "grant_refused"

#: What they mean.
REASONS = {
    MISSING: "the consumer has no grant for this API",
    WRONG_STAGE: "it has one, for another stage",
    REQUESTED: "a grant was asked for, and nobody has approved it yet",
    REFUSED: "a grant was asked for and refused",
    NOT_YET: "the grant's `not_before` is to come",
    EXPIRED: "the grant's `not_after` is past",
}


def stage_of(request: Request) -> str:
    """The stage that a request is for. Raises `Denied` where it names two, or none that is one."""
    named = request.context.get("stage")
    values = request.headers.get(STAGE_HEADER) if named is None else (named,)
    if len(values) > 1:
        raise Denied(AMBIGUOUS)
    stage = values[0] if values else RELEASE
    if not _STAGE.fullmatch(stage):
        raise Denied(MALFORMED)
    return stage


def require(call: Call, grants: Sequence[Grant]) -> None:
    """Raises `Denied` unless one of them covers the call."""
    reason = judged(grants, call.service, call.route, stage_of(call.request), call.request.at)
    if reason is not None:
        raise call.forbidden(reason)


def judged(grants: Sequence[Grant], service: str, route: str, stage: str, at: float) -> str | None:
    """Why none of these grants covers such a call at `at` (Unix seconds), or None if one does. Of
    several that nearly do, the nearest is told."""
    here = [g for g in grants if g.service == service and g.route in ("", route)]
    staged = [g for g in here if g.stage in (stage, EVERY_STAGE)]
    reasons = {_lapsed(grant, at) for grant in staged}
    if None in reasons:
        return None
    for reason in (EXPIRED, NOT_YET, REQUESTED, REFUSED):
        if reason in reasons:
            return reason
    return WRONG_STAGE if any(g.state == "approved" for g in here) else MISSING


def _lapsed(grant: Grant, at: float) -> str | None:
    if grant.state == "requested":
        return REQUESTED
    if grant.state == "refused":
        return REFUSED
    if at < grant.not_before:
        return NOT_YET
    if grant.not_after and at >= grant.not_after:
        return EXPIRED
    return None
