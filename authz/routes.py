"""Which policy a request falls under.

Envoy's `context_extensions` name it, because a client cannot write them; without them host, path
and method decide. The most specific match wins: exact host before wildcard before none, exact path
before the longest prefix, named methods before any. No match is a denial.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from authz.contracts import Scheme
from authz.denials import MALFORMED, NO_ROUTE, UNSAFE_PATH
from authz.document import Document, DocumentError, RouteEntry, ServiceEntry, schemes_of
from authz.values import Denied, Request

#: What a backend may resolve to another path than we matched: dot segments, empty segments, back
#: slashes, path parameters; the same once decoded, or decoded twice; and broken escapes.
_UNSAFE = re.compile(
    r"//|\\|;|/\.{1,2}(?:/|$)|%(?:2[eEfF]|5[cC]|3[bB]|25[0-9A-Fa-f]{2})|%(?![0-9A-Fa-f]{2})"
)
#: Encoded characters that need no encoding: `/%61pi` is another spelling of `/api`.
_ENCODED_UNRESERVED = re.compile(
    r"%(?:4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe]|3[0-9]|2[dDeE])"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Route(Struct, frozen=True):
    """One policy: which schemes, how many of them, and in whose name.

    `id` is empty where a service has no routes of its own.
    """

    service: str
    id: str
    tenant: str
    mode: Literal["any", "all"]
    schemes: tuple[Scheme, ...]
    same_consumer: bool = True


class _Entry(Struct, frozen=True):
    route: Route
    methods: frozenset[str]

    def takes(self, method: str) -> bool:
        return not self.methods or method in self.methods


class Paths:
    """Routes by path: exact ones, then prefixes, the longest first."""

    def __init__(self) -> None:
        self._exact: dict[str, list[_Entry]] = {}
        self._prefixes: dict[str, list[_Entry]] = {}

    def add(self, path: str | None, entry: _Entry) -> bool:
        """False if a route for the same path and method is there already."""
        table, key = self._exact, path or ""
        if path is None or path.endswith("/*"):
            table, key = self._prefixes, (path or "/*")[:-1]
        entries = table.setdefault(key, [])
        if any(_overlap(entry, other) for other in entries):
            return False
        entries.append(entry)
        entries.sort(key=lambda e: not e.methods)
        self._prefixes = dict(sorted(self._prefixes.items(), key=lambda item: -len(item[0])))
        return True

    def match(self, path: str, method: str) -> Route | None:
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
        by_length = sorted(self._wildcards.items(), key=lambda item: -len(item[0]))
        self._wildcards = dict(by_length)

    def _add(self, place: str, service: ServiceEntry, document: Document) -> None:
        hosts = [host.lower() for host in service.hosts] or [""]
        tables = [self._table(host) for host in hosts]
        own = self._services.setdefault(service.id, Paths())
        for route, path, methods in _routes(service, document):
            entry = _Entry(route, frozenset(methods))
            self._named[service.id, route.id] = route
            where = f"{place}.routes" if route.id else place
            for table, host in zip([own, *tables], ["", *hosts], strict=True):
                if not table.add(path, entry):
                    what = f"{host or 'every host'}{path or '/*'}"
                    raise DocumentError(f"{where}: {what} is already taken by another route")

    def _table(self, host: str) -> Paths:
        if host.startswith("*."):
            return self._wildcards.setdefault(host[1:], Paths())
        return self._hosts.setdefault(host, Paths())

    def match(self, request: Request) -> Route:
        """The policy for a request. Raises `Denied`."""
        service = request.context.get("service")
        route = self._by_host(request) if service is None else self._by_name(service, request)
        if route is None:
            raise Denied(NO_ROUTE)
        return route

    def _by_name(self, service: str, request: Request) -> Route | None:
        name = request.context.get("route")
        if name is not None:
            return self._named.get((service, name))
        whole = self._named.get((service, ""))
        if whole is not None:
            return whole
        paths = self._services.get(service)
        if paths is None:
            return None
        require_plain_path(request.path)
        return paths.match(request.path, request.method)

    def _by_host(self, request: Request) -> Route | None:
        require_plain_path(request.path)
        host = host_name(request.host)
        for table in self._tables_for(host):
            route = table.match(request.path, request.method)
            if route is not None:
                return route
        return None

    def _tables_for(self, host: str) -> Iterable[Paths]:
        if host in self._hosts and host:
            yield self._hosts[host]
        for suffix, table in self._wildcards.items():
            if host.endswith(suffix) and len(host) > len(suffix):
                yield table
        if "" in self._hosts:
            yield self._hosts[""]


def _routes(
    service: ServiceEntry, document: Document
) -> Iterable[tuple[Route, str | None, list[str]]]:
    if not service.routes:
        yield _route(service, None, document), None, []
    for entry in service.routes:
        yield _route(service, entry, document), entry.match.path, entry.match.methods or []


def _route(service: ServiceEntry, entry: RouteEntry | None, document: Document) -> Route:
    auth = entry.auth if entry is not None and entry.auth is not None else service.auth
    schemes = tuple(schemes_of(auth, document.profile)) if auth is not None else ()
    return Route(
        service=service.id,
        id=entry.id if entry else "",
        tenant=service.tenant,
        mode="all" if auth is not None and isinstance(auth.all, list) else "any",
        schemes=schemes,
        same_consumer=auth is None or auth.same_consumer,
    )


def require_plain_path(path: str) -> None:
    """Refuse a path that a backend may read as another one, wherever the path decides."""
    if _UNSAFE.search(path):
        raise Denied(UNSAFE_PATH)
    if "%" in path and (_ENCODED_UNRESERVED.search(path) or not _decodes(path)):
        raise Denied(UNSAFE_PATH)


def _decodes(path: str) -> bool:
    """Whether the escapes are of text: overlong UTF-8 is how `.` and `/` are smuggled."""
    try:
        return not _CONTROL.search(unquote_to_bytes(path).decode("utf-8"))
    except UnicodeDecodeError:
        return False


def host_name(host: str) -> str:
    """The host without its port and trailing dot, in lower case. Raises `Denied` for two in one."""
    if "," in host or not host.isascii():
        raise Denied(MALFORMED)
    name = host.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    name = name.partition(":")[0]
    return name.removesuffix(".")
