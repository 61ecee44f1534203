"""Taking from limits, and what a client is told of them.

Allowed or refused, the answer says how the limits stand: as `RateLimit-Policy` and `RateLimit`
(draft-ietf-httpapi-ratelimit-headers-10), and under the APISIX profiles as `X-RateLimit-Limit`,
`-Remaining` and `-Reset` (seconds to go) of the limit of which least is left, as its `limit-count`
does. A refusal has `Retry-After` (RFC 9110 section 10.2.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from authz.access.limits import TOO_MANY, Counted
from authz.access.rule import Call
from authz.contracts import Lookup, StoreDown
from authz.quotas import Standing
from authz.values import Denied, Once

#: Headers for the client.
Lines = tuple[tuple[str, str], ...]


def spend(counted: Sequence[Counted], onces: Sequence[Once], call: Call, store: Lookup) -> Lines:
    """Take one of each limit, if there is any, and use what may be used once. Raises `Denied`, and
    `StoreDown` for a store that is away, unless every limit is open then and nothing is to be used
    up."""
    if not counted:
        return ()
    try:
        spent = store.spend([each.quota for each in counted], onces)
    except StoreDown:
        if onces or any(each.limit.when_away == "closed" for each in counted):
            raise
        return ()
    if spent.replayed is not None:
        raise Denied(onces[spent.replayed].refusal)
    if spent.refused:
        raise refusal(counted, spent.standings, call)
    return told(counted, spent.standings, call)


def refusal(counted: Sequence[Counted], standings: Sequence[Standing | None], call: Call) -> Denied:
    """Of the limit that has the caller wait longest."""
    waits = [standing.wait if standing is not None else 0 for standing in standings]
    worst = counted[waits.index(max(waits))]
    deny = call.scheme.throttled(TOO_MANY, worst.limit.by, worst.limit.status, call.request)
    lines = (("retry-after", str(_seconds(max(waits)))), *told(counted, standings, call))
    return Denied(replace(deny, headers=(*deny.headers, *lines), limit=worst.quota.limit))


def told(counted: Sequence[Counted], standings: Sequence[Standing | None], call: Call) -> Lines:
    """How the limits stand of which a client may know, and somebody asked."""
    known = [
        (each, standing)
        for each, standing in zip(counted, standings, strict=True)
        if standing is not None and each.limit.headers
    ]
    if not known:
        return ()
    if call.scheme.tolerant:
        least, standing = min(known, key=lambda pair: pair[1].remaining)
        return (
            ("x-ratelimit-limit", str(least.limit.requests)),
            ("x-ratelimit-remaining", str(standing.remaining)),
            ("x-ratelimit-reset", str(_seconds(standing.reset))),
        )
    shown = (each.quota for each in counted if each.limit.headers)
    policies = (f'"{q.limit}";q={q.most};w={_seconds(q.window)}' for q in shown)
    states = (f'"{c.quota.limit}";r={s.remaining};t={_seconds(s.reset)}' for c, s in known)
    return ("ratelimit-policy", ", ".join(policies)), ("ratelimit", ", ".join(states))


def _seconds(milliseconds: int) -> int:
    """Rounded up: whoever waits so long has waited enough."""
    return -(-milliseconds // 1000)
