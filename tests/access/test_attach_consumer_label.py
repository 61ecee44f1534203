"""attach-consumer-label: what the upstream is told of a consumer, and nobody else tells it."""

from __future__ import annotations

import pytest

from authz.denials import SPOOFED
from authz.plain import DocumentError
from authz.values import Allow
from tests.access.gateways import api, call, outcome
from tests.support.gateway import Gateway, ask, upstream

RULE = "{attach-consumer-label: {headers: {X-Team: $team, X-Consumer-Plan: $plan}}}"
PEOPLE = """
consumers:
  - {username: ann, labels: {team: "ré%d", plan: gold}, headers: {X-Consumer-Plan: own},
     credentials: [{key-auth: {key: ann-key}}]}
  - {username: ben, labels: {team: "", plan: gold}, credentials: [{key-auth: {key: ben-key}}]}
  - {username: cleo, credentials: [{key-auth: {key: cleo-key}}]}
"""
FORGED = [("X-Team", "root"), ("x-team", "admin"), ("x-consumer-plan", "all")]
GATEWAY = api(RULE, people=PEOPLE)


def told(gateway: Gateway, who: str, *lines: tuple[str, str]) -> dict[str, tuple[str, ...]]:
    request = ask("/r", ("apikey", f"{who}-key"), *lines, host="api.test")
    decision = gateway.decide(request)
    assert isinstance(decision, Allow)
    _, headers = upstream(request, decision)
    return {n: v for n, v in headers.items() if n in ("x-team", "x-consumer-plan")}


@pytest.mark.parametrize("lines", [[], FORGED])
@pytest.mark.parametrize(
    ("who", "expected"),
    [
        # As printable text, and never in place of a header that is the consumer's own.
        ("ann", {"x-team": ("r%C3%A9%25d",), "x-consumer-plan": ("own",)}),
        ("ben", {"x-consumer-plan": ("gold",)}),
        ("cleo", {}),
    ],
)
def test_labels_are_told(
    who: str, expected: dict[str, tuple[str, ...]], lines: list[tuple[str, str]]
) -> None:
    """In place of whatever the client said, twice in a row: remembered or not."""
    assert told(GATEWAY, who, *lines) == expected
    assert told(GATEWAY, who, *lines) == expected


@pytest.mark.parametrize("name", ["x_team", "X.Team", "x_consumer_plan"])
def test_names_that_pass_for_a_label(name: str) -> None:
    request = ask("/r", ("apikey", "ann-key"), (name, "root"), host="api.test")
    assert GATEWAY.decide(request) == SPOOFED


def test_a_route_says_its_own_in_place_of_the_services() -> None:
    text = """
services:
  - id: api
    hosts: [api.test]
    auth: {key-auth: {}}
    access: {attach-consumer-label: {headers: {X-Team: $team}}}
    routes:
      - {id: r, match: {path: /r}, access: {attach-consumer-label: {headers: {X-Plan: $plan}}}}
"""
    gateway = Gateway(text + PEOPLE)
    request = ask("/r", ("apikey", "ann-key"), host="api.test")
    decision = gateway.decide(request)

    assert isinstance(decision, Allow)
    assert ("x-plan", "gold") in decision.set
    assert "x-team" not in dict(decision.set)


@pytest.mark.parametrize(
    ("headers", "auth", "complaint"),
    [
        *(
            (f"{{{name}: $a}}", "key-auth: {}", f"no label may set the header {name}")
            for name in ("X-Consumer-Username", "x-consumer-groups", "X-Consumer-Custom-ID")
        ),
        *(
            (f"{{{name}: $a}}", "key-auth: {}", f"no label may set the header {name}")
            for name in ("X-Credential-Identifier", "Authorization", "cookie", "x-forwarded-for")
        ),
        ("{Host: $a}", "key-auth: {}", "no label may set the header Host"),
        ("{X-A: $a, x_a: $b}", "key-auth: {}", "one header is named twice"),
        ("{X-A: a}", "key-auth: {}", "expected 'str' matching"),
        ("{':path': $a}", "key-auth: {}", "expected 'str' matching"),
        ("{}", "key-auth: {}", "expected 'object' of length >= 1"),
        ("{ApiKey: $a}", "key-auth: {}", "apikey is where key-auth reads a credential there"),
        ("{X_Key: $a}", "key-auth: {header: X-Key}", "x-key is where key-auth reads a credential"),
        (
            "{X-Sub: $a}",
            "jwt-auth: {claims_to_headers: {sub: X-Sub}}",
            "x-sub is what jwt-auth tells the upstream there",
        ),
    ],
)
def test_headers_that_are_not_free(headers: str, auth: str, complaint: str) -> None:
    with pytest.raises(DocumentError) as refused:
        Gateway(
            f"services: [{{id: s, auth: {{{auth}}}, "
            f"access: {{attach-consumer-label: {{headers: {headers}}}}}}}]"
        )

    assert str(refused.value).startswith("services[0].access.attach-consumer-label")
    assert complaint in str(refused.value)


def test_it_is_said_by_services_and_routes_alone() -> None:
    """What a consumer's own record is told of stands in its `headers`."""
    people = f"consumers: [{{username: ann, access: {RULE}}}]"
    with pytest.raises(DocumentError, match="unknown field 'attach-consumer-label'"):
        api("{}", people=people)


def test_it_asks_for_nothing() -> None:
    assert outcome(GATEWAY, call("cleo")) == "allowed"
