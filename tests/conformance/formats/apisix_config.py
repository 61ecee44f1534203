"""APISIX's rules for what may be written, put to the gateway document."""

from __future__ import annotations

import re
from functools import partial

from tests.conformance.case import Inexpressible, Judgement, Plain
from tests.conformance.expect import require
from tests.conformance.formats.apisix_credentials import PROFILES, own_fields
from tests.conformance.formats.apisix_document import (
    AUTH_PLUGINS,
    ROUTE_RULES,
    access,
    consumer,
    credential,
    require_scheme,
    service,
)

_PROPERTY = re.compile(r'property "(\w+)"')
_HOLDER = re.compile(r"of consumer: (\S+)|with consumer: (\S+)")
#: Properties that are called otherwise here: APISIX wraps a credential's scheme in `plugins`, and
#: lists a route's in `auth_plugins`.
_OURS = {"plugins": "credentials", "auth_plugins": "any"}
#: Of a consumer, what has no place in a document: `id` repeats the user name.
_WITHOUT_PLACE = {"id", "desc", "create_time", "update_time"}


def translate(case: Plain) -> Judgement:
    """Raises `Inexpressible`."""
    written, expected, profile = case["object"], case["expect"], case["profile"]
    made: Plain = {"services": [], "consumers": []}
    if "route_config" in written:
        made["services"] = [{"id": "service", **_service(written["route_config"])}]
    if "credential" in written:
        require_scheme(written["credential"]["type"])
        one = credential(written["credential"], profile)
        made["consumers"] = [{"username": "somebody", "credentials": [one]}]
    made["consumers"] += [_present(each, profile) for each in case.get("consumers", ())]
    if "credential_object" in written:
        one = _credential_object(written["credential_object"], profile)
        _add_credential(made["consumers"], written["consumer"], one)
    if "consumer_object" in written:
        if written.get("consumer") not in (None, written["consumer_object"].get("username")):
            raise Inexpressible("a document has no URL for a consumer's name to disagree with")
        _put_consumer(made["consumers"], written["consumer_object"], profile)
    known = {"route_config", "credential", "credential_object", "consumer", "consumer_object"}
    if set(written) - known:
        raise Inexpressible(f"object {sorted(set(written) - known)} is not supported yet")
    made["profile"] = PROFILES[profile]
    return Judgement(made, partial(_verify, expected))


def _service(plugins: Plain) -> Plain:
    several = plugins.get("multi-auth")
    if several is not None and len(several.setdefault("auth_plugins", ())) == 1:
        raise Inexpressible("multi-auth wants two alternatives, `any` takes one or more")
    if not set(plugins) & set(AUTH_PLUGINS):
        return {"access": access(plugins, ROUTE_RULES)}
    return service(plugins)


def _present(written: Plain, profile: str) -> Plain:
    """A consumer that is there before the object is written."""
    for each in written.get("credentials", ()):
        require_scheme(each["type"])
    return consumer(written, {each["type"] for each in written.get("credentials", ())}, profile)


def _credential_object(written: Plain, profile: str) -> Plain:
    """`{id, plugins: {scheme: …}}`; what is no scheme stays, for the document to refuse."""
    if "id" not in written:
        raise Inexpressible("a credential without an id is an embedded one here")
    plugins: Plain = written.get("plugins", {})
    for name in plugins:
        if name in AUTH_PLUGINS:
            require_scheme(name)
    others = {k: v for k, v in written.items() if k not in ("plugins", "labels", "name", "desc")}
    made = {
        name: own_fields(name, own, profile) if isinstance(own, dict) else own
        for name, own in plugins.items()
    }
    return {**others, **made}


def _add_credential(consumers: list[Plain], owner: str, made: Plain) -> None:
    holder = next((each for each in consumers if each["username"] == owner), None)
    if holder is None:
        raise Inexpressible("a credential stands inside its consumer, so that one is never unknown")
    kept = [each for each in holder["credentials"] if each.get("id") != made["id"]]
    holder["credentials"] = [*kept, made]


def _put_consumer(consumers: list[Plain], written: Plain, profile: str) -> None:
    """As PUT does it: a consumer of the same name is replaced, its credentials stay."""
    if "group_id" in written:
        raise Inexpressible("a group is a name here, so none can be missing")
    plugins = written.get("plugins", {})
    for name in plugins:
        if name in AUTH_PLUGINS:
            require_scheme(name)
        elif isinstance(plugins[name], dict):
            raise Inexpressible(f"a consumer's plugin {name} is not supported yet")
    embedded = [credential({"type": name, **own}, profile) for name, own in plugins.items()]
    before = [each for each in consumers if each["username"] == written.get("username")]
    named = [one for each in before for one in each["credentials"] if "id" in one]
    own = {k: v for k, v in written.items() if k != "plugins" and k not in _WITHOUT_PLACE}
    consumers[:] = [each for each in consumers if each not in before]
    consumers.append({**own, "credentials": [*embedded, *named]})


def _verify(expected: Plain, error: str | None) -> None:
    if expected["valid"]:
        require(error is None, f"refused, but it is fine: {error}")
        return
    require(error is not None, "accepted, but it should be refused")
    assert error is not None
    vendor = expected.get("error_contains", "")
    for name in _PROPERTY.findall(vendor):
        ours = _OURS.get(name, name)
        require(ours in error, f"the error does not name {ours!r}: {error}")
    for found in _HOLDER.findall(vendor):
        holder = found[0] or found[1]
        require(holder in error, f"the error does not name {holder!r}: {error}")
