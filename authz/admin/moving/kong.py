"""Kong: the YAML of decK, which is that of declarative configuration.

Facts: https://developer.konghq.com/deck/reference/entities/,
https://developer.konghq.com/gateway/entities/route/ and …/plugin/ (which of several is in force),
https://developer.konghq.com/deck/reference/env-variables/.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from authz.admin.moving.kong_auth import InForce, Plugins
from authz.admin.moving.kong_own import take_plugins
from authz.admin.moving.kong_people import LISTS, Consumers, is_personal, scopes
from authz.admin.moving.names import name_of
from authz.admin.moving.people import People
from authz.admin.moving.report import Path, Report
from authz.admin.moving.routing import Routing
from authz.admin.moving.source import Source, items, mapping, text, texts
from authz.admin.moving.wanted import AS_IT_IS, Plain, Wanted
from authz.plain import DocumentError

#: decK's references to its environment, as a gateway document spells them.
_ENVIRONMENT = re.compile(r"""\$\{\{\s*env\s+(?:"|\\")([A-Za-z_][A-Za-z0-9_]*)(?:"|\\")\s*\}\}""")
_CONDITIONS = ("headers", "snis", "sources", "destinations", "expression")
_META = re.compile(r"[\\^$.|?*+()\[\]{}]")
_SILENT = {"_format_version", "_transform", "_info", "_comment", "_workspace", "_konnect"}
_SERVICE = {"id", "name", "enabled", "routes", "plugins"}
_ROUTE = {"id", "name", "hosts", "paths", "methods", "plugins", "service", *_CONDITIONS}
#: For routes without a service.
ALONE = "default"


def prepared(written: str) -> str:
    """The text with decK's references to the environment as values of YAML."""
    return _ENVIRONMENT.sub(r"$env://\1", written)


def is_one(plain: Plain) -> bool:
    return "_format_version" in plain


def move(source: Source, report: Report) -> Plain:
    """A gateway document."""
    plain = source.plain
    people = People(report, "api7", name_of)
    consumers = Consumers(
        people,
        report,
        hashed=plain.get("_transform") is False,
        encoded=_encoded(plain),
    )
    consumers.take(plain)
    services = _Services(plain, consumers, report).taken()
    groups = take_plugins(plain, consumers, report)
    for name in plain.keys() - LISTS - _SILENT - {"services", "routes", "plugins"}:
        report.other((name,), "does not say who may call")
    return {
        "services": services,
        **({"groups": groups} if groups else {}),
        "consumers": people.consumers(),
    }


def _encoded(plain: Plain) -> bool:
    """Whether the secrets of tokens are base64: Kong's routes say so, here credentials do."""
    found = [
        mapping(plugin.get("config")).get("secret_is_base64", False)
        for plugin in _every_plugin(plain)
        if plugin.get("name") == "jwt"
    ]
    if any(found) and not all(found):
        raise DocumentError(
            "plugins: of the jwt plugins some say secret_is_base64 and some do not: here a "
            "credential is either; write two files"
        )
    return any(found)


def _every_plugin(plain: Plain) -> list[Plain]:
    found = [own for _, own in items(plain.get("plugins"), ("plugins",))]
    for name in ("services", "routes"):
        for at, own in items(plain.get(name), (name,)):
            found += [each for _, each in items(own.get("plugins"), (*at, "plugins"))]
            for path, route in items(own.get("routes"), (*at, "routes")):
                found += [each for _, each in items(route.get("plugins"), (*path, "plugins"))]
    return found


class _Services:
    def __init__(self, plain: Plain, consumers: Consumers, report: Report) -> None:
        self._plain = plain
        self._report = report
        tiers = items(plain.get("consumer_groups"), ("consumer_groups",))
        names = frozenset(text(own.get("name")) for _, own in tiers)
        self._plugins = Plugins(report, consumers.name_of, names)
        self._routing = Routing(report)
        #: Plugins at the top of the file, by what they are for: ("service", "orders").
        self._apart: dict[tuple[str, str], InForce] = {}

    def taken(self) -> list[Plain]:
        for at, plugin in items(self._plain.get("plugins"), ("plugins",)):
            self._scoped(at, plugin)
        known: dict[str, tuple[Plain, InForce]] = {}
        for at, service in items(self._plain.get("services"), ("services",)):
            name = text(service.get("name")) or text(service.get("id"))
            own = self._in_force(at, service, "service")
            for each in (name, text(service.get("id"))):
                known[each] = service, own
            for field in sorted(service.keys() - _SERVICE):
                self._report.other((*at, field), "does not say who may call")
            for path, route in items(service.get("routes"), (*at, "routes")):
                self._route(path, route, name, service, own)
        for at, route in items(self._plain.get("routes"), ("routes",)):
            written = route.get("service")
            name = text(mapping(written).get("name")) or text(mapping(written).get("id"))
            name = name or text(written)
            if name and name not in known:
                self._report.left(at, f"there is no service {name!r}: so it answers nothing there")
                continue
            service, own = known.get(name, ({}, {}))
            self._route(at, route, text(service.get("name")) or name or ALONE, service, own)
        return self._routing.services()

    def _scoped(self, at: Path, plugin: Plain) -> None:
        """A plugin at the top: of everything, or of the service or route that it names."""
        if is_personal(plugin):
            return
        named = scopes(plugin)
        self._put(self._apart.setdefault(named[-1] if named else ("", ""), {}), at, plugin)

    def _put(self, found: InForce, at: Path, plugin: Plain) -> None:
        if plugin.get("enabled", True):
            found[text(plugin.get("name"))] = at, mapping(plugin.get("config"))
        else:
            self._report.other(at, "is switched off")

    def _in_force(self, at: Path, own: Plain, scope: str) -> InForce:
        found: InForce = {}
        for name in (text(own.get("id")), text(own.get("name"))):
            found |= self._apart.get((scope, name), {}) if name else {}
        for path, plugin in items(own.get("plugins"), (*at, "plugins")):
            self._put(found, path, plugin)
        return found

    def _route(self, at: Path, route: Plain, name: str, service: Plain, own: InForce) -> None:
        for field in sorted(route.keys() - _ROUTE):
            self._report.other((*at, field), "does not say who may call")
        plugins = {**self._apart.get(("", ""), {}), **own, **self._in_force(at, route, "route")}
        policy = self._plugins.policy(plugins, at)
        if service.get("enabled", True) is False:
            self._report.left(at, "its service is switched off")
            return
        hosts = texts(route.get("hosts") or [])
        paths, conditioned = self._paths(at, texts(route.get("paths") or ["/"]))
        for condition in _CONDITIONS:
            if route.get(condition):
                self._report.left((*at, condition), "cannot be asked for here")
                conditioned = True
        wanted = Wanted(
            at=at,
            service=name,
            hosts=tuple(hosts),
            id=text(route.get("name")) or text(route.get("id")) or f"route-{at[-1]}",
            paths=paths,
            methods=frozenset(texts(route.get("methods") or [])),
            policy=policy,
            conditioned=conditioned,
        )
        self._routing.add(wanted)

    def _paths(self, at: Path, written: list[str]) -> tuple[tuple[str, ...], bool]:
        """Kong's paths begin a request's. Also whether they are more than the route's."""
        found: list[str] = []
        more = False
        for path in written:
            if path.startswith("~"):
                literal = _META.split(path[1:], maxsplit=1)[0]
                found.append(f"{literal.rpartition('/')[0]}/*")
                more = True
                self._report.left(at, f"{path}: an expression cannot be matched here")
            elif not path.startswith("/"):
                self._report.left(at, f"{path!r}: no path begins so")
            elif path.endswith("/"):
                found.append(f"{path}*")
            else:
                found += [path, f"{path}/*"]
                self._report.changed(at, f"{path}: only {path} itself and what is below it")
        return tuple(dict.fromkeys(quote(path, safe=AS_IT_IS) for path in found)), more
