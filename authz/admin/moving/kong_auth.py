"""Kong's plugins as what a route asks of callers.

Facts: https://developer.konghq.com/plugins/ (key-auth, basic-auth, jwt, hmac-auth, acl) and
https://developer.konghq.com/gateway/authentication/ for several of them on one route.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from authz.access import RULES
from authz.admin.moving import kong_limits
from authz.admin.moving.kong_schemes import SCHEMES_THERE, Tell
from authz.admin.moving.limiting import Unsaid
from authz.admin.moving.names import id_of
from authz.admin.moving.report import Path, Report
from authz.admin.moving.source import texts
from authz.admin.moving.wanted import NOBODY, Limits, Plain, Policy
from authz.plain import place_first
from authz.schemes import SCHEMES

#: Plugins without whose check nobody may pass: that cannot be made here.
GUARDS = {
    "acl", "header-cert-auth", "ip-restriction", "jwt-signer", "ldap-auth", "ldap-auth-advanced",
    "mtls-auth", "oauth2", "oauth2-introspection", "opa", "openid-connect", "request-termination",
    "saml", "session", "vault-auth", "upstream-oauth",
}  # fmt: skip
#: Plugins that refuse requests for another reason than who sends them.
_FILTERS = {
    "bot-detection", "rate-limiting-advanced", "request-size-limiting", "response-ratelimiting",
}  # fmt: skip
_RESTRICTION = "consumer-restriction"
_LAST = "the anonymous consumer is for those who send no credential, not for wrong ones"

#: Plugins in force by name, each with where it stands.
InForce = dict[str, tuple[Path, Plain]]
#: What the name of an anonymous consumer, or its id, is here; empty for nobody.
Guest = Callable[[str], str]


class Plugins:
    """Makes policies of plugins. What a plugin became is reported once. `tiers` are the names of
    consumer groups, which acl's own groups may share and usually does not mean."""

    def __init__(self, report: Report, guest: Guest, tiers: frozenset[str]) -> None:
        self._report = report
        self._guest = guest
        self._tiers = tiers
        self._told: set[tuple[Path, str]] = set()

    def policy(self, plugins: InForce, whose: Path) -> Policy:
        """What all of these ask; nobody passes where one cannot be asked for."""
        access: Plain = {}
        whole = True
        for name, (at, settings) in plugins.items():
            if name in SCHEMES_THERE or name == kong_limits.KIND:
                continue
            if name == "acl" and _RESTRICTION in RULES:
                access[_RESTRICTION] = self._acl(at, settings)
                whole = whole and access[_RESTRICTION] is not None
            elif name in GUARDS:
                whole = False
                self._tell("left", at, "cannot be asked for here: what it guards admits nobody")
            elif name in _FILTERS:
                self._tell("left", at, "is not taken over")
            else:
                self._tell("other", at, "does not say who may call")
        auth = self._auth(plugins)
        if whole and not plugins.keys() & SCHEMES_THERE.keys():
            self._report.left(whose, "nobody is asked who they are: here it admits nobody")
        limits = self._limits(plugins)
        return Policy(auth, access, limits) if whole and auth is not None else NOBODY

    def _limits(self, plugins: InForce) -> Limits | None:
        """One that is left closes nothing: without it the same people call, more often."""
        if kong_limits.KIND not in plugins:
            return None
        at, settings = plugins[kong_limits.KIND]
        made = limits_of(settings, at, self._tell, personal=False)
        return Limits(at, made) if made else None

    def _acl(self, at: Path, settings: Plain) -> Plain | None:
        lists = {"allow": "whitelist", "deny": "blacklist"}
        named = {name for word in lists for name in texts(settings.get(word) or [])}
        if named & self._tiers and not settings.get("include_consumer_groups"):
            self._tell("left", at, "means groups of which consumer groups have the names")
            return None
        made: Plain = {"type": "consumer_group_id"}
        for word, ours in lists.items():
            if settings.get(word):
                made[ours] = [id_of(name) for name in texts(settings[word])]
        try:
            msgspec.convert(made, RULES[_RESTRICTION])
        except msgspec.ValidationError as error:
            self._tell("left", at, place_first(str(error), "acl"))
            return None
        self._tell("took", at, f"as {_RESTRICTION} by group")
        return made

    def _auth(self, plugins: InForce) -> Plain | None:
        """Plugins with an anonymous consumer are alternatives; those without must all pass."""
        names = [name for name in SCHEMES_THERE if name in plugins]
        strict = [name for name in names if not plugins[name][1].get("anonymous")]
        if strict and len(strict) < len(names):
            for name in set(names) - set(strict):
                self._tell("changed", plugins[name][0], "is not asked: others are, in any case")
        chosen = strict or names
        found = [self._scheme(name, *plugins[name]) for name in chosen]
        if not found or not all(found):
            return None
        if not strict:
            return _any([member for members in found for member in members])
        if len(found) == 1:
            return _any(found[0])
        for name, members in zip(chosen, found, strict=True):
            if len(members) > 1:
                why = "beside another scheme only the first of its places is looked at"
                self._tell("changed", plugins[name][0], why)
        return {"all": [members[0] for members in found], "same_consumer": False}

    def _scheme(self, name: str, at: Path, settings: Plain) -> list[Plain]:
        """The scheme, once for each place where it looks; none if it cannot be had."""
        kind, make = SCHEMES_THERE[name]
        common: Plain = {"hide_credentials": True} if settings.get("hide_credentials") else {}
        if settings.get("realm"):
            common["realm"] = str(settings["realm"])
        if settings.get("anonymous"):
            guest = self._guest(str(settings["anonymous"]))
            if guest:
                common["anonymous_consumer"] = guest
                self._tell("changed", (*at, "anonymous"), _LAST)
            else:
                self._tell("left", (*at, "anonymous"), "there is no such consumer")
        members = [{**common, **own} for own in make(settings, self._tell, at)]
        try:
            for own in members:
                msgspec.convert(own, SCHEMES[kind])
        except msgspec.ValidationError as error:
            self._tell("left", at, f"{place_first(str(error), name)}: so it admits nobody")
            return []
        self._tell("took", at, f"says who is calling ({kind})")
        return [{kind: own} for own in members]

    def _tell(self, word: Any, at: Path, why: str) -> None:
        if (at, why) not in self._told:
            self._told.add((at, why))
            self._report.add(word, at, why)


def limits_of(settings: Plain, at: Path, tell: Tell, *, personal: bool) -> list[Plain]:
    """What rate-limiting says, reported; nothing where it cannot be said."""
    try:
        made = kong_limits.taken(settings, routed="routes" in at, personal=personal)
    except Unsaid as error:
        tell("left", at, f"{error}: so this is not limited")
        return []
    tell("changed", at, "; ".join(made.changes))
    return made.limits


def _any(members: list[Plain]) -> Plain:
    return members[0] if len(members) == 1 else {"any": members}
