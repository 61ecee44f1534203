"""ip-restriction: from where calls may come, before and after it is known whose they are."""

from __future__ import annotations

import pytest

from authz.access.address import UNKNOWN
from authz.access.ip_restriction import BLOCKED, NOT_ALLOWED
from authz.plain import DocumentError
from authz.values import Deny
from tests.access.gateways import api, call, outcome
from tests.support.gateway import Gateway, ask

HOME = "whitelist: [192.0.2.0/24, '2001:db8::/32']"
PEOPLE = """
consumers:
  - username: ann
    access: {ip-restriction: {whitelist: [192.0.2.7]}}
    credentials: [{key-auth: {key: ann-key}}]
  - {username: ben, groups: [staff], credentials: [{key-auth: {key: ben-key}}]}
groups:
  - {id: staff, access: {ip-restriction: {blacklist: [198.51.100.0/24]}}}
"""


@pytest.mark.parametrize(
    ("rule", "peer", "expected"),
    [
        (HOME, "192.0.2.9", "allowed"),
        (HOME, "2001:db8:9::1", "allowed"),
        (HOME, "::ffff:192.0.2.9", "allowed"),
        (HOME, "192.0.3.1", NOT_ALLOWED),
        (HOME, "2001:db9::1", NOT_ALLOWED),
        (HOME, "", UNKNOWN),
        ("blacklist: [192.0.2.7]", "192.0.2.7", BLOCKED),
        ("blacklist: [192.0.2.7]", "::ffff:192.0.2.7", BLOCKED),
        ("blacklist: [192.0.2.7]", "192.0.2.8", "allowed"),
        ("blacklist: [192.0.2.7]", "", UNKNOWN),
        (f"blacklist: [192.0.2.7], {HOME}", "192.0.2.7", BLOCKED),
        (f"blacklist: [192.0.2.7], {HOME}", "192.0.2.8", "allowed"),
        (f"blacklist: [192.0.2.7], {HOME}", "198.51.100.1", NOT_ALLOWED),
    ],
)
def test_addresses(rule: str, peer: str, expected: str) -> None:
    assert outcome(api(f"{{ip-restriction: {{{rule}}}}}"), call("ann", peer=peer)) == expected


@pytest.mark.parametrize("who", ["ann", "nobody", ""])
def test_from_elsewhere_nothing_is_learnt_of_credentials(who: str) -> None:
    """A right key, a wrong one and none get one answer."""
    gateway = api(f"{{ip-restriction: {{{HOME}}}}}")
    decision = gateway.decide(call(who, peer="198.51.100.1"))

    assert decision == Deny(NOT_ALLOWED, 403, "Your IP address is not allowed", (), "key-auth")


def test_what_was_allowed_is_asked_again() -> None:
    """The same key from another place: whatever was remembered of it."""
    gateway = api(f"{{ip-restriction: {{{HOME}}}}}")
    found = [outcome(gateway, call("ann", peer=peer)) for peer in ("192.0.2.1", "192.0.3.1")]

    assert found == ["allowed", NOT_ALLOWED]


@pytest.mark.parametrize(
    ("who", "peer", "expected"),
    [
        ("ann", "192.0.2.7", "allowed"),
        ("ann", "192.0.2.8", NOT_ALLOWED),
        ("ben", "192.0.2.8", "allowed"),
        ("ben", "198.51.100.1", BLOCKED),
        ("nobody", "198.51.100.1", "invalid_key"),
    ],
)
def test_a_consumer_and_a_group_have_places_of_their_own(
    who: str, peer: str, expected: str
) -> None:
    assert outcome(api("{}", people=PEOPLE), call(who, peer=peer)) == expected


@pytest.mark.parametrize("profile", ["api7", "apisix-3.18"])
def test_no_consumer_opens_what_the_service_closes(profile: str) -> None:
    """Under no profile: the service's addresses are asked before anybody is known."""
    gateway = api("{ip-restriction: {blacklist: [192.0.2.7]}}", profile=profile, people=PEOPLE)
    assert outcome(gateway, call("ann", peer="192.0.2.7")) == BLOCKED


def test_behind_a_trusted_proxy() -> None:
    gateway = api(f"{{ip-restriction: {{{HOME}}}}}", more="trusted_proxies: [10.0.0.0/8]\n")

    def from_(peer: str, *forwarded: str) -> str:
        lines = [("x-forwarded-for", value) for value in forwarded]
        request = ask("/r", ("apikey", "ann-key"), *lines, address=peer, host="api.test")
        return outcome(gateway, request)

    assert from_("10.0.0.1", "192.0.2.9") == "allowed"
    assert from_("10.0.0.1", "192.0.2.9, 198.51.100.1") == NOT_ALLOWED
    assert from_("198.51.100.1", "192.0.2.9") == NOT_ALLOWED
    assert from_("10.0.0.1") == UNKNOWN


def test_the_words() -> None:
    rule = "{ip-restriction: {blacklist: [192.0.2.7], message: Not here., response_code: 404}}"
    decision = api(rule).decide(call("ann", peer="192.0.2.7"))

    assert isinstance(decision, Deny)
    assert (decision.status, decision.message) == (404, "Not here.")


def test_the_words_of_alibabas_clients() -> None:
    """They read headers; what an operator says himself is said to everybody."""
    text = """
services:
  - id: a
    hosts: [a.test]
    auth: {appcode: {}}
    access: {ip-restriction: {blacklist: [192.0.2.7]}}
  - id: b
    hosts: [b.test]
    auth: {appcode: {}}
    access: {ip-restriction: {blacklist: [192.0.2.7], message: Not here.}}
"""
    usual, own = (
        Gateway(text).decide(ask("/", host=host, address="192.0.2.7"))
        for host in ("a.test", "b.test")
    )

    assert isinstance(usual, Deny)
    assert isinstance(own, Deny)
    assert (usual.body, dict(usual.headers)["x-ca-error-message"]) == ("", "Unauthorized")
    assert (own.body, own.message) == (None, "Not here.")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{ip-restriction: {}}", "services[0].access.ip-restriction: expected whitelist"),
        (
            "{ip-restriction: {whitelist: []}}",
            "services[0].access.ip-restriction.whitelist: expected 'array' of length >= 1",
        ),
        (
            "{ip-restriction: {whitelist: [10.0.0.1/8]}}",
            "services[0].access.ip-restriction: 10.0.0.1/8 has host bits set",
        ),
        (
            "{ip-restriction: {whitelist: [localhost]}}",
            "services[0].access.ip-restriction.whitelist[0]: expected 'str' matching",
        ),
    ],
)
def test_what_is_no_list_of_addresses(text: str, place: str) -> None:
    with pytest.raises(DocumentError) as refused:
        api(text)

    assert str(refused.value).startswith(place)


def test_proxies_that_are_none() -> None:
    with pytest.raises(DocumentError, match=r"^trusted_proxies: 10.0.0.1/8 has host bits set"):
        api("{}", more="trusted_proxies: [10.0.0.1/8]\n")
