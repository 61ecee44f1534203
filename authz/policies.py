"""What is asked of a request: one policy for each route of a document, made when it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

from msgspec import UNSET, Struct

from authz.access import Access, chosen, guessing, limits_of
from authz.access.address import networks
from authz.access.ip_restriction import IpRestriction
from authz.contracts import Scheme
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
from authz.values import Grant, Request


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


def all_routes(document: Document) -> Iterable[Route]:
    """Every route of a document."""
    for service in document.services:
        for route, _, _ in routes_of(service, document):
            yield route


def routes_of(
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
