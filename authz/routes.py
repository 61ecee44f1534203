"""Which policy a request falls under.

Envoy's `context_extensions` name it, because a client cannot write them; without them host, path
and method decide. The most specific match wins: exact host before wildcard before none, exact path
before the longest prefix, named methods before any. No match is a denial.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from msgspec import Struct

from authz.access.told import clash
from authz.canonical import canonical_path, host_name
from authz.denials import NO_ROUTE
from authz.document import Document, ServiceEntry
from authz.plain import DocumentError
from authz.policies import Route, known_routes, require_known, routes_of
from authz.values import Denied, Request

#: Hosts, as they were sent, whose tables are remembered.
MAX_HOSTS = 4096


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
        for number, (route, written, methods) in enumerate(routes_of(service, document)):
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


def _canonical(path: str | None, place: str) -> str | None:
    """A route's path in the spelling that requests are compared in."""
    if path is None:
        return None
    stem = path.removesuffix("*") if path.endswith("/*") else path
    try:
        return canonical_path(stem) + path[len(stem) :]
    except Denied:
        raise DocumentError(f"{place}: no request can match it: such paths are refused") from None
