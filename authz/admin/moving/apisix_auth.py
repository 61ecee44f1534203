"""APISIX's plugins as what a route asks of callers.

Facts: the plugins' own pages at https://apisix.apache.org/docs/apisix/plugins/, and
https://apisix.apache.org/docs/apisix/terminology/plugin/ for their precedence and `_meta`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from authz.access import RULES
from authz.access.attach_consumer_label import AttachConsumerLabel
from authz.admin.moving import apisix_limits
from authz.admin.moving.limiting import Unsaid
from authz.admin.moving.people import People
from authz.admin.moving.report import Path, Report
from authz.admin.moving.source import items, mapping
from authz.admin.moving.wanted import NOBODY, Limits, Plain, Policy
from authz.document import decode
from authz.plain import DocumentError, place_first
from authz.routes import RouteTable
from authz.schemes import SCHEMES
from authz.schemes.settings import Profile

PROFILE: Profile = "apisix-3.18"
#: Plugins that say who is calling, in the order in which APISIX runs them.
SCHEMES_THERE = ("hmac-auth", "basic-auth", "jwt-auth", "key-auth")
MULTI = "multi-auth"
#: Stands for plugins that the file does not have: what they ask is not known.
MISSING = "(missing)"
#: Plugins without whose check nobody may pass: that cannot be made here.
_GUARDS = {
    "acl", "authz-casbin", "authz-casdoor", "authz-keycloak", "cas-auth", "consumer-restriction",
    "dingtalk-auth", "feishu-auth", "forward-auth", "ip-restriction", "jwe-decrypt", "ldap-auth",
    "opa", "openid-connect", "saml-auth", "wolf-rbac",
}  # fmt: skip
#: Plugins that refuse requests for another reason than who sends them.
_FILTERS = {
    "csrf", "limit-conn", "limit-req", "referer-restriction", "ua-restriction", "uri-blocker",
}  # fmt: skip
_LABEL = AttachConsumerLabel.kind

#: Plugins in force, each with where it stands.
InForce = dict[str, tuple[Path, Plain]]


def in_force(at: Path, written: Any, report: Report) -> InForce:
    """The plugins of one object that are not switched off."""
    found: InForce = {}
    for name, settings in mapping(written).items():
        meta = mapping(mapping(settings).get("_meta"))
        if meta.get("disable"):
            report.other((*at, name), "is switched off")
        else:
            found[name] = (*at, name), mapping(settings)
    return found


class Plugins:
    """Makes policies of plugins. What a plugin became is reported once, however many routes
    it is in force for."""

    def __init__(self, report: Report, people: People) -> None:
        self._report = report
        self._people = people
        self._made: dict[tuple[Path, str], Plain | None] = {}
        self._told: set[tuple[Path, str]] = set()

    def policy(self, plugins: InForce, whose: Path) -> Policy:
        """What all of these ask; nobody passes where one cannot be asked for."""
        access, whole = self.access(plugins)
        auth = self._auth(plugins)
        if whole and MULTI not in plugins and not plugins.keys() & set(SCHEMES_THERE):
            self._report.left(whose, "nobody is asked who they are: here it admits nobody")
        if not whole or auth is None:
            return NOBODY
        if _LABEL in plugins:
            access |= self._label(*plugins[_LABEL], auth)
        limits = access.pop("limits", None)
        place = plugins[apisix_limits.KIND][0] if limits else ()
        return Policy(auth, access, Limits(place, limits) if limits else None)

    def access(
        self, plugins: InForce, whose: apisix_limits.Whose = "service"
    ) -> tuple[Plain, bool]:
        """(rules and limits, whether these are all the rules that were asked for beside who is
        calling). A limit that is left closes nothing: the same people call, more often."""
        access: Plain = {}
        whole = True
        for name, (at, settings) in plugins.items():
            if name in SCHEMES_THERE or name == MULTI:
                continue
            if name == apisix_limits.KIND:
                access |= self._limits(at, settings, whose)
                continue
            if name == _LABEL:
                if whose != "service":
                    self._tell("left", at, "only services and routes tell labels here")
                continue
            rule = self._rule(name, at, settings) if name in RULES else None
            if rule is not None:
                access[name] = rule
            elif name in _GUARDS or name in RULES or name == MISSING:
                whole = False
                self._tell("left", at, "cannot be asked for here: what it guards admits nobody")
            elif name in _FILTERS:
                self._tell("left", at, "is not taken over")
            else:
                self._tell("other", at, "does not say who may call")
        return access, whole

    def _rule(self, name: str, at: Path, settings: Plain) -> Plain | None:
        own = self._own(at, settings)
        try:
            msgspec.convert(own, RULES[name])
        except msgspec.ValidationError as error:
            self._tell("left", at, place_first(str(error), name))
            return None
        self._tell("took", at, "as a rule of `access`")
        return own

    def _limits(self, at: Path, settings: Plain, whose: apisix_limits.Whose) -> Plain:
        try:
            made = apisix_limits.taken(settings, at, whose)
        except Unsaid as error:
            self._tell("left", at, f"{error}: so this is not limited")
            return {}
        why = "; ".join(made.changes)
        self._tell("changed" if why else "took", at, why or "as limits")
        return {"limits": made.limits}

    def _label(self, at: Path, settings: Plain, auth: Plain) -> Plain:
        """Nothing where a scheme of the route, or anything else, forbids one of the headers."""
        made = {_LABEL: self._own(at, settings)}
        route = {"id": "route", "match": {"path": "/*"}}
        service = {"id": "service", "auth": auth, "access": made, "routes": [route]}
        try:
            RouteTable(decode({"profile": PROFILE, "services": [service]}))
        except DocumentError as error:
            self._tell("left", at, f"{str(error).rpartition(f'{_LABEL}.')[2]}: so it is not told")
            return {}
        self._tell("took", at, "as labels that the upstream is told")
        return made

    # -- who is calling ----------------------------------------------------------------------------

    def _auth(self, plugins: InForce) -> Plain | None:
        """None where there is no scheme, or one that cannot be had."""
        names = [name for name in SCHEMES_THERE if name in plugins]
        members = [self._scheme(name, *plugins[name]) for name in names]
        if MULTI in plugins:
            at, settings = plugins[MULTI]
            if members:
                self._tell("left", at, "beside another scheme: that cannot be written")
                return None
            return self._alternatives(at, settings)
        known = [member for member in members if member is not None]
        if not known or len(known) < len(members):
            return None
        # All must pass, of whatever consumers, and the last says who is calling.
        return known[0] if len(known) == 1 else {"all": known, "same_consumer": False}

    def _alternatives(self, at: Path, settings: Plain) -> Plain | None:
        found = []
        for path, member in items(settings.get("auth_plugins"), (*at, "auth_plugins")):
            for name, own in member.items():
                found.append(self._scheme(name, (*path, name), mapping(own)))
        known = [each for each in found if each is not None]
        if not known or len(known) < len(found):
            self._tell("left", at, "one of its schemes cannot be had: it admits nobody")
            return None
        return {"any": known}

    def _scheme(self, name: str, at: Path, settings: Plain) -> Plain | None:
        if name not in SCHEMES_THERE:
            self._tell("left", at, "is no scheme here")
            return None
        own = self._own(at, settings)
        guest = own.get("anonymous_consumer")
        if isinstance(guest, str):
            own["anonymous_consumer"] = self._people.name(guest)
        try:
            msgspec.convert(own, SCHEMES[name])
        except msgspec.ValidationError as error:
            self._tell("left", at, f"{place_first(str(error), name)}: so it admits nobody")
            return None
        self._tell("took", at, "says who is calling")
        return {name: own}

    def _own(self, at: Path, settings: Plain) -> Plain:
        """Settings without what every plugin may have."""
        meta = mapping(settings.get("_meta"))
        for word, why in (
            ("filter", "is not asked: the plugin is always in force"),
            ("error_response", "is not taken over: the answer is the plugin's own"),
            ("priority", "is not taken over: the order is fixed"),
        ):
            if word in meta:
                self._tell("changed", (*at, "_meta", word), why)
        return {name: value for name, value in settings.items() if name != "_meta"}

    def _tell(self, word: Any, at: Path, why: str) -> None:
        if (at, word) not in self._told:
            self._told.add((at, word))
            self._report.add(word, at, why)
