"""Who may call what: a grant of the consumer or of its group, for the service or the route, in the
stage, at that second."""

from __future__ import annotations

from typing import Any

import pytest

from authz import document
from authz.plain import DocumentError
from authz.routes import RouteTable
from authz.values import Allow, Deny
from tests.support.gateway import Gateway, ask

BEGIN, END = 1_800_000_000.0, 1_800_003_600.0
GATEWAY = Gateway("""
services:
  - id: api
    hosts: [api.test]
    auth: {key-auth: {}}
    access: {grant: required}
    routes:
      - {id: orders, match: {path: /orders/*}}
      - {id: open, match: {path: /open}, access: {grant: none}}
      - {id: rest, match: {path: /*}}
  - {id: free, hosts: [free.test], auth: {key-auth: {}}}
  - {id: signed, hosts: [signed.test], auth: {appcode: {}}, access: {grant: required}}
  - {id: tokens, tenant: t, hosts: [tenant.test], auth: {key-auth: {}}, access: {grant: required}}
grants:
  - {consumer: whole, service: api}
  - {group: gold, service: api, route: orders, stage: "*"}
  - {group: gold, tenant: t, service: tokens}
consumers:
  - {username: nobody, credentials: [{key-auth: {key: k-nobody}}, {appcode: {code: c-nobody}}]}
  - {username: whole, credentials: [{key-auth: {key: k-whole}}]}
  - username: window
    grants:
      - {service: api, not_before: 2027-01-15T08:00:00Z, not_after: 2027-01-15T09:00:00Z}
    credentials: [{key-auth: {key: k-window}}]
  - username: twice
    grants:
      - {service: api, not_after: 2027-01-15T08:00:00Z}
      - {service: api, not_before: 2027-01-15T09:00:00Z}
    credentials: [{key-auth: {key: k-twice}}]
  - username: tester
    grants: [{service: api, stage: TEST}, {service: signed, not_after: 2020-01-01T00:00:00Z}]
    credentials: [{key-auth: {key: k-tester}}, {appcode: {code: c-tester}}]
  - {username: golden, groups: [silver, gold], credentials: [{key-auth: {key: k-golden}}]}
  - {username: other, tenant: t, groups: [gold], credentials: [{key-auth: {key: k-other}}]}
""")


def asked(who: str, path: str = "/x", host: str = "api.test", **more: Any) -> str:
    """The consumer that is let in, or the reason why none is."""
    headers = [("apikey", f"k-{who}"), *more.pop("headers", [])]
    decision = GATEWAY.decide(ask(path, *headers, host=host, **more))
    if isinstance(decision, Allow):
        return decision.identity.consumer.username
    assert isinstance(decision, Deny)
    assert decision.status == 403
    return decision.reason


@pytest.mark.parametrize(
    ("who", "path", "host", "expected"),
    [
        ("nobody", "/x", "api.test", "not_granted"),
        ("nobody", "/orders/1", "api.test", "not_granted"),
        # A route's own word replaces the service's, and a service that asks for none needs none.
        ("nobody", "/open", "api.test", "nobody"),
        ("nobody", "/x", "free.test", "nobody"),
        ("whole", "/x", "api.test", "whole"),
        ("whole", "/orders/1", "api.test", "whole"),
        # A grant of a group, for one route.
        ("golden", "/orders/1", "api.test", "golden"),
        ("golden", "/x", "api.test", "not_granted"),
        # The groups of two tenants have nothing but a name in common.
        ("other", "/x", "tenant.test", "other"),
    ],
)
def test_a_grant_covers_its_service_or_its_route(
    who: str, path: str, host: str, expected: str
) -> None:
    assert asked(who, path, host) == expected


@pytest.mark.parametrize(
    ("who", "at", "expected"),
    [
        ("window", BEGIN - 1, "grant_not_yet_valid"),
        ("window", BEGIN, "window"),
        ("window", END - 1, "window"),
        ("window", END, "grant_expired"),
        ("twice", BEGIN - 1, "twice"),
        # Between two: what ended is nearer than what is to come.
        ("twice", BEGIN, "grant_expired"),
        ("twice", END, "twice"),
    ],
)
def test_a_grant_holds_from_its_first_second_to_the_one_before_its_last(
    who: str, at: float, expected: str
) -> None:
    assert asked(who, at=at) == expected
    # Nothing that was remembered of another moment decides.
    assert asked(who, at=(BEGIN + END) / 2) == ("window" if who == "window" else "grant_expired")
    assert asked(who, at=at) == expected


@pytest.mark.parametrize(
    ("who", "headers", "context", "expected"),
    [
        ("tester", [], {}, "grant_wrong_stage"),
        ("tester", [("x-ca-stage", "TEST")], {}, "tester"),
        ("tester", [("x-ca-stage", "test")], {}, "grant_wrong_stage"),
        ("whole", [("x-ca-stage", "TEST")], {}, "grant_wrong_stage"),
        ("whole", [("x-ca-stage", "RELEASE")], {}, "whole"),
        # Envoy's word counts, not the client's.
        ("tester", [("x-ca-stage", "RELEASE")], {"stage": "TEST"}, "tester"),
        ("tester", [("x-ca-stage", "TEST")], {"stage": "RELEASE"}, "grant_wrong_stage"),
        ("tester", [("x-ca-stage", "TEST"), ("x-ca-stage", "PRE")], {}, "ambiguous_request"),
        ("tester", [("x-ca-stage", "*")], {}, "malformed_request"),
        ("tester", [("x-ca-stage", "")], {}, "malformed_request"),
        ("tester", [], {"stage": ""}, "malformed_request"),
    ],
)
def test_a_grant_is_for_a_stage(
    who: str, headers: list[tuple[str, str]], context: dict[str, str], expected: str
) -> None:
    assert asked(who, headers=headers, context=context) == expected


def test_a_group_may_have_a_grant_for_every_stage() -> None:
    assert asked("golden", "/orders/1", headers=[("x-ca-stage", "MINE")]) == "golden"


@pytest.mark.parametrize(
    ("who", "reason", "code", "message"),
    [
        ("nobody", "not_granted", "I403AA", "Unauthorized"),
        ("tester", "grant_expired", "A403EP", "App authorization expired"),
    ],
)
def test_an_app_is_refused_in_alibabas_words(
    who: str, reason: str, code: str, message: str
) -> None:
    request = ask("/x", ("authorization", f"APPCODE c-{who}"), host="signed.test")
    decision = GATEWAY.decide(request)
    assert isinstance(decision, Deny)
    told = dict(decision.headers)
    assert (decision.status, decision.reason) == (403, reason)
    assert (told["x-ca-error-code"], told["x-ca-error-message"]) == (code, message)


def test_a_remembered_allow_asks_for_the_grant_again() -> None:
    """Within the same ten seconds, with the same key: the second that counts is the request's."""
    request = ask("/x", ("apikey", "k-window"), at=END - 1)
    assert isinstance(GATEWAY.decide(request), Allow)
    late = GATEWAY.decide(ask("/x", ("apikey", "k-window"), at=END))
    assert isinstance(late, Deny)
    assert late.reason == "grant_expired"
    elsewhere = ask("/x", ("apikey", "k-window"), ("x-ca-stage", "PRE"), at=END - 1)
    refused = GATEWAY.decide(elsewhere)
    assert isinstance(refused, Deny)
    assert refused.reason == "grant_wrong_stage"


def test_nobody_is_told_of_grants_who_proved_nothing() -> None:
    for headers in ([], [("apikey", "wrong")]):
        decision = GATEWAY.decide(ask("/x", *headers))
        assert isinstance(decision, Deny)
        assert decision.status == 401


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("grants: [{service: api}]", "grants[0]: expected one of consumer, group"),
        (
            "grants: [{consumer: a, group: b, service: api}]",
            "grants[0]: expected one of consumer, group",
        ),
        (
            "grants: [{consumer: ghost, service: api}]",
            "grants[0].consumer: 'ghost' is not in this document",
        ),
        ("grants: [{group: g, service: ghost}]", "grants[0].service: there is no service 'ghost'"),
        (
            "grants: [{group: g, service: api, route: ghost}]",
            "grants[0].route: api has no route 'ghost'",
        ),
        (
            "grants: [{group: g, service: api, tenant: t}]",
            "grants[0].service: there is no service 'api'",
        ),
        ("grants: [{group: g, service: api, stage: a b}]", "grants[0].stage"),
        (
            "grants: [{group: g, service: api, not_before: 2027-01-01T00:00:00Z,"
            " not_after: 2027-01-01T00:00:00Z}]",
            "grants[0].not_after: ends before it begins",
        ),
        (
            "consumers: [{username: a, grants: [{service: api, not_before:"
            " 2027-01-01T00:00:00Z, not_after: 2026-01-01T00:00:00Z}]}]",
            "consumers[0].grants[0].not_after: ends before it begins",
        ),
        ("groups: [{id: g}, {id: g}]", "groups[1]: 'g' is already taken"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(DocumentError) as refused:
        RouteTable(document.parse(f"services: [{{id: api, auth: {{key-auth: {{}}}}}}]\n{text}"))
    assert place in str(refused.value)


def test_a_request_needs_no_stage_where_no_grant_is_asked_for() -> None:
    request = ask("/x", ("apikey", "k-nobody"), ("x-ca-stage", "***"), host="free.test")
    assert isinstance(GATEWAY.decide(request), Allow)
