"""consumer-restriction: who, by name, group, service and route, and with which methods."""

from __future__ import annotations

import pytest

from authz.access.consumer_restriction import BLACKLIST, METHOD, NO_VALUE, WHITELIST
from authz.plain import DocumentError
from authz.values import Deny
from tests.access.gateways import api, call, outcome

ANN_POSTS = "allowed_by_methods: [{user: ann, methods: [POST, PUT]}]"


@pytest.mark.parametrize(
    ("rule", "who", "method", "expected"),
    [
        ("whitelist: [ann]", "ann", "GET", "allowed"),
        ("whitelist: [ann]", "ben", "GET", WHITELIST),
        ("whitelist: [Ann]", "ann", "GET", WHITELIST),
        ("blacklist: [ann]", "ann", "GET", BLACKLIST),
        ("blacklist: [ann]", "ben", "GET", "allowed"),
        ("blacklist: [ann], whitelist: [ann]", "ann", "GET", BLACKLIST),
        # Methods concern those who are named, and nobody who is in the whitelist.
        (ANN_POSTS, "ann", "PUT", "allowed"),
        (ANN_POSTS, "ann", "GET", METHOD),
        (ANN_POSTS, "ben", "GET", "allowed"),
        (f"whitelist: [ann], {ANN_POSTS}", "ann", "GET", "allowed"),
        (f"whitelist: [ben], {ANN_POSTS}", "ann", "POST", WHITELIST),
        (f"blacklist: [ann], {ANN_POSTS}", "ann", "POST", BLACKLIST),
        ("allowed_by_methods: []", "ann", "GET", "allowed"),
        ("allowed_by_methods: [{user: ann, methods: []}]", "ann", "GET", METHOD),
        # One of several groups is enough, on either side.
        ("type: consumer_group_id, whitelist: [beta]", "ann", "GET", "allowed"),
        ("type: consumer_group_id, whitelist: [beta]", "ben", "GET", WHITELIST),
        ("type: consumer_group_id, blacklist: [beta]", "ann", "GET", BLACKLIST),
        ("type: consumer_group_id, blacklist: [beta]", "cleo", "GET", NO_VALUE),
        (
            "type: consumer_group_id, allowed_by_methods: [{user: beta, methods: [GET]}, "
            "{user: gold, methods: [POST]}]",
            *("ann", "POST", "allowed"),
        ),
        (
            "type: consumer_group_id, allowed_by_methods: [{user: beta, methods: [GET]}]",
            *("ann", "POST", METHOD),
        ),
        # Where the call goes.
        ("type: service_id, whitelist: [api]", "ann", "GET", "allowed"),
        ("type: service_id, blacklist: [api]", "ann", "GET", BLACKLIST),
        ("type: route_id, whitelist: [read]", "ann", "GET", "allowed"),
        ("type: route_id, whitelist: [other]", "ann", "GET", WHITELIST),
    ],
)
def test_restrictions(rule: str, who: str, method: str, expected: str) -> None:
    gateway = api(f"{{consumer-restriction: {{{rule}}}}}")
    assert outcome(gateway, call(who, method=method)) == expected


def test_a_service_without_routes_has_no_route_id() -> None:
    """Not even one that a blacklist lacks."""
    gateway = api("{consumer-restriction: {type: route_id, blacklist: [elsewhere]}}")

    assert outcome(gateway, call("ann")) == "allowed"
    assert outcome(gateway, call("ann", host="bare.test")) == NO_VALUE


def test_on_a_consumer_it_says_what_the_app_may_call() -> None:
    people = """
consumers:
  - username: ann
    access: {consumer-restriction: {type: route_id, whitelist: [read]}}
    credentials: [{key-auth: {key: ann-key}}]
  - {username: ben, credentials: [{key-auth: {key: ben-key}}]}
"""
    gateway = api("{}", people=people)

    assert outcome(gateway, call("ann", "/r")) == "allowed"
    assert outcome(gateway, call("ann", "/other")) == WHITELIST
    assert outcome(gateway, call("ben", "/other")) == "allowed"


def words(rule: str, who: str) -> tuple[int, str, tuple[str, ...]]:
    decision = api(f"{{consumer-restriction: {{{rule}}}}}").decide(call(who))
    assert isinstance(decision, Deny)
    return decision.status, decision.message, decision.challenges


CHALLENGE = ('apikey realm="key"',)


@pytest.mark.parametrize(
    ("rule", "who", "expected"),
    [
        ("blacklist: [ann]", "ann", (403, "The consumer_name is forbidden.", ())),
        (
            "type: service_id, blacklist: [api]",
            "ann",
            (403, "The service_id is forbidden.", ()),
        ),
        ("blacklist: [ann], rejected_code: 418, rejected_msg: No.", "ann", (418, "No.", ())),
        # A 401 says how to do better (RFC 9110 section 11.6.1).
        (
            "blacklist: [ann], rejected_code: 401",
            "ann",
            (401, "The consumer_name is forbidden.", CHALLENGE),
        ),
        (
            "type: consumer_group_id, whitelist: [gold], rejected_code: 418",
            "cleo",
            (
                401,
                "The request is rejected, please check the consumer_group_id for this request",
                CHALLENGE,
            ),
        ),
    ],
)
def test_the_words(rule: str, who: str, expected: tuple[int, str, tuple[str, ...]]) -> None:
    assert words(rule, who) == expected


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("{}", "consumer-restriction: expected whitelist, blacklist or allowed_by_methods"),
        ("{whitelist: []}", "consumer-restriction.whitelist: expected 'array' of length >= 1"),
        ("{whitelist: [a], rejected_code: 200}", "rejected_code: expected 'int' >= 400"),
        ("{whitelist: [a], type: consumer}", "type: invalid enum value 'consumer'"),
        ("{whitelst: [a]}", "unknown field 'whitelst'"),
    ],
)
def test_what_is_no_restriction(rule: str, complaint: str) -> None:
    with pytest.raises(DocumentError) as refused:
        api(f"{{consumer-restriction: {rule}}}")

    assert str(refused.value).startswith("services[0].access.consumer-restriction")
    assert complaint in str(refused.value)
