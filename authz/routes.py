"""Which policy a request falls under.

Envoy's `context_extensions` name it, because a client cannot write them; without them host, path
and method decide. The most specific match wins: exact host before wildcard before none, exact path
before the longest prefix, named methods before any. No match is a denial.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any, Literal
from urllib.parse import quote, unquote_to_bytes

from msgspec import UNSET, Struct

from authz.access import Access, chosen, guessing, limits_of
from authz.access.address import networks
from authz.access.ip_restriction import IpRestriction
from authz.access.told import clash
from authz.contracts import Scheme
from authz.denials import MALFORMED, NO_ROUTE, UNSAFE_PATH
from authz.document import (
    Document,
    GrantEntry,
    NamedGrant,
    RouteEntry,
    ServiceEntry,
    schemes_of,
)
from authz.endpoints import ENDPOINTS, Endpoint
from authz.plain import DocumentError
from authz.schemes.settings import Profile
from authz.values import Denied, Grant, Request

#: What a backend may resolve to another path than we matched: dot segments, empty segments, back
#: slashes, path parameters; the same once decoded, or decoded twice; and broken escapes.
_UNSAFE = re.compile(
    r"//|\\|;|/\.{1,2}(?:/|$)|%(?:2[eEfF]|5[cC]|3[bB]|25[0-9A-Fa-f]{2})|%(?![0-9A-Fa-f]{2})"
)
#: Encoded characters that need no encoding: `/%61pi` is another spelling of `/api`.
_ENCODED_UNRESERVED = re.compile(
    r"%(?:4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe]|3[0-9]|2[dDeE])"
)
#: What stands in a path as it is (RFC 3986 section 3.3), and the slash.
_PCHAR = "/-._~!$&'()*+,=:@"
_PLAIN = re.compile(r"[A-Za-z0-9/._~-]*")
#: No name is longer than DNS allows: names are remembered, and a stranger may choose them.
_HOST = re.compile(r"([A-Za-z0-9._-]{0,254}|\[[0-9A-Fa-f:.]{2,64}\])(?::[0-9]{1,5})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: Hosts, as they were sent, whose tables are remembered.
MAX_HOSTS = 4096


class Route(Struct, frozen=True, dict=True):
    """One policy: which schemes, how many of them, and in whose name.

    `id` is empty where a service has no routes of its own. `multi-auth` is APISIX's `any`: a
    scheme that fails leaves it to the next.
    """

    service: str
    id: str
    tenant: str
    mode: Literal["any", "all", "multi-auth"]
    schemes: tuple[Scheme, ...]
    same_consumer: bool = True
    endpoint: Endpoint | None = None
    access: Access = Access("")

    @cached_property
    def tells(self) -> tuple[str, ...]:
        """Headers that its schemes may tell the upstream, and labels."""
        told = dict.fromkeys(name for scheme in self.schemes for name in scheme.tells)
        labels = self.access.labels
        return (*told, *(labels.tells if labels is not None else ()))

    @cached_property
    def tells_query(self) -> frozenset[str]:
        """Query parameters that they may tell it."""
        return frozenset(name for scheme in self.schemes for name in scheme.tells_query)

    @cached_property
    def alone(self) -> Scheme | None:
        """The one scheme that decides, where nothing of a request but its evidence is told, hidden
        or answered."""
        if len(self.schemes) != 1 or self.endpoint or self.tells or self.tells_query:
            return None
        return self.schemes[0]

    def evidence(self, request: Request) -> str | None:
        """What an allow on this route rests on, if it is one text; no other route's is the same."""
        scheme = self.alone
        found = scheme.evidence(request) if scheme is not None else None
        return None if found is None else f"{self._name}{found}"

    @cached_property
    def _name(self) -> str:
        return f"{self.service}\0{self.id}\0"


class _Entry(Struct, frozen=True):
    route: Route | None
    methods: frozenset[str]

    def takes(self, method: str) -> bool:
        return not self.methods or method in self.methods


class Paths:
    """Routes by path: exact ones, then prefixes, the longest first.

    `match` raises `Denied` for a path that could be read in two ways, unless every path is the
    same to these routes.
    """

    def __init__(self) -> None:
        self._path_decides = False
        self._exact: dict[str, list[_Entry]] = {}
        self._prefixes: dict[str, list[_Entry]] = {}

    def add(self, path: str | None, entry: _Entry) -> bool:
        """False if a route for the same path and method is there already."""
        self._path_decides |= path not in (None, "/*")
        entries = self._entries(path)
        if any(_overlap(entry, other) for other in entries):
            return False
        entries.append(entry)
        entries.sort(key=lambda e: not e.methods)
        return True

    def block(self, path: str | None, entry: _Entry) -> None:
        """Two services claim the same: neither gets it here, and nothing less specific either."""
        entries = self._entries(path)
        blocked = [_Entry(None, e.methods) if _overlap(entry, e) else e for e in entries]
        both = [_Entry(None, entry.methods), *blocked]
        entries[:] = sorted(both, key=lambda e: not e.methods)

    def _entries(self, path: str | None) -> list[_Entry]:
        if path is not None and not path.endswith("/*"):
            return self._exact.setdefault(path, [])
        prefix = (path or "/*")[:-1]
        if prefix not in self._prefixes:
            self._prefixes[prefix] = []
            longest_first = sorted(self._prefixes.items(), key=lambda item: -len(item[0]))
            self._prefixes = dict(longest_first)
        return self._prefixes[prefix]

    @property
    def sole(self) -> Route | None:
        """The one for every path and method, if there is no other."""
        entries = self._prefixes.get("/", ())
        if self._path_decides or len(entries) != 1 or entries[0].methods:
            return None
        return entries[0].route

    def match(self, path: str, method: str) -> Route | None:
        if self._path_decides:
            path = canonical_path(path)
        for entry in self._exact.get(path, ()):
            if entry.takes(method):
                return entry.route
        for prefix, entries in self._prefixes.items():
            if path.startswith(prefix):
                for entry in entries:
                    if entry.takes(method):
                        return entry.route
        return None


def _overlap(one: _Entry, other: _Entry) -> bool:
    if not one.methods or not other.methods:
        return one.methods == other.methods
    return bool(one.methods & other.methods)


class RouteTable:
    """All policies of a document, ready to match. Raises `DocumentError` when two collide."""

    def __init__(self, document: Document) -> None:
        self._hosts: dict[str, Paths] = {}
        self._wildcards: dict[str, Paths] = {}
        self._services: dict[str, Paths] = {}
        self._named: dict[tuple[str, str], Route] = {}
        for index, service in enumerate(document.services):
            self._add(f"services[{index}]", service, document)
        require_known("", document.grants, known_routes(document))
        by_length = sorted(self._wildcards.items(), key=lambda item: -len(item[0]))
        self._wildcards = dict(by_length)
        # Few hosts make most of the requests.
        self._known = lru_cache(MAX_HOSTS)(self._of_host)

    def _add(self, place: str, service: ServiceEntry, document: Document) -> None:
        hosts = [host.lower() for host in service.hosts] or [""]
        tables = [self._table(host) for host in hosts]
        own = self._services.setdefault(service.id, Paths())
        for number, (route, written, methods) in enumerate(_routes(service, document)):
            entry = _Entry(route, frozenset(methods))
            self._named[service.id, route.id] = route
            where = f"{place}.routes[{number}]" if route.id else place
            path = _canonical(written, f"{where}.match.path")
            _check_labels(where, route)
            for table, host in zip([own, *tables], ["", *hosts], strict=True):
                if table.add(path, entry):
                    continue
                if table is self._hosts.get(""):
                    # Services without hosts: Envoy's context_extensions tell them apart.
                    table.block(path, entry)
                else:
                    what = f"{host or 'every host'}{path or '/*'}"
                    raise DocumentError(f"{where}: {what} is already taken by another route")

    def _table(self, host: str) -> Paths:
        if host.startswith("*."):
            return self._wildcards.setdefault(host[1:], Paths())
        return self._hosts.setdefault(host, Paths())

    def match(self, request: Request) -> Route:
        """The policy for a request. Raises `Denied`."""
        context = request.context
        route = self._by_name(context, request) if context else self._by_host(request)
        if route is None:
            raise Denied(NO_ROUTE)
        return route

    def _by_name(self, context: Mapping[str, str], request: Request) -> Route | None:
        service, name = context.get("service"), context.get("route")
        if service is None:
            return self._by_host(request) if name is None else None
        if name is not None:
            return self._named.get((service, name))
        whole = self._named.get((service, ""))
        if whole is not None:
            return whole
        paths = self._services.get(service)
        if paths is None:
            return None
        return paths.match(request.path, request.method)

    def _by_host(self, request: Request) -> Route | None:
        sole, tables = self._known(request.host)
        if sole is not None:
            return sole
        for table in tables:
            route = table.match(request.path, request.method)
            if route is not None:
                return route
        return None

    def _of_host(self, sent: str) -> tuple[Route | None, tuple[Paths, ...]]:
        """The route of all its requests, if there is one, and where to look. Raises `Denied`."""
        tables = tuple(self._tables_for(sent))
        return (tables[0].sole if tables else None), tables

    def _tables_for(self, sent: str) -> Iterator[Paths]:
        """The most specific first. Raises `Denied` for what is no host."""
        host = host_name(sent)
        if host in self._hosts and host:
            yield self._hosts[host]
        for suffix, table in self._wildcards.items():
            if host.endswith(suffix) and len(host) > len(suffix):
                yield table
        if "" in self._hosts:
            yield self._hosts[""]


def _check_labels(place: str, route: Route) -> None:
    labels = route.access.labels
    why = clash(labels.tells, route.schemes) if labels is not None else None
    if why is not None:
        raise DocumentError(f"{place}.access.attach-consumer-label.headers: {why}")


#: Ids of routes by tenant and service.
Known = Mapping[tuple[str, str], frozenset[str]]


def known_routes(document: Document) -> Known:
    """What a grant may name."""
    return {(s.tenant, s.id): frozenset(r.id for r in s.routes) for s in document.services}


def require_known(
    at: str, grants: Iterable[GrantEntry], known: Known, tenant: str | None = None
) -> None:
    """Refuse a grant for what is not there: it would be a typing error, and let nobody in. `tenant`
    is None where each says its own. Raises `DocumentError`."""
    for number, grant in enumerate(grants):
        whose = grant.tenant if isinstance(grant, NamedGrant) else tenant or ""
        routes = known.get((whose, grant.service))
        place = f"{at}grants[{number}]"
        if routes is None:
            raise DocumentError(f"{place}.service: there is no service {grant.service!r}")
        if grant.route is not None and grant.route not in routes:
            raise DocumentError(f"{place}.route: {grant.service} has no route {grant.route!r}")


def _canonical(path: str | None, place: str) -> str | None:
    """A route's path in the spelling that requests are compared in."""
    if path is None:
        return None
    stem = path.removesuffix("*") if path.endswith("/*") else path
    try:
        return canonical_path(stem) + path[len(stem) :]
    except Denied:
        raise DocumentError(f"{place}: no request can match it: such paths are refused") from None


def all_routes(document: Document) -> Iterable[Route]:
    """Every route of a document."""
    for service in document.services:
        for route, _, _ in _routes(service, document):
            yield route


def _routes(
    service: ServiceEntry, document: Document
) -> Iterable[tuple[Route, str | None, list[str]]]:
    if not service.routes:
        yield _route(service, None, document), None, []
    for entry in service.routes:
        made = _route(service, entry, document)
        for path in _paths(entry):
            yield made, path, entry.match.methods or []


def _paths(entry: RouteEntry) -> tuple[str | None, ...]:
    """The paths that a route covers: an endpoint is known by several."""
    if entry.endpoint is None:
        return (entry.match.path,)
    own = ENDPOINTS[entry.endpoint].paths
    return own if entry.match.path is None or entry.match.path in own else (entry.match.path,)


def _route(service: ServiceEntry, entry: RouteEntry | None, document: Document) -> Route:
    endpoint = ENDPOINTS[entry.endpoint] if entry is not None and entry.endpoint else None
    own = entry.auth if entry is not None else None
    auth = own if own is not None or endpoint is not None else service.auth
    schemes = tuple(schemes_of(auth, document.profile)) if auth is not None else ()
    return Route(
        service=service.id,
        id=entry.id if entry else "",
        tenant=service.tenant,
        mode=_mode(auth, document.profile),
        schemes=schemes,
        same_consumer=auth is None or auth.same_consumer,
        endpoint=endpoint,
        access=_access(service, entry, document),
    )


def _mode(auth: Any, profile: Profile) -> Literal["any", "all", "multi-auth"]:
    if auth is not None and auth.all is not UNSET:
        return "all"
    several = auth is not None and auth.any is not UNSET and len(auth.any) > 1
    return "multi-auth" if several and profile.startswith("apisix") else "any"


def _access(service: ServiceEntry, entry: RouteEntry | None, document: Document) -> Access:
    own = entry.access if entry is not None else None
    own_limits = limits_of(own)
    grant = _part("grant", own, service.access)
    labels = _part("attach_consumer_label", own, service.access)
    rules = {**chosen(service.access), **chosen(own)}.values()
    return Access(
        service=service.id,
        route=entry.id if entry is not None else "",
        requires_grant=grant == "required",
        doors=tuple(rule for rule in rules if isinstance(rule, IpRestriction)),
        rules=tuple(rule for rule in rules if not isinstance(rule, IpRestriction)),
        labels=None if labels is UNSET else labels,
        group_grants=_group_grants(service.tenant, document) if grant == "required" else {},
        group_rules={
            group.id: own_rules
            for group in document.groups
            if group.tenant == service.tenant and (own_rules := chosen(group.access))
        },
        limits=(limits_of(service.access) or ()) if own_limits is None else own_limits,
        limits_of="service" if own_limits is None else "route",
        group_limits={
            group.id: found
            for group in document.groups
            if group.tenant == service.tenant and (found := limits_of(group.access))
        },
        own_replace=document.profile.startswith("apisix"),
        trusted=networks(tuple(document.trusted_proxies)),
        guessing=guessing.mode(_part("guessing", own, service.access)),
    )


def _part(name: str, *accesses: Any) -> Any:
    """What the first of them that says something says."""
    said = (getattr(access, name) for access in accesses if access is not None)
    return next((value for value in said if value is not UNSET), UNSET)


def _group_grants(tenant: str, document: Document) -> dict[str, tuple[Grant, ...]]:
    found: dict[str, tuple[Grant, ...]] = {}
    for named in document.grants:
        if named.group is not None and named.tenant == tenant:
            found[named.group] = (*found.get(named.group, ()), named.granted())
    return found


def canonical_path(path: str) -> str:
    """The one spelling of a path, wherever the path decides. Raises `Denied` for a path that a
    backend may read as another one.

    Spellings that differ in harmless ways (the case of an escape, `%40` for `@`) become one.
    """
    if _UNSAFE.search(path):
        raise Denied(UNSAFE_PATH)
    if _PLAIN.fullmatch(path):
        return path
    if _ENCODED_UNRESERVED.search(path):
        raise Denied(UNSAFE_PATH)
    decoded = unquote_to_bytes(path)
    try:
        text = decoded.decode("utf-8")  # overlong UTF-8 is how `.` and `/` are smuggled
    except UnicodeDecodeError:
        raise Denied(UNSAFE_PATH) from None
    if _CONTROL.search(text):
        raise Denied(UNSAFE_PATH)
    return quote(decoded, safe=_PCHAR)


def host_name(host: str) -> str:
    """The host without its port and trailing dot, in lower case. Raises `Denied` for what is no
    single host."""
    found = _HOST.fullmatch(host)
    if not found:
        raise Denied(MALFORMED)
    return found[1].lower().removesuffix(".")
