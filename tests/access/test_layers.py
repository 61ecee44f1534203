"""Whose rules are asked, and in which order: route, service, consumer, groups."""

from __future__ import annotations

import pytest

from authz.access.acl import DENIED
from authz.access.consumer_restriction import BLACKLIST, METHOD, WHITELIST
from authz.access.grants import MISSING
from authz.plain import DocumentError
from authz.values import Deny
from tests.access.gateways import api, call, outcome
from tests.support.gateway import Gateway

DOCUMENT = """
profile: PROFILE
services:
  - id: api
    hosts: [api.test]
    auth: {key-auth: {}}
    access:
      acl: {deny_labels: {team: [red]}}
      consumer-restriction: {blacklist: [ann, ben, cleo, dora]}
    routes:
      - {id: read, match: {path: /r}}
      - {id: open, match: {path: /open}, access: {consumer-restriction: {blacklist: [nobody]}}}
groups:
  - {id: staff, access: {consumer-restriction: {type: route_id, whitelist: [read]}}}
  - {id: guests, access: {consumer-restriction: {type: route_id, whitelist: [open]}}}
  - {id: staff, tenant: other, access: {acl: {allow_labels: {a: [b]}}}}
consumers:
  - {username: ann, credentials: [{key-auth: {key: ann-key}}]}
  - {username: ben, groups: [staff], credentials: [{key-auth: {key: ben-key}}]}
  - {username: cleo, groups: [staff, guests], credentials: [{key-auth: {key: cleo-key}}]}
  - username: dora
    groups: [staff]
    labels: {team: red}
    access: {consumer-restriction: {type: service_id, whitelist: [api]}}
    credentials: [{key-auth: {key: dora-key}}]
  - username: eve
    access: {consumer-restriction: {type: service_id, whitelist: [other]}}
    credentials: [{key-auth: {key: eve-key}}]
"""
OURS = Gateway(DOCUMENT.replace("PROFILE", "api7"))
APISIX = Gateway(DOCUMENT.replace("PROFILE", "apisix-3.18"))


@pytest.mark.parametrize(
    ("who", "path", "ours", "apisix"),
    [
        ("ann", "/r", BLACKLIST, BLACKLIST),
        # A route's rule stands in place of its service's of that kind, and of no other.
        ("ann", "/open", "allowed", "allowed"),
        ("dora", "/open", DENIED, DENIED),
        # A group's stands beside it; in APISIX in its place, and so does a consumer's in a group's.
        ("ben", "/r", BLACKLIST, "allowed"),
        ("ben", "/open", WHITELIST, WHITELIST),
        ("eve", "/r", WHITELIST, WHITELIST),
        # Of several groups every one is obeyed.
        ("cleo", "/r", BLACKLIST, WHITELIST),
        ("cleo", "/open", WHITELIST, WHITELIST),
    ],
)
def test_whose_rules_are_asked(who: str, path: str, ours: str, apisix: str) -> None:
    assert outcome(OURS, call(who, path)) == ours
    assert outcome(APISIX, call(who, path)) == apisix


def test_a_consumers_own_rule_stands_in_place_of_its_groups() -> None:
    people = """
groups:
  - {id: staff, access: {consumer-restriction: {type: service_id, blacklist: [api]},
      acl: {deny_labels: {team: [blue]}}}}
consumers:
  - username: ann
    groups: [staff]
    access: {consumer-restriction: {type: service_id, whitelist: [api]}}
    credentials: [{key-auth: {key: ann-key}}]
  - {username: ben, groups: [staff], credentials: [{key-auth: {key: ben-key}}]}
  - username: cleo
    groups: [staff]
    labels: {team: blue}
    access: {consumer-restriction: {type: service_id, whitelist: [api]}}
    credentials: [{key-auth: {key: cleo-key}}]
"""
    gateway = api("{}", people=people)

    assert outcome(gateway, call("ann")) == "allowed"
    assert outcome(gateway, call("ben")) == BLACKLIST
    assert outcome(gateway, call("cleo")) == DENIED


def test_a_guest_is_a_consumer_like_others() -> None:
    """Whoever proves nothing meets what its consumer has to meet."""
    text = """
services:
  - id: api
    hosts: [api.test]
    auth: {key-auth: {anonymous_consumer: guest}}
    access: {consumer-restriction: {allowed_by_methods: [{user: guest, methods: [GET]}]}}
consumers: [{username: guest}]
"""
    assert outcome(Gateway(text), call("")) == "allowed"
    assert outcome(Gateway(text), call("", method="POST")) == METHOD
    assert outcome(Gateway(text), call("nobody")) == "invalid_key"


def test_the_grant_comes_first_then_acl_then_restrictions() -> None:
    """So that one request has one reason."""
    rules = "acl: {deny_labels: {team: [red]}}, consumer-restriction: {blacklist: [ann]}"

    assert outcome(api(f"{{grant: required, {rules}}}"), call("ann")) == MISSING
    assert outcome(api(f"{{{rules}}}"), call("ann")) == DENIED


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("acl: {allow_labels: {a: [b]}}", "Missing authentication."),
        (
            "consumer-restriction: {type: route_id, blacklist: [read]}",
            "The request is rejected, please check the route_id for this request",
        ),
    ],
)
def test_without_a_scheme_nobody_is_let_in(rule: str, message: str) -> None:
    """In the words of a rule about consumers, where there is one."""
    text = f"services: [{{id: s, hosts: [api.test], access: {{{rule}}}}}]"
    assert Gateway(text).decide(call("ann")) == Deny("no_scheme", 401, message)
    bare = Gateway("services: [{id: s, hosts: [api.test]}]").decide(call("ann"))
    assert bare == Deny("no_scheme", 403, "This route admits nobody")


@pytest.mark.parametrize("access", ["{grant: required}", "{acl: {deny_labels: {a: [b]}}}"])
def test_an_open_endpoint_asks_nothing_of_its_caller(access: str) -> None:
    """It has none: what it is to ask needs a scheme."""
    text = "services: [{id: s, routes: [{id: r, endpoint: jwt-sign, access: ACCESS}]}]"
    place = r"^services\[0\]\.routes\[0\]: access: .* an .auth. of its own"
    with pytest.raises(DocumentError, match=place):
        Gateway(text.replace("ACCESS", access))
    Gateway(text.replace("ACCESS", "{grant: none, ip-restriction: {blacklist: [192.0.2.1]}}"))
    Gateway(text.replace("ACCESS", f"{access}, auth: {{key-auth: {{}}}}"))


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("services[0].access", "services: [{id: s, access: {acls: {}}}]"),
        ("services[0].routes[0].access", "services: [{id: s, routes: [{id: r, access: {a: {}}}]}]"),
        ("groups[0].access", "groups: [{id: g, access: {grant: required}}]"),
        ("consumers[0].access", "consumers: [{username: c, access: {limit: {}}}]"),
    ],
)
def test_a_mistake_is_found_where_it_stands(place: str, text: str) -> None:
    with pytest.raises(DocumentError) as refused:
        Gateway(text)

    assert str(refused.value).startswith(f"{place}: unknown field")
