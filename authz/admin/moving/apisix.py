"""Apache APISIX: `apisix.yaml` of the standalone mode, and the files of ADC.

Facts: https://apisix.apache.org/docs/apisix/deployment-modes/ (standalone),
https://apisix.apache.org/docs/apisix/admin-api/ (objects), https://github.com/api7/adc (ADC).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from authz.admin.moving.apisix_auth import MISSING, PROFILE, InForce, Plugins, in_force
from authz.admin.moving.apisix_people import take_people
from authz.admin.moving.names import plain_name_of
from authz.admin.moving.people import People
from authz.admin.moving.report import Path, Report
from authz.admin.moving.routing import Routing
from authz.admin.moving.source import Source, items, mapping, text, texts
from authz.admin.moving.wanted import AS_IT_IS, Plain, Wanted

#: What a file of either kind may have at its top.
KNOWN = {"routes", "services", "consumers", "consumer_groups", "plugin_configs", "global_rules"}
#: Conditions of a route beside hosts, paths and methods.
_CONDITIONS = ("vars", "filter_func", "remote_addr", "remote_addrs")
_CARRIED = {
    "consumers": {"username", "labels", "group_id", "plugins", "credentials", "id"},
    "routes": {"id", "name", "uri", "uris", "host", "hosts", "methods", "plugins", "service_id"}
    | {"plugin_config_id", "status", "priority", *_CONDITIONS},
    "services": {"id", "name", "hosts", "plugins", "routes", "path_prefix"},
}
#: For routes without a service.
ALONE = "default"


def move(source: Source, report: Report) -> Plain:
    """A gateway document."""
    people = People(report, PROFILE, plain_name_of)
    plugins = Plugins(report, people)
    groups = take_people(source.plain, people, plugins, report)
    services = _Services(source.plain, plugins, report).taken()
    for name in source.plain.keys() - KNOWN - {"credentials"}:
        if not name.endswith("_conf_version"):
            report.other((name,), "does not say who may call")
    return {
        "profile": PROFILE,
        "services": services,
        **({"groups": groups} if groups else {}),
        "consumers": people.consumers(),
    }


class _Services:
    def __init__(self, plain: Plain, plugins: Plugins, report: Report) -> None:
        self._plain = plain
        self._plugins = plugins
        self._report = report
        self._routing = Routing(report)
        self._global = self._rules(plain.get("global_rules"))
        self._shared = {
            text(own.get("id")): in_force((*at, "plugins"), own.get("plugins"), report)
            for at, own in items(plain.get("plugin_configs"), ("plugin_configs",))
        }

    def taken(self) -> list[Plain]:
        known: dict[str, tuple[Plain, InForce]] = {}
        used = set()
        for at, service in items(self._plain.get("services"), ("services",)):
            name = text(service.get("id")) or text(service.get("name"))
            self._others(at, service, "services")
            own = in_force((*at, "plugins"), service.get("plugins"), self._report)
            known[name] = service, own
            for path, route in items(service.get("routes"), (*at, "routes")):
                used.add(name)
                self._route(path, route, name, service, own)
        for at, route in items(self._plain.get("routes"), ("routes",)):
            name = text(route.get("service_id"))
            service, own = known.get(name, ({}, {}))
            if name and name not in known:
                self._report.left((*at, "service_id"), f"there is no service {name!r}")
                own = {MISSING: ((*at, "service_id"), {})}
            used.add(name)
            self._route(at, route, name or ALONE, service, own)
        for at, service in items(self._plain.get("services"), ("services",)):
            if (text(service.get("id")) or text(service.get("name"))) not in used:
                self._report.left(at, "no route leads to it, so there is nothing to call")
        return self._routing.services()

    def _rules(self, written: Any) -> InForce:
        """Plugins of every request: a list of rules, or, as ADC has them, the plugins."""
        if isinstance(written, dict):
            return in_force(("global_rules",), written, self._report)
        found: InForce = {}
        for at, rule in items(written, ("global_rules",)):
            found.update(in_force((*at, "plugins"), rule.get("plugins"), self._report))
        return found

    def _route(self, at: Path, route: Plain, name: str, service: Plain, own: InForce) -> None:
        self._others(at, route, "routes")
        if route.get("status", 1) == 0:
            self._report.left(at, "is switched off")
            return
        plugins = {**self._global, **own}
        shared = text(route.get("plugin_config_id"))
        if shared and shared not in self._shared:
            self._report.left((*at, "plugin_config_id"), f"there is no plugin config {shared!r}")
        missing: InForce = {MISSING: ((*at, "plugin_config_id"), {})}
        plugins |= self._shared.get(shared, missing) if shared else {}
        plugins |= in_force((*at, "plugins"), route.get("plugins"), self._report)
        policy = self._plugins.policy(plugins, at)
        hosts = [*texts(route.get("hosts")), *texts(route.get("host"))]
        hosts = [host for host in hosts if host] or texts(service.get("hosts"))
        paths, conditioned = self._paths(at, route, text(service.get("path_prefix")))
        for condition in _CONDITIONS:
            if route.get(condition):
                self._report.left((*at, condition), "cannot be asked for here")
                conditioned = True
        if not paths:
            return
        wanted = Wanted(
            at=at,
            service=name,
            hosts=tuple(hosts),
            id=text(route.get("id")) or text(route.get("name")) or f"route-{at[-1]}",
            paths=paths,
            methods=frozenset(texts(route.get("methods") or [])),
            policy=policy,
            conditioned=conditioned,
        )
        if route.get("priority"):
            self._report.left((*at, "priority"), "the most specific match wins, whatever it is")
        self._routing.add(wanted)

    def _paths(self, at: Path, route: Plain, prefix: str) -> tuple[tuple[str, ...], bool]:
        """(paths, whether they are more than the route's)."""
        found: list[str] = []
        more = False
        prefix = prefix.rstrip("/")
        for written in [*texts(route.get("uris") or []), *texts(route.get("uri") or [])]:
            path = prefix + written
            stem = path.removesuffix("*")
            unknown = [n for n in (path.find("/:") + 1, stem.find("*")) if n > 0]
            if unknown:
                found.append(f"{path[: min(unknown)].rpartition('/')[0]}/*")
                more = True
                self._report.left(at, f"{written}: a path with parameters cannot be matched here")
            elif path.endswith("*") and not path.endswith("/*"):
                found += [stem, f"{stem}/*"]
                self._report.changed(at, f"{written}: only {stem} itself and what is below it")
            else:
                found.append(path)
        usable = [quote(path, safe=AS_IT_IS) for path in found if path.startswith("/")]
        if not usable:
            self._report.left(at, "has no path")
        return tuple(dict.fromkeys(usable)), more

    def _others(self, at: Path, own: Plain, kind: str) -> None:
        for name in own.keys() - _CARRIED[kind]:
            self._report.other((*at, name), "does not say who may call")


def is_one(plain: dict[str, Any]) -> bool:
    """Whether this looks like one of APISIX's or ADC's files."""
    return bool(mapping(plain).keys() & KNOWN)
