"""What a gateway says beside its consumers: how it changes, and what in it is rarely meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from authz.access import chosen
from authz.access.consumer_restriction import ConsumerRestriction
from authz.access.rule import Rule
from authz.admin.lines import Line
from authz.document import Document, schemes_of
from authz.values import RELEASE

#: What a document may say beside its profile and its services.
POLICY = ("trusted_proxies", "groups", "grants")


def config_of(policy: Document) -> dict[str, Any]:
    """What the workers need, as JSON gives it back."""
    config: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(policy))
    more: dict[str, Any] = {name: config[name] for name in POLICY if name in config}
    return {"profile": policy.profile, "services": config.get("services", []), **more}


def config_lines(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Line]:
    before, after = _named(old), _named(new)
    for name in sorted({*before, *after}, key=lambda name: (_ORDER[name.split()[0]], name)):
        if name not in after:
            yield Line("-", name)
        elif name not in before:
            yield Line("+", name)
        elif before[name] != after[name]:
            told = {*before[name], *after[name]}
            fields = (f for f in sorted(told) if before[name].get(f) != after[name].get(f))
            yield Line("~", name, ", ".join(fields))
    trusted = new.get("trusted_proxies", [])
    if old.get("trusted_proxies", []) != trusted:
        yield Line("~", "trusted_proxies", ", ".join(trusted))
    if old and old.get("profile") != new["profile"]:
        yield Line("~", "profile", new["profile"])


_ORDER = {"service": 0, "group": 1, "grant": 2}


def _named(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every part of a policy by what it is called; grants that differ in their times alone are
    told of together."""
    found = {f"service {service['id']}": service for service in config.get("services", ())}
    found |= {
        f"group {_joined(group, 'tenant', 'id')}": group for group in config.get("groups", ())
    }
    for grant in config.get("grants", ()):
        name = (
            f"grant group {_joined(grant, 'tenant', 'group')}: {_joined(grant, 'service', 'route')}"
        )
        stage = grant.get("stage", RELEASE)
        name += "" if stage == RELEASE else f" in stage {stage}"
        times = [*found.get(name, {}).get("times", ()), grant]
        found[name] = {"times": times}
    return found


def _joined(entry: dict[str, Any], *names: str) -> str:
    return "/".join(entry[name] for name in names if entry.get(name))


def warnings(policy: Document, has: Callable[[str, str], bool]) -> Iterator[str]:
    """`has` says whether a consumer is there: tenant, username."""
    hostless = [index for index, service in enumerate(policy.services) if not service.hosts]
    for index in hostless[1:]:
        yield (
            f"services[{index}]: no hosts, like services[{hostless[0]}]: where both would match, "
            "only Envoy's context_extensions can tell them apart"
        )
    yield from _rarely_meant(policy)
    for index, service in enumerate(policy.services):
        auths = [(f"services[{index}]", service.auth)] if not service.routes else []
        for number, route in enumerate(service.routes):
            place = f"services[{index}].routes[{number}]"
            if route.endpoint is None:
                auths.append((place, route.auth or service.auth))
                continue
            if route.auth is None or _is_open(route.auth, policy):
                yield (
                    f"{place}: {route.endpoint} is open to everybody who knows a key, and tokens "
                    "show keys: guard it with an `auth` of its own, without anonymous_consumer"
                )
            auths += [(place, route.auth)] if route.auth is not None else []
        for place, auth in auths:
            if auth is None:
                yield f"{place}: no auth: it admits nobody"
                continue
            for scheme in schemes_of(auth, policy.profile):
                guest = scheme.anonymous_consumer
                if guest and not has(service.tenant, guest):
                    yield f"{place}: anonymous_consumer {guest!r} is not in this document"


def _is_open(auth: Any, policy: Document) -> bool:
    """Whether those who prove nothing are let in."""
    guests = [scheme.anonymous_consumer for scheme in schemes_of(auth, policy.profile)]
    return all(guests) if auth.all is not UNSET else any(guests)


def _rarely_meant(policy: Document) -> Iterator[str]:
    """Rules that nobody is asked, and rules that name what is not there."""
    services = {service.id for service in policy.services}
    routes = {route.id for service in policy.services for route in service.routes}
    known = {"service_id": services, "route_id": routes}
    for place, rules, replaced in _rules(policy):
        for kind, rule in rules.items():
            if kind in replaced:
                yield f"{place}.{kind}: each of its routes has its own: this one is never asked"
            if isinstance(rule, ConsumerRestriction) and rule.type in known:
                for name in sorted(set(rule.names()) - known[rule.type]):
                    yield f"{place}.{kind}: no {rule.type} in this document is {name!r}"


def _rules(policy: Document) -> Iterator[tuple[str, dict[str, Rule], set[str]]]:
    """Place, rules by kind, and the kinds that no request meets there."""
    for index, service in enumerate(policy.services):
        at = f"services[{index}]"
        own = [set(chosen(route.access)) for route in service.routes]
        yield f"{at}.access", chosen(service.access), set.intersection(*own) if own else set()
        for number, route in enumerate(service.routes):
            yield f"{at}.routes[{number}].access", chosen(route.access), set()
    for index, group in enumerate(policy.groups):
        yield f"groups[{index}].access", chosen(group.access), set()
