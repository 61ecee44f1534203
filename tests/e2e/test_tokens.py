"""Tokens through the real Envoy: what their claims tell and to whom, and where they are hidden.

Behind the project's Envoy configuration, and behind one that hardens nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from authz.stack import envoy
from tests.e2e.support import bootstraps
from tests.e2e.support.bootstraps import edited, manager
from tests.e2e.support.recording import Received
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Line
from tests.support.tokens import SECRET, jwk, private_key, token
from tests.support.waiting import until

#: The plug-in's keys stand in the route, and only their owner signs.
OWNER = private_key("ES256", "owner")
#: A token that somebody with the right name and the wrong secret made.
FORGER = b"f" * 64
DOCUMENT = f"""
services:
  - id: api
    hosts: [api.test, staff.test]
    auth:
      jwt-auth:
        cookie: jwt
        hide_credentials: true
        store_in_ctx: true
        claims_to_headers: {{sub: X-Subject, role: X-Role, groups: X.Groups}}
  - id: shown
    hosts: [shown.test]
    auth: {{jwt-auth: {{}}}}
  - id: plugin
    hosts: [plugin.test]
    auth:
      jwt-plugin:
        jwk: {json.dumps(jwk("ES256", OWNER))}
        consumer: ann
        hide_credentials: true
        claimParameters:
          - {{claimName: sub, parameterName: X-Subject, location: header}}
          - {{claimName: sub, parameterName: user, location: query}}
consumers:
  - username: ann
    credentials:
      - {{id: jwt, jwt-auth: {{key: ann-key, secret: "{SECRET.decode()}"}}}}
"""
CLAIMS = {"key": "ann-key", "sub": "u-1", "role": "admin", "groups": ["a", "b"]}
#: A header by which a line of Envoy's log is found again.
MINE = "x-mine"
#: What that line says of the claims, as Envoy writes a path into them.
CLAIMS_TOLD = ("sub", "role", "groups", "n", "deep:er")


def _read_claims(listener: dict[str, Any]) -> None:
    """Other filters read the claims: the access log, and one that keeps staff.test for admins."""
    kind = "type.googleapis.com/envoy.extensions"
    claim = "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:claims:{})%"
    fields = {"mine": f"%REQ({MINE})%", "status": "%RESPONSE_CODE%"}
    fields |= {name: claim.format(name) for name in CLAIMS_TOLD}
    log = {
        "@type": f"{kind}.access_loggers.stream.v3.StdoutAccessLog",
        "log_format": {"json_format": fields},
    }
    manager(listener)["access_log"] = [{"name": "envoy.access_loggers.stdout", "typed_config": log}]
    on_staff = {"header": {"name": ":authority", "string_match": {"exact": "staff.test"}}}
    role = {
        "filter": "envoy.filters.http.ext_authz",
        "path": [{"key": "claims"}, {"key": "role"}],
        "value": {"string_match": {"exact": "admin"}},
    }
    policies = {
        "admins": {
            "permissions": [on_staff],
            "principals": [{"sourced_metadata": {"metadata_matcher": role}}],
        },
        "elsewhere": {"permissions": [{"not_rule": on_staff}], "principals": [{"any": True}]},
    }
    staff = {
        "@type": f"{kind}.filters.http.rbac.v3.RBAC",
        "rules": {"action": "ALLOW", "policies": policies},
    }
    filters = manager(listener)["http_filters"]
    filters.insert(len(filters) - 1, {"name": "staff", "typed_config": staff})


@pytest.fixture(scope="module", params=["hardened", "plain"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    base = {"hardened": envoy.render, "plain": bootstraps.plain}[request.param]
    with running(DOCUMENT, bootstrap=edited(_read_claims, base)) as stack:
        yield stack


def made(key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A token of ann's, with a minute to live."""
    return token({**CLAIMS, "exp": int(time.time()) + 60, **claims}, key, algorithm)


def bearing(text: str) -> Line:
    return "authorization", f"Bearer {text}"


def allowed(stack: Stack, target: str, *lines: Line, **how: Any) -> Received:
    """What the upstream received of a request that must pass."""
    answer, seen = stack.send(target, *lines, **how)
    assert (answer.status, answer.message) == (200, None)
    assert seen is not None
    assert seen.values("x-consumer-username") == [b"ann"]
    return seen


# -- claims ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize(
    "lies",
    [
        (),
        (("x-subject", "root"), ("x-role", "root"), ("x.groups", "root")),
        (("X-Subject", "root"), ("X-SUBJECT", "admin"), ("X-Role", ""), ("X.Groups", "u-1")),
        (("Connection", "x-subject"), ("x-subject", "root")),
    ],
)
def test_claims_reach_the_upstream(stack: Stack, lies: tuple[Line, ...], http2: bool) -> None:
    """Each in its header, once, whatever the client says there itself."""
    sent = tuple(line for line in lies if line[0] != "Connection") if http2 else lies
    seen = allowed(stack, "/x", *sent, bearing(made()), http2=http2)
    told = {name: seen.values(name) for name in ("x-subject", "x-role", "x.groups")}
    assert told == {"x-subject": [b"u-1"], "x-role": [b"admin"], "x.groups": [b"a,b"]}


def test_a_claim_that_is_absent_leaves_nothing_of_the_clients(stack: Stack) -> None:
    """Nor one that is empty or null."""
    text = token({"key": "ann-key", "sub": "", "role": None, "exp": int(time.time()) + 60})
    lies = (("x-subject", "root"), ("x-role", "root"), ("x.groups", "root"))
    seen = allowed(stack, "/x", *lies, bearing(text))
    assert [seen.values(name) for name, _ in lies] == [[], [], []]


def test_claims_are_told_in_printable_ascii(stack: Stack) -> None:
    """No line of a claim becomes a line of the request."""
    claims: dict[str, Any] = {
        "sub": "a\r\nx-role: root",
        "role": "50% Zoë ",
        "groups": [1, True, "x"],
    }
    seen = allowed(stack, "/x", bearing(made(**claims)))
    assert seen.values("x-subject") == [b"a%0D%0Ax-role: root"]
    assert seen.values("x-role") == [b"50%25 Zo%C3%AB%20"]
    assert seen.values("x.groups") == [b"1,true,x"]


@pytest.mark.parametrize("name", ["x_subject", "X_Subject", "x.subject", "x-groups", "x_groups"])
@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_look_alikes_of_claims_are_refused(stack: Stack, name: str, http2: bool) -> None:
    """Names that a backend may fold onto those of claims, beside a good token."""
    answer, seen = stack.send("/x", (name, "root"), bearing(made()), http2=http2)
    assert (answer.status in (0, 400, 403), seen) == (True, None)


def test_claims_as_the_plug_in_tells_them(stack: Stack) -> None:
    """In a header and in the query; the client's own parameter of that name is gone."""
    text = made(OWNER, "ES256", sub="u 2&user=root")
    lines = (("x-subject", "root"), bearing(text))
    seen = allowed(stack, "/x?b=%20&user=root&%75ser=root&a", *lines, host="plugin.test")
    assert seen.values("x-subject") == [b"u 2&user=root"]
    assert seen.target == b"/x?b=%20&a&user=u%202%26user%3Droot"


def test_other_filters_read_the_claims(stack: Stack) -> None:
    """The access log has them, for a token that held and for no other."""
    more: dict[str, Any] = {"n": 1.5, "deep": {"er": "x"}}
    cases = {
        "good": ("api.test", made(**more)),
        "forged": ("api.test", made(FORGER)),
        "untold": ("shown.test", made()),
    }
    for name, (host, text) in cases.items():
        stack.send("/x", (MINE, name), bearing(text), host=host)
    lines = until(lambda: logged(stack, *cases), "Envoy logs them")
    assert lines is not None
    nothing: dict[str, Any] = dict.fromkeys(CLAIMS_TOLD)
    told = {"sub": "u-1", "role": "admin", "groups": ["a", "b"], "n": 1.5, "deep:er": "x"}
    assert lines["good"] == {"mine": "good", "status": 200, **told}
    assert lines["forged"] == {"mine": "forged", "status": 401, **nothing}
    assert lines["untold"] == {"mine": "untold", "status": 200, **nothing}


def logged(stack: Stack, *names: str) -> dict[str, dict[str, Any]] | None:
    found = {line["mine"]: line for line in stack.lines("envoy") if line.get("mine") in names}
    return found if len(found) == len(names) else None


def test_another_filter_decides_by_claims(stack: Stack) -> None:
    """Who is let in by us, but is no admin, is kept out by Envoy's RBAC."""
    assert stack.send("/x", bearing(made()), host="staff.test")[0].status == 200
    for role in ("user", "", None, ["admin"], {"admin": "admin"}, 1):
        answer, seen = stack.send("/x", bearing(made(role=role)), host="staff.test")
        assert (answer.status, answer.body, seen) == (403, b"RBAC: access denied", None)
    assert stack.send("/x", bearing(made(FORGER)), host="staff.test")[0].status == 401


# -- hiding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "lines", "arrives", "kept"),
    [
        ("/x?a=1", (("Authorization", "Bearer @"),), "/x?a=1", []),
        ("/x?a=1", (("authorization", "@"),), "/x?a=1", []),
        ("/x?b=%7E&jwt=@&&a", (), "/x?b=%7E&&a", []),
        ("/x?%6Awt=@&JWT=other&q=+", (), "/x?q=+", []),
        ("/x", (("cookie", 'b=1; jwt=@; a="x y"; c=%20='),), "/x", [b'b=1; a="x y"; c=%20=']),
        ("/x", (("cookie", "jwt=@"),), "/x", []),
        ("/x", (("cookie", "jwts=1; jwt=@; xjwt=2"),), "/x", [b"jwts=1; xjwt=2"]),
    ],
)
def test_a_token_is_gone(
    stack: Stack, target: str, lines: tuple[Line, ...], arrives: str, kept: list[bytes]
) -> None:
    """From header, query or cookie; what stands beside it keeps its bytes and its order."""
    text = made()
    sent = [(name, value.replace("@", text)) for name, value in lines]
    seen = allowed(stack, target.replace("@", text), *sent)
    assert seen.target.decode() == arrives
    assert seen.values("cookie") == kept
    assert seen.values("authorization") == []
    assert not [part for part in text.encode().split(b".") if part in seen.everything]


def test_nothing_is_hidden_unasked(stack: Stack) -> None:
    text = made()
    cookie = f"b=1;jwt={text};  a=2"
    assert allowed(stack, "/x", ("cookie", cookie), host="shown.test").values("cookie") == [
        cookie.encode()
    ]
    target = f"/x?b=2&jwt={text}&&a"
    assert allowed(stack, target, host="shown.test").target == target.encode()
