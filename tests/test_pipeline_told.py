"""What a proof tells: headers and parameters for the upstream, claims for Envoy's other filters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authz.denials import SPOOFED
from authz.server import wire
from authz.values import Allow
from tests.support.gateway import NOW, Gateway, ask, upstream
from tests.support.tokens import jwk, rsa_key, token

SECRET = "0123456789abcdef0123456789abcdef"
KEY = rsa_key()
JWK = json.dumps(jwk("RS256", KEY, alg="RS256"))
GATEWAY = Gateway(f"""
services:
  - {{id: told, hosts: [told.test], auth: {{any: [
      {{jwt-plugin: {{jwk: {JWK}, consumer: alice, claimParameters: [
        {{claimName: role, parameterName: X-Role, location: header}},
        {{claimName: role, parameterName: role, location: query}},
        {{claimName: sub, parameterName: Sub.Id, location: query}}]}}}},
      {{key-auth: {{anonymous_consumer: guest}}}}]}}}}
  - {{id: ctx, hosts: [ctx.test], auth: {{all: [{{jwt-auth: {{store_in_ctx: true}}}},
      {{key-auth: {{}}}}]}}}}
  - {{id: not, hosts: [not.test], auth: {{jwt-auth: {{}}}}}}
consumers:
  - username: alice
    credentials:
      - {{id: j, jwt-auth: {{key: alice-jwt, secret: {SECRET}}}}}
      - {{id: k, key-auth: {{key: alice-key}}}}
  - {{username: guest}}
""")


def bearer(**claims: Any) -> tuple[str, str]:
    return "authorization", f"Bearer {token({'exp': NOW + 60, **claims}, KEY, 'RS256')}"


def seen(target: str, *lines: tuple[str, str]) -> tuple[str, dict[str, tuple[str, ...]]]:
    """What the upstream sees of an allowed request."""
    request = ask(target, *lines, host="told.test")
    decision = GATEWAY.decide(request)
    assert isinstance(decision, Allow), decision
    return upstream(request, decision)


FORGED = [("X-Role", "root"), ("x-role", "admin")]


def test_claims_are_told() -> None:
    """In place of what the client said itself, and beside all else that it said."""
    target, headers = seen("/p?a=1&role=root&b", *FORGED, bearer(role="user", sub="é&=x"))

    assert headers["x-role"] == ("user",)
    assert target == "/p?a=1&b&role=user&Sub.Id=%C3%A9%26%3Dx"


CALLERS = [[bearer()], [bearer(role=None)], [bearer(role="")], [("apikey", "alice-key")], []]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(
    "spelled",
    [
        *("role=root", "ROLE=root", "%72ole=root", "rol%65", "role=&role=root", "role=%zz"),
        *("Sub.Id=1", "sub_id=1", "sub-id=1", "sub%2eid=1"),
    ],
)
def test_nobody_else_tells(caller: list[tuple[str, str]], spelled: str) -> None:
    """Who has no such claim, or proved something else, or nothing: what only a token may tell is
    then not told at all, whatever its spelling."""
    target, headers = seen(f"/p?a=1&{spelled}&b", *FORGED, *caller)

    assert "x-role" not in headers
    assert target == "/p?a=1&b"


@pytest.mark.parametrize("caller", [*CALLERS, [bearer(role="user")]])
@pytest.mark.parametrize(
    "spelled",
    [
        *("role[]=root", "role[0]=root", "role%5B%5D=root", "a=1;role=root", "a;role", "role%00=x"),
        *("+role=root", "role%20=root", "%0arole=root", "role%00[=x", "sub_id[a]=1", ";;Sub.Id;"),
    ],
)
def test_what_a_lax_reader_might_find(caller: list[tuple[str, str]], spelled: str) -> None:
    """Lists, other separators, blanks and ends of texts: refused, since some backends would read
    the parameter from them, and keep it beside ours."""
    request = ask(f"/p?{spelled}", *caller, host="told.test")

    assert GATEWAY.decide(request) == SPOOFED


@pytest.mark.parametrize("spelled", ["roles=1", "a=role=root", "a[role]=1", "b=%26role%3Droot"])
def test_other_parameters_are_the_clients_own(spelled: str) -> None:
    """Names that only resemble one, and values."""
    assert seen(f"/p?{spelled}", bearer())[0] == f"/p?{spelled}"


@pytest.mark.parametrize("name", ["x_role", "X.Role", "x-Role_"])
def test_headers_that_pass_for_a_told_one(name: str) -> None:
    """Refused before anybody is asked who is calling."""
    request = ask("/p", (name, "root"), host="told.test")
    found = GATEWAY.decide(request)

    assert found == SPOOFED if name != "x-Role_" else isinstance(found, Allow)


def test_claims_for_envoys_filters() -> None:
    """Under a key of their own, on an allow alone, and only where the route says so."""
    claims = {"key": "alice-jwt", "n": [1, None, {"x": True}], "exp": NOW + 300}
    line = ("authorization", f"Bearer {token(claims, SECRET, 'HS256')}")

    answer = wire.write(GATEWAY.verdict(ask("/", line, ("apikey", "alice-key"), host="ctx.test")))
    assert answer.dynamic_metadata["claims"] == claims
    assert answer.dynamic_metadata["consumer"] == "alice"
    for lines in ([line], [line, ("apikey", "x")], []):
        refused = wire.write(GATEWAY.verdict(ask("/", *lines, host="ctx.test")))
        assert refused.status.code != 0
        assert "claims" not in refused.dynamic_metadata
    other = wire.write(GATEWAY.verdict(ask("/", line, host="not.test")))
    assert other.status.code == 0
    assert "claims" not in other.dynamic_metadata
