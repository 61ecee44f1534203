"""APISIX's limit-count as limits.

Facts: https://apisix.apache.org/docs/apisix/plugins/limit-count/. It counts apart for each object
that has it; a key without a value is the client's address.
"""

from __future__ import annotations

from typing import Literal

from authz.admin.moving.limiting import BESIDE, Taken, Unsaid, number, period
from authz.admin.moving.report import Path
from authz.admin.moving.source import items
from authz.admin.moving.wanted import Plain

KIND = "limit-count"
#: Whose a plugin is: of requests, of a consumer, or of a group.
Whose = Literal["service", "consumer", "group"]

_KEYS = {
    "remote_addr": "address",
    "consumer_name": "consumer",
    "consumer_group_id": "group",
    "route_id": "route",
    "service_id": "service",
}
_SETTINGS = {
    *("count", "time_window", "key", "key_type", "rules", "group", "window_type", "policy"),
    *("rejected_code", "rejected_msg", "allow_degradation", "show_limit_quota_header"),
}
_STORE = ("redis_", "key_ttl", "_meta")


def taken(settings: Plain, at: Path, whose: Whose) -> Taken:
    """The limits. Raises `Unsaid` where one of them cannot be said."""
    made = Taken(*([] if whose == "service" else [BESIDE]))
    common = _common(settings, made)
    if "rules" in settings:
        rules = [
            {**rule, "key_type": "var_combination"}
            for _, rule in items(settings["rules"], (*at, "rules"))
        ]
        made.change("a request without a rule's key counts, too; headers have no prefix")
    else:
        rules = [settings]
    for rule in rules:
        requests, seconds = number(rule.get("count")), number(rule.get("time_window"))
        if requests is None or seconds is None:
            raise Unsaid("is not a number of requests in a number of seconds")
        by = _by(rule, at, whose, made)
        made.add({"requests": requests, "per": period(seconds), "by": by, **common})
    if not made.limits:
        raise Unsaid("says no limit")
    return made


def _common(settings: Plain, made: Taken) -> Plain:
    made.pass_over(settings, _SETTINGS, _STORE)
    if settings.get("window_type") == "sliding":
        made.change("its window does not slide: a `burst` is more even")
    if settings.get("group"):
        made.change("counts apart from the others of its `group`")
    if settings.get("rejected_msg"):
        made.change("rejected_msg is not told")
    return {
        **made.status(settings.get("rejected_code", 503), "rejected_code"),
        **({"when_away": "open"} if settings.get("allow_degradation") is True else {}),
        **({"headers": False} if settings.get("show_limit_quota_header") is False else {}),
    }


def _by(rule: Plain, at: Path, whose: Whose, made: Taken) -> str:
    """Raises `Unsaid` for a key by which nothing is counted here."""
    kind, key = rule.get("key_type", "var"), str(rule.get("key", "remote_addr"))
    if kind == "constant":
        return whose
    name = key.removeprefix("$").strip("{}") if kind == "var_combination" else key
    if name not in _KEYS or (kind == "var_combination" and not key.startswith("$")):
        raise Unsaid(f"nothing is counted by {key!r} here")
    by = _KEYS[name]
    if by == "group":
        if whose == "consumer":
            return "consumer"
        made.change("who is in no group counts with all others that are not, not by address")
    if by == "route" and whose == "service" and "routes" in at:
        return "service"  # its limits are those of a service that holds it alone, all its paths
    if by == "route":
        made.change("of a route with several paths counts each apart")
    return by
