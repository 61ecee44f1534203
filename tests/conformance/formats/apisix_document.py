"""APISIX's objects as a gateway document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from authz.schemes import SCHEMES
from tests.conformance.case import Inexpressible, Plain
from tests.conformance.formats.apisix_credentials import PROFILES, own_fields

#: Plugins that say who is calling, in the order in which APISIX runs them.
AUTH_PLUGINS = ("multi-auth", "hmac-auth", "basic-auth", "jwt-auth", "jwe-decrypt", "key-auth")
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
    return made


def require_later(plugins: Plain, whose: str) -> None:
    """Raises `Inexpressible` for a plugin that would decide about the first request."""
    for name in plugins:
        if name not in _LATER and name not in AUTH_PLUGINS:
            raise Inexpressible(f"{whose} plugin {name} is not supported yet")


def attach_labels(plugin: Plain, written: Plain) -> Plain:
    """attach-consumer-label: a label of the consumer as a header of its own."""
    headers: Plain = {}
    for header, label in plugin.get("headers", {}).items():
        if not header.lower().startswith("x-consumer-"):
            raise Inexpressible("a consumer's own headers start with X-Consumer-")
        value = written.get("labels", {}).get(label.removeprefix("$"))
        if value is not None:
            headers[header] = value
    return {"headers": headers}


# -- routes ----------------------------------------------------------------------------------------


def is_multi_auth(case: Plain) -> bool:
    return "multi-auth" in case.get("route_config", {})


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


def document(case: Plain) -> Plain:
    """The whole document of a case. Raises `Inexpressible`."""
    plugins = in_force(case.get("route_config", {}))
    labels = plugins.pop("attach-consumer-label", None)
    for name in plugins:
        if name not in AUTH_PLUGINS:
            raise Inexpressible(f"a route's plugin {name} is not supported yet")
    made = auth(plugins)
    _require_groups(case)
    consumers = []
    for written in case.get("consumers", ()):
        own = attach_labels(labels, written) if labels is not None else {}
        known = consumer(written, schemes_in(made), case["profile"])
        consumers.append({**known, **own})
    return {
        "profile": PROFILES[case["profile"]],
        "services": [{"id": "service", "auth": made}],
        "consumers": consumers,
    }


def _require_groups(case: Plain) -> None:
    groups = {group["id"]: group for group in case.get("consumer_groups", ())}
    for group in groups.values():
        require_later(group.get("plugins", {}), "a group's")
    for written in case.get("consumers", ()):
        if "group_id" in written and written["group_id"] not in groups:
            raise Inexpressible("a group is a name here, so none can be missing")
