"""A credential that is to be hidden is gone for the upstream; everything else arrives as sent."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from authz.stack import envoy
from tests.e2e.support import bootstraps
from tests.e2e.support.bootstraps import edited, virtual_hosts
from tests.e2e.support.recording import Received
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Line

KEY = "alice~key-4d1f"
PASSWORD = "alice:pass word-9c2e"
PAIR = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
BASIC: Line = ("authorization", f"Basic {PAIR}")
#: The key in spellings that decode to it.
SPELLINGS = (
    KEY,
    quote(KEY, safe="").replace("~", "%7E"),
    KEY.replace("a", "%61").replace("~", "%7e"),
    "".join(f"%{byte:02x}" for byte in KEY.encode()),
)

DOCUMENT = f"""
services:
  - id: hidden
    hosts: [hidden.test]
    auth:
      any:
        - key-auth: {{cookie: session-key, hide_credentials: true}}
        - basic-auth: {{hide_credentials: true}}
  - id: shown
    hosts: [shown.test]
    auth: {{any: [{{key-auth: {{cookie: session-key}}}}, {{basic-auth: {{}}}}]}}
  - id: dashed
    hosts: [dashed.test]
    auth: {{key-auth: {{header: X-Api-Key, query: api.key, hide_credentials: true}}}}
  - id: both
    hosts: [both.test]
    auth:
      all: [{{key-auth: {{hide_credentials: true}}}}, {{basic-auth: {{hide_credentials: true}}}}]
  - id: guests
    hosts: [guests.test]
    auth: {{key-auth: {{hide_credentials: true, anonymous_consumer: alice}}}}
  - id: lax
    hosts: [lax.test]
    auth:
      key-auth: {{hide_credentials: true, anonymous_consumer: alice, profile: apisix-3.18}}
  - id: moved
    hosts: [moved.test]
    auth: {{key-auth: {{hide_credentials: true}}}}
consumers:
  - username: alice
    credentials:
      - {{id: key, key-auth: {{key: "{KEY}"}}}}
      - {{id: web, basic-auth: {{username: alice, password: "{PASSWORD}"}}}}
"""


def _route_by_query(listener: dict[str, Any]) -> None:
    """On moved.test, requests with an `apikey` in the query have another route than those
    without: it is the one that is taken, so a rewritten path must not be routed again."""
    with_key = {"prefix": "/", "query_parameters": [{"name": "apikey", "present_match": True}]}
    elsewhere = {"status": 418, "body": {"inline_string": "routed again"}}
    host = {
        "name": "moved",
        "domains": ["moved.test"],
        "routes": [
            {"match": with_key, "route": {"cluster": "upstream"}},
            {"match": {"prefix": "/"}, "direct_response": elsewhere},
        ],
    }
    virtual_hosts(listener).insert(0, host)


@pytest.fixture(scope="module", params=["hardened", "plain"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Behind the project's Envoy configuration, and behind one that shows headers joined."""
    base = {"hardened": envoy.render, "plain": bootstraps.plain}[request.param]
    with running(DOCUMENT, bootstrap=edited(_route_by_query, base)) as stack:
        yield stack


def allowed(stack: Stack, target: str, *lines: Line, host: str, http2: bool = False) -> Received:
    """What the upstream received of a request that must pass."""
    answer, seen = stack.send(target, *lines, host=host, http2=http2)
    assert (answer.status, answer.message) == (200, None)
    assert seen is not None
    return seen


def assert_gone(seen: Received) -> None:
    """No spelling of any credential is anywhere in the request."""
    text = seen.everything.lower()
    for secret in (*SPELLINGS, PASSWORD, PAIR, quote(PASSWORD)):
        assert secret.lower().encode() not in text


def others(seen: Received) -> list[tuple[bytes, bytes]]:
    """The headers that a client sent and that no gateway adds."""
    return [line for line in seen.lines if line[0].startswith(b"x-mine")]


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_from_a_header(stack: Stack, http2: bool) -> None:
    """The header is gone in every spelling; the others keep values, order and repetition."""
    mine = (("x-mine-b", "1, 2"), ("x-mine-a", "%41 ;="), ("x-mine-b", ""))
    lines = (mine[0], ("ApiKey", KEY), *mine[1:])
    seen = allowed(stack, "/a/b?c=%20+d", *lines, host="hidden.test", http2=http2)
    assert_gone(seen)
    assert seen.values("apikey") == []
    assert seen.target == b"/a/b?c=%20+d"
    assert sorted(others(seen)) == sorted((n.encode(), v.encode()) for n, v in mine)
    assert [value for name, value in others(seen) if name == b"x-mine-b"] == [b"1, 2", b""]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/x?apikey=@", "/x"),
        ("/x?apikey=@&", "/x?"),
        ("/x?apikey=@&a=1&b=2", "/x?a=1&b=2"),
        ("/x?b=2&apikey=@&a=1", "/x?b=2&a=1"),
        ("/x?b=2&a=1&apikey=@", "/x?b=2&a=1"),
        ("/x?%61pikey=@&flag", "/x?flag"),
        ("/x?%61%70%69%6b%65%79=@&flag=", "/x?flag="),
        ("/x?APIKEY=other&apikey=@&ApiKey=@&%41pikey=@&q", "/x?q"),
        ("/x?a=%7E&&b=+%20&apikey=@&=&c=%zz&d=a=b&a=%7e", "/x?a=%7E&&b=+%20&=&c=%zz&d=a=b&a=%7e"),
        ("/x?apikeys=1&apikey=@&my-apikey=2;apikey", "/x?apikeys=1&my-apikey=2;apikey"),
        ("/x?next=/y?k=v&apikey=@", "/x?next=/y?k=v"),
    ],
)
def test_from_the_query(stack: Stack, sent: str, arrives: str, spelling: str) -> None:
    """In every spelling of name and value; what stands beside it keeps its bytes and its order."""
    seen = allowed(stack, sent.replace("@", spelling), host="hidden.test")
    assert_gone(seen)
    assert seen.target.decode() == arrives


def test_from_the_query_over_http2(stack: Stack) -> None:
    """Bytes that are not ASCII reach the upstream as their percent escapes, nothing is lost."""
    target = f"/x?caf\xc3\xa9=1&apikey={KEY}&b=2"
    seen = allowed(stack, target, host="hidden.test", http2=True)
    assert_gone(seen)
    assert seen.target == b"/x?caf%C3%A9=1&b=2"


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (["session-key=@"], []),
        (["a=1; session-key=@; b=2"], ["a=1; b=2"]),
        (['session-key=@; a="x y"; b=%20=; c'], ['a="x y"; b=%20=; c']),
        (
            ["a=1,2; session-key=@; session-keys=3; Session-Key=4; session_key=5"],
            ["a=1,2; session-keys=3"],
        ),
    ],
)
def test_from_a_cookie(stack: Stack, sent: list[str], arrives: list[str]) -> None:
    """Other cookies survive byte for byte; without any the whole header is gone."""
    lines = [("Cookie", text.replace("@", KEY)) for text in sent]
    seen = allowed(stack, "/x", *lines, host="hidden.test")
    assert_gone(seen)
    assert [value.decode() for value in seen.values("cookie")] == arrives


def test_from_several_cookie_lines(stack: Stack) -> None:
    """The other lines' cookies are all there. Shown raw they become one proper header; where Envoy
    joins the lines with commas, nobody can tell any more that they were several."""
    lines = [("Cookie", "z=1"), ("cookie", f"session-key={KEY}"), ("cookie", "y=2")]
    seen = allowed(stack, "/x", *lines, host="hidden.test")
    assert_gone(seen)
    [cookie] = seen.values("cookie")
    assert cookie in (b"z=1; y=2", b"z=1,y=2")


def test_from_a_cookie_over_http2(stack: Stack) -> None:
    """HTTP/2 clients send each cookie on a line of its own."""
    lines = [("cookie", "a=1"), ("cookie", f"session-key={KEY}"), ("cookie", "b=2")]
    seen = allowed(stack, "/x", *lines, host="hidden.test", http2=True)
    assert_gone(seen)
    assert b"; ".join(seen.values("cookie")) == b"a=1; b=2"


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_a_user_name_with_its_password(stack: Stack, scheme: str) -> None:
    """Authorization is gone."""
    lines = ("Authorization", f"{scheme} {PAIR}")
    seen = allowed(stack, "/x", lines, host="hidden.test")
    assert_gone(seen)
    assert seen.values("authorization") == []


def test_all_of_several_credentials(stack: Stack) -> None:
    """Where two schemes are wanted, both credentials are hidden."""
    seen = allowed(stack, f"/x?a&apikey={KEY}", BASIC, host="both.test")
    assert_gone(seen)
    assert seen.target == b"/x?a"


def test_a_credential_that_nobody_looked_at(stack: Stack) -> None:
    """Where either of two is enough, one that came beside the proven one is hidden as well."""
    seen = allowed(stack, "/x", ("apikey", KEY), BASIC, host="hidden.test")
    assert_gone(seen)


def test_a_foreign_spelling_of_the_header(stack: Stack) -> None:
    """What backends fold onto the credential's name goes with it."""
    lines = (("X-Api-Key", KEY), ("x.api.key", KEY), ("X-API.KEY", KEY))
    seen = allowed(stack, f"/x?API-KEY={KEY}&apikey=1", *lines, host="dashed.test")
    assert_gone(seen)
    assert seen.target == b"/x?apikey=1"


@pytest.mark.parametrize("host", ["guests.test", "lax.test"])
def test_whoever_stays_anonymous(stack: Stack, host: str) -> None:
    """A credential that was not used, for which the anonymous consumer stood in, is hidden too."""
    target = "/x?a=1&APIKEY=other" if host == "guests.test" else f"/x?a=1&apikey={KEY}wrong"
    seen = allowed(stack, target, host=host)
    assert_gone(seen)
    assert seen.target == b"/x?a=1"


def test_nothing_is_hidden_unasked(stack: Stack) -> None:
    """Without `hide_credentials` the request arrives as it was sent."""
    target = f"/x?b=2&%61pikey={SPELLINGS[2]}&&a=1"
    assert allowed(stack, target, host="shown.test").target == target.encode()
    assert allowed(stack, "/x", ("apikey", KEY), host="shown.test").values("apikey") == [
        KEY.encode()
    ]
    assert allowed(stack, "/x", BASIC, host="shown.test").values("authorization") == [
        BASIC[1].encode()
    ]
    cookie = f"b=1;session-key={KEY};  a=2"
    assert allowed(stack, "/x", ("cookie", cookie), host="shown.test").values("cookie") == [
        cookie.encode()
    ]


def test_a_copy_is_refused_and_not_hidden_by_half(stack: Stack) -> None:
    """Two credentials in one request pass nowhere, whichever is good."""
    for target, lines in (
        (f"/x?apikey={KEY}&apikey={KEY}", ()),
        (f"/x?apikey={KEY}&%61pikey=other", ()),
        (f"/x?apikey={KEY}", (("apikey", KEY),)),
        ("/x", (("apikey", KEY), ("apikey", KEY))),
        ("/x", (("cookie", f"session-key={KEY}; session-key={KEY}"),)),
    ):
        answer, seen = stack.send(target, *lines, host="hidden.test")
        assert (answer.status, seen) == (401, None)


def test_a_rewritten_path_is_not_routed_again(stack: Stack) -> None:
    """The route that was checked is the route that is taken, though its own match is gone."""
    seen = allowed(stack, f"/x?apikey={KEY}", host="moved.test")
    assert seen.target == b"/x"
    answer, _ = stack.send("/x", ("apikey", KEY), host="moved.test")
    assert answer.status == 418
