"""Which policy a request falls under."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.canonical import host_name
from authz.denials import MALFORMED, NO_ROUTE, UNSAFE_PATH
from authz.document import Document, decode, parse
from authz.plain import DocumentError
from authz.routes import RouteTable
from authz.values import Denied, Deny, Request
from tests.support.texts import wire_texts

TABLE = RouteTable(
    parse("""
services:
  - id: api
    tenant: t1
    hosts: [api.test, "[2001:DB8::1]"]
    auth: {key-auth: {}}
    routes:
      - {id: ip, match: {path: /ip}}
      - {id: ip-post, match: {path: /ip, methods: [POST, PUT]}}
      - {id: pub, match: {path: /pub/*}, auth: {all: [{basic-auth: {}}], same_consumer: false}}
      - {id: deep, match: {path: /pub/deep/*, methods: [GET]}}
  - id: wild
    hosts: ["*.test"]
    auth: {any: [{basic-auth: {}}, {key-auth: {}}]}
  - id: wilder
    hosts: ["*.sub.test"]
    routes: [{id: only, match: {path: /only}}]
  - id: rest
    routes: [{id: all, match: {methods: [GET]}}]
""")
)


def found(table: RouteTable, request: Request) -> tuple[str, str] | Deny:
    """The service and route that a request falls under, or why it falls under none."""
    try:
        route = table.match(request)
    except Denied as denied:
        return denied.deny
    return route.service, route.id


@pytest.mark.parametrize(
    ("method", "host", "path", "expected"),
    [
        ("GET", "api.test", "/ip", ("api", "ip")),
        ("POST", "api.test", "/ip", ("api", "ip-post")),
        ("GET", "API.Test:8080", "/ip", ("api", "ip")),
        ("GET", "api.test.", "/ip", ("api", "ip")),
        ("GET", "[2001:db8::1]:80", "/ip", ("api", "ip")),
        ("GET", "api.test", "/pub/x", ("api", "pub")),
        ("GET", "api.test", "/pub/", ("api", "pub")),
        ("GET", "api.test", "/pub/deep/x", ("api", "deep")),
        ("POST", "api.test", "/pub/deep/x", ("api", "pub")),
        # What an exact host does not cover, a wildcard may.
        ("GET", "api.test", "/pub", ("wild", "")),
        ("GET", "api.test", "/pubx", ("wild", "")),
        ("GET", "api.test", "/PUB/x", ("wild", "")),
        ("GET", "other.test", "/", ("wild", "")),
        ("GET", "a.b.test", "/", ("wild", "")),
        ("GET", "a.sub.test", "/only", ("wilder", "only")),
        ("GET", "a.sub.test", "/other", ("wild", "")),
        ("GET", "test", "/", ("rest", "all")),
        ("GET", ".test", "/", ("rest", "all")),
        ("GET", "", "/", ("rest", "all")),
        ("GET", "nottest", "/", ("rest", "all")),
        ("POST", "elsewhere", "/", NO_ROUTE),
        ("GET", "api.test,evil.test", "/ip", MALFORMED),
        ("GET", "äpi.test", "/ip", MALFORMED),
        ("GET", "api.test", "/a//b", UNSAFE_PATH),
        # Where no path decides, none is suspect.
        ("GET", "elsewhere", "/a//b", ("rest", "all")),
    ],
)
def test_by_host_path_and_method(method: str, host: str, path: str, expected: Any) -> None:
    """The most specific match wins; no match is a denial."""
    assert found(TABLE, Request(method, path, host=host)) == expected


@pytest.mark.parametrize(
    ("context", "path", "expected"),
    [
        ({"service": "api", "route": "pub"}, "/elsewhere", ("api", "pub")),
        ({"service": "api", "route": "pub"}, "/a/../b", ("api", "pub")),
        ({"service": "api", "route": "nope"}, "/ip", NO_ROUTE),
        ({"service": "api", "route": ""}, "/ip", NO_ROUTE),
        ({"service": "api"}, "/ip", ("api", "ip")),
        ({"service": "api"}, "/nope", NO_ROUTE),
        ({"service": "api"}, "/pub/../ip", UNSAFE_PATH),
        ({"service": "wild"}, "/any", ("wild", "")),
        ({"service": "wild"}, "/a/../b", ("wild", "")),
        ({"service": "wild", "route": ""}, "/any", ("wild", "")),
        ({"service": "nope"}, "/ip", NO_ROUTE),
        ({"service": ""}, "/ip", NO_ROUTE),
        ({"route": "ip"}, "/", NO_ROUTE),
        ({"other": "x"}, "/", ("rest", "all")),
    ],
)
def test_envoy_names_the_route(context: dict[str, str], path: str, expected: Any) -> None:
    """What Envoy's configuration names wins over host and path, and a wrong name is a denial."""
    assert found(TABLE, Request("GET", path, host="elsewhere", context=context)) == expected


def test_what_a_route_says() -> None:
    """A route's own settings replace its service's, whole."""
    pub = TABLE.match(Request("GET", "/pub/x", host="api.test"))
    wild = TABLE.match(Request("GET", "/", host="x.test"))
    rest = TABLE.match(Request("GET", "/"))

    assert (pub.tenant, pub.mode, pub.same_consumer) == ("t1", "all", False)
    assert [scheme.kind for scheme in pub.schemes] == ["basic-auth"]
    assert (wild.tenant, wild.mode, wild.same_consumer) == ("", "any", True)
    assert [scheme.kind for scheme in wild.schemes] == ["basic-auth", "key-auth"]
    assert rest.schemes == ()


@pytest.mark.parametrize(
    "services",
    [
        "[{id: a, hosts: [x]}, {id: b, hosts: [X]}]",
        "[{id: a, routes: [{id: r}, {id: s, match: {path: /*}}]}]",
        "[{id: a, routes: [{id: r, match: {methods: [A, B]}}, {id: s, match: {methods: [B]}}]}]",
    ],
)
def test_two_routes_for_one_request(services: str) -> None:
    """A document in which a request would fall under two equal routes is refused."""
    with pytest.raises(DocumentError, match="is already taken by another route"):
        RouteTable(parse(f"services: {services}"))


# -- against a reference ---------------------------------------------------------------------------

_PATHS = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/b"]
_MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "path": st.sampled_from([*_PATHS, "/*", "/a/*", "/a/b/*", "/a*"]),
        "methods": st.lists(st.sampled_from(["GET", "POST"]), min_size=1, unique=True),
    },
)
_SERVICES = st.lists(
    st.fixed_dictionaries(
        {"routes": st.lists(_MATCHES, max_size=3)},
        optional={
            "hosts": st.lists(
                st.sampled_from(["x", "y.x", "*.x", "*.y.x"]), max_size=2, unique=True
            )
        },
    ),
    max_size=3,
)


def _document(services: list[dict[str, Any]]) -> Document:
    made = [
        {
            **service,
            "id": f"s{index}",
            "routes": [{"id": f"r{n}", "match": m} for n, m in enumerate(service["routes"])],
        }
        for index, service in enumerate(services)
    ]
    return decode({"services": made})


#: (service, route, host, path, methods), everything as the document has it.
Rule = tuple[str, str, str, str, frozenset[str]]


def _rules(document: Document) -> Iterator[Rule]:
    for service in document.services:
        for host in service.hosts or [""]:
            if not service.routes:
                yield service.id, "", host, "/*", frozenset()
            for route in service.routes:
                methods = frozenset(route.match.methods or ())
                yield service.id, route.id, host, route.match.path or "/*", methods


def _takes(rule: Rule, request: Request) -> bool:
    _, _, host, path, methods = rule
    by_host = host in ("", request.host) or (
        host.startswith("*.") and request.host.endswith(host[1:]) and request.host != host[1:]
    )
    by_path = request.path.startswith(path[:-1]) if path.endswith("/*") else request.path == path
    return by_host and by_path and (not methods or request.method in methods)


def _rank(rule: Rule) -> tuple[Any, ...]:
    _, _, host, path, methods = rule
    hosts = 0 if not host else 1 if host.startswith("*.") else 2
    return hosts, len(host), not path.endswith("/*"), len(path), bool(methods)


def _of_two_without_hosts(pair: tuple[Rule, Rule]) -> bool:
    one, other = pair
    return one[2] == "" and one[0] != other[0]


@given(
    _SERVICES,
    st.sampled_from(["x", "y.x", "z.x", "z.y.x", "q", ""]),
    st.sampled_from(_PATHS),
    st.sampled_from(["GET", "POST", "PUT"]),
)
def test_matching_agrees_with_a_slow_reference(
    services: list[dict[str, Any]], host: str, path: str, method: str
) -> None:
    """Of all rules that take a request the most specific decides, and there is only one."""
    document = _document(services)
    rules = list(_rules(document))
    collisions = [
        (one, other)
        for index, one in enumerate(rules)
        for other in rules[:index]
        if one[2:4] == other[2:4] and (one[4] & other[4] or one[4] == other[4])
    ]
    # Services without hosts are told apart by Envoy alone: nobody gets what two of them claim.
    contested = {rule for pair in collisions for rule in pair if _of_two_without_hosts(pair)}
    if not all(map(_of_two_without_hosts, collisions)):
        with pytest.raises(DocumentError):
            RouteTable(document)
        return
    request = Request(method, path, host=host)
    best = max((rule for rule in rules if _takes(rule, request)), key=_rank, default=None)

    lost = best is None or best in contested
    assert found(RouteTable(document), request) == (NO_ROUTE if lost or not best else best[:2])


# -- host names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("Api.Test", "api.test"),
        ("api.test:80", "api.test"),
        ("api.test.:80", "api.test"),
        ("[::1]", "[::1]"),
        ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ("api_1.test", "api_1.test"),
        ("", ""),
    ],
)
def test_host_names(host: str, expected: str) -> None:
    """Case, port and the root's dot do not make another host."""
    assert host_name(host) == expected


@pytest.mark.parametrize(
    "host",
    [
        "a,b",
        "ä",
        "a:80:b",
        "a:x@b",
        "a@b",
        "[::1",
        "[::1]x",
        "[::1]x:80",
        "a b",
        "a/b",
        "a\\b",
        "a?b",
        "a\x00",
        "a%2e",
    ],
)
def test_hosts_that_can_be_read_in_two_ways(host: str) -> None:
    """What two readers may take for two hosts is refused."""
    with pytest.raises(Denied) as caught:
        host_name(host)
    assert caught.value.deny == MALFORMED


@given(wire_texts())
def test_any_host_is_read_or_refused(host: str) -> None:
    """A host is a name in lower case without a port, or the request is refused."""
    try:
        name = host_name(host)
    except Denied:
        return
    assert name == name.lower()
    assert host.lower().startswith(name)
    assert host_name(name) == name or name.endswith(".")


HOSTLESS = """
services:
  - {id: a, auth: {key-auth: {}}, routes: [{id: r, match: {path: /a}}, {id: x, match: {path: /x}}]}
  - {id: b, auth: {key-auth: {}}, routes: [{id: r, match: {path: /b}}, {id: x, match: {path: /x}}]}
  - {id: whole, auth: {key-auth: {}}}
"""


@pytest.mark.parametrize(
    ("path", "context", "expected"),
    [
        ("/a", {}, ("a", "r")),
        ("/b", {}, ("b", "r")),
        ("/x", {}, None),
        ("/x", {"service": "a"}, ("a", "x")),
        ("/x", {"service": "b", "route": "x"}, ("b", "x")),
        ("/x", {"service": "whole"}, ("whole", "")),
        ("/c", {}, ("whole", "")),
        ("/x", {"route": "x"}, None),
    ],
)
def test_services_without_hosts(
    path: str, context: dict[str, str], expected: tuple[str, str] | None
) -> None:
    """Envoy names them; where two of them match and nothing names one, nobody passes."""
    table = RouteTable(parse(HOSTLESS))
    try:
        route = table.match(Request("GET", path, context=context))
        found = (route.service, route.id)
    except Denied:
        found = None

    assert found == expected


@pytest.mark.parametrize("host", ["a" * 255, "[" + "1" * 65 + "]"])
def test_no_name_is_longer_than_dns_allows(host: str) -> None:
    """Names are remembered, and whoever asks chooses them."""
    with pytest.raises(Denied):
        host_name(host)
