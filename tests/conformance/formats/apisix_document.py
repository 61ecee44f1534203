"""APISIX's objects as a gateway document."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from authz.access import RULES
from authz.access.attach_consumer_label import AttachConsumerLabel
from authz.schemes import SCHEMES
from tests.conformance.case import Inexpressible, Plain
from tests.conformance.formats.apisix_credentials import PROFILES, own_fields

#: Plugins that say who is calling, in the order in which APISIX runs them.
AUTH_PLUGINS = ("multi-auth", "hmac-auth", "basic-auth", "jwt-auth", "jwe-decrypt", "key-auth")
#: Plugins of a route that ask or tell something of a caller.
ROUTE_RULES = (*RULES, AttachConsumerLabel.kind)
#: Plugins of a consumer or a group that change nothing for the first request of a case.
_LATER = {"limit-count", "limit-req", "limit-conn"}
#: What APISIX keeps beside an object's own properties, and we do not.
_ADMINISTRATIVE = {"id", "desc", "name", "create_time", "update_time"}


def require_scheme(name: str) -> None:
    """Raises `Inexpressible` unless the plugin is a scheme of ours."""
    if name not in SCHEMES:
        raise Inexpressible(f"scheme {name} is not supported yet")


def settings(name: str, plugin: Plain) -> Plain:
    """One alternative of an `auth`."""
    require_scheme(name)
    meta = plugin.get("_meta", {})
    if set(meta) - {"disable"}:
        raise Inexpressible(f"_meta {sorted(meta)} is not supported yet")
    own = {word: value for word, value in plugin.items() if word != "_meta"}
    return {name: own}


def credential(written: Plain, profile: str) -> Plain:
    """One entry of a consumer's credentials; `type` tells the scheme, no `id` that it is embedded
    in the consumer. A label of a credential is not told upstream, so it is left out."""
    kind = written["type"]
    beside = {"type", "labels", *_ADMINISTRATIVE}
    own = {word: value for word, value in written.items() if word not in beside}
    named = {"id": written["id"]} if "id" in written else {}
    return {**named, kind: own_fields(kind, own, profile)}


# -- consumers -------------------------------------------------------------------------------------


def consumer(written: Plain, schemes: set[str], profile: str) -> Plain:
    """A consumer with those of its credentials that these schemes would ask for."""
    made: Plain = {"username": written["username"]}
    if "labels" in written:
        made["labels"] = written["labels"]
    if "group_id" in written:
        made["groups"] = [written["group_id"]]
    unknown = set(written) - {"username", "labels", "group_id", "plugins", "credentials"}
    if unknown - _ADMINISTRATIVE:
        raise Inexpressible(f"consumer {sorted(unknown)} is not understood")
    plugins = written.get("plugins", {})
    require_later(plugins, "a consumer's")
    embedded = [{"type": n, **own} for n, own in plugins.items() if n in AUTH_PLUGINS]
    credentials = [*embedded, *written.get("credentials", ())]
    asked = [each for each in credentials if each["type"] in schemes]
    made["credentials"] = [credential(each, profile) for each in asked]
    made |= _access(plugins)
    return made


def require_later(plugins: Plain, whose: str) -> None:
    """Raises `Inexpressible` for a plugin that would decide about the first request and is no rule
    of ours."""
    for name in plugins:
        if name not in _LATER and name not in AUTH_PLUGINS and name not in RULES:
            raise Inexpressible(f"{whose} plugin {name} is not supported yet")


# -- routes ----------------------------------------------------------------------------------------


def in_force(plugins: Plain) -> Plain:
    """The plugins that are not switched off."""
    return {n: own for n, own in plugins.items() if not own.get("_meta", {}).get("disable")}


def auth(plugins: Plain) -> Plain:
    """A route's `auth`. Several plugins must all pass, the last of them says who calls."""
    chosen = [name for name in AUTH_PLUGINS if name in plugins]
    if "multi-auth" in chosen:
        if len(chosen) > 1:
            raise Inexpressible("multi-auth beside another scheme cannot be written")
        return {"any": list(_alternatives(plugins["multi-auth"]))}
    if not chosen:
        raise Inexpressible("a route without authentication admits nobody here")
    members = [settings(name, plugins[name]) for name in chosen]
    if len(members) == 1:
        return members[0]
    return {"all": members, "same_consumer": False}


def _alternatives(plugin: Plain) -> Iterator[Plain]:
    for member in plugin["auth_plugins"]:
        for name, own in member.items():
            yield settings(name, own)


def schemes_in(auth: Plain) -> set[str]:
    members: list[Any] = [*auth.get("any", ()), *auth.get("all", ()), auth]
    return {name for member in members for name in member if name in SCHEMES}


def access(plugins: Plain, known: Collection[str] = RULES) -> Plain:
    """The plugins that are rules here, as an `access`; empty where there is none."""
    return {name: own for name, own in plugins.items() if name in known}


def _access(plugins: Plain, known: Collection[str] = RULES) -> Plain:
    made = access(plugins, known)
    return {"access": made} if made else {}


def service(plugins: Plain) -> Plain:
    """A service without its id: its `auth` and its `access`. Raises `Inexpressible`."""
    for name in plugins:
        if name not in AUTH_PLUGINS and name not in ROUTE_RULES:
            raise Inexpressible(f"a route's plugin {name} is not supported yet")
    return {"auth": auth(plugins), **_access(plugins, ROUTE_RULES)}


def document(case: Plain) -> Plain:
    """The whole document of a case. Raises `Inexpressible`."""
    plugins = in_force(case.get("route_config", {}))
    if case["expect"]["status"] >= 400 and not set(plugins) & set(AUTH_PLUGINS):
        # Without `auth` nobody is let in; a rule about consumers has its own words for that.
        made = _access(plugins, ROUTE_RULES)
    else:
        made = service(plugins)
    groups = case.get("consumer_groups", ())
    _require_groups(case, {group["id"] for group in groups})
    route = case.get("route", {})
    schemes = schemes_in(made.get("auth", {}))
    consumers = [consumer(each, schemes, case["profile"]) for each in case.get("consumers", ())]
    rules = [made, *consumers, *groups]
    if "route_id" in route and any("access" in each or each.get("plugins") for each in rules):
        made["routes"] = [{"id": route["route_id"]}]
    return {
        "profile": PROFILES[case["profile"]],
        "services": [{"id": route.get("service_id", "service"), **made}],
        "groups": [_group(group) for group in groups],
        "consumers": consumers,
    }


def _group(written: Plain) -> Plain:
    plugins = written.get("plugins", {})
    require_later(plugins, "a group's")
    return {"id": written["id"], **_access(plugins)}


def _require_groups(case: Plain, groups: set[str]) -> None:
    for written in case.get("consumers", ()):
        if "group_id" in written and written["group_id"] not in groups:
            raise Inexpressible("a group is a name here, so none can be missing")
