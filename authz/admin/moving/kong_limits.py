"""Kong's rate-limiting as limits.

Facts: https://developer.konghq.com/plugins/rate-limiting/ and …/reference/. Its windows are those
of the calendar, and it counts apart for each plugin.
"""

from __future__ import annotations

from authz.admin.moving.limiting import BESIDE, Taken, Unsaid, number
from authz.admin.moving.wanted import Plain

KIND = "rate-limiting"
_PERIODS = {
    "second": "second",
    "minute": "minute",
    "hour": "hour",
    "day": "day",
    "month": "month",
    "year": "365 days",
}
_BY = {
    "consumer": "consumer",
    "credential": "credential",
    "ip": "address",
    "service": "service",
    "consumer-group": "group",
}
_SETTINGS = {
    *_PERIODS,
    *("limit_by", "policy", "fault_tolerant", "hide_client_headers"),
    *("error_code", "error_message", "header_name", "path"),
}
_STORE = ("redis", "sync_rate")
_WINDOW = "a window begins with the first request, not by the clock; a month is 30 days, a year 365"


def taken(settings: Plain, *, routed: bool, personal: bool) -> Taken:
    """The limits. `routed`: they are one route's. `personal`: a consumer's or a group's. Raises
    `Unsaid` where one of them cannot be said."""
    made = Taken(_WINDOW, *([BESIDE] if personal else []))
    written = str(settings.get("limit_by") or "consumer")
    # A route's limits are those of a service that holds it alone, with all its paths.
    by = "service" if written == "route" and routed else {**_BY, "route": "route"}.get(written)
    if by is None:
        raise Unsaid(f"nothing is counted by {written} here")
    common = {"by": by, **_common(settings, made)}
    if by == "group":
        made.change("who is in no group counts with all others that are not, not by address")
    if by == "route":
        made.change("of a route with several paths counts each apart")
    for name, per in _PERIODS.items():
        if settings.get(name) is None:
            continue
        requests = number(settings[name])
        if requests is None:
            raise Unsaid(f"{name}: is not a number of requests")
        made.add({"requests": requests, "per": per, **common})
    if not made.limits:
        raise Unsaid("says no limit")
    return made


def _common(settings: Plain, made: Taken) -> Plain:
    made.pass_over(settings, _SETTINGS, _STORE)
    if settings.get("error_message"):
        made.change("error_message is not told")
    return {
        **made.status(settings.get("error_code", 429), "error_code"),
        **({} if settings.get("fault_tolerant") is False else {"when_away": "open"}),
        **({"headers": False} if settings.get("hide_client_headers") is True else {}),
    }
