"""Who is calling is said by the authorizer alone, whatever the client says of itself.

Each promise is kept twice: behind the project's Envoy configuration, and behind one that hardens
nothing, where the authorizer stands alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authz.stack import envoy
from tests.e2e.support import bootstraps
from tests.e2e.support.stack import Stack, running
from tests.e2e.support.wire import Line

DOCUMENT = """
services:
  - {id: api, hosts: [api.test], auth: {any: [{key-auth: {}}, {basic-auth: {}}]}}
  - {id: open, hosts: [open.test], auth: {key-auth: {anonymous_consumer: guest}}}
  - id: closed
    hosts: [closed.test]
    routes: [{id: one, match: {path: /one}, auth: {key-auth: {}}}]
consumers:
  - username: alice
    groups: [gold, eu]
    labels: {custom_id: "4711"}
    headers: {X-Consumer-Plan: premium, X-Consumer-Region: eu-west}
    credentials:
      - {id: primary, key-auth: {key: alice-key}}
      - {id: web, basic-auth: {username: alice, password: alice-password}}
  - {username: bob, credentials: [{key-auth: {key: bob-key}}]}
  - {username: guest, groups: [public], labels: {custom_id: "0"}}
"""

#: Host, credential, and all that the upstream may be told.
CALLERS: dict[str, tuple[str, tuple[Line, ...], list[Line]]] = {
    "with-everything": (
        "api.test",
        (("apikey", "alice-key"),),
        [
            ("x-consumer-custom-id", "4711"),
            ("x-consumer-groups", "gold,eu"),
            ("x-consumer-plan", "premium"),
            ("x-consumer-region", "eu-west"),
            ("x-consumer-username", "alice"),
            ("x-credential-identifier", "primary"),
        ],
    ),
    "with-a-name-only": ("api.test", (("apikey", "bob-key"),), [("x-consumer-username", "bob")]),
    "anonymous": (
        "open.test",
        (),
        [("x-consumer-groups", "public"), ("x-consumer-username", "guest")],
    ),
}
NAMES = (
    *("x-consumer-username", "x-credential-identifier", "x-consumer-custom-id"),
    *("x-consumer-groups", "x-consumer-plan", "x-consumer-role", "x-credential-anything"),
)
#: What a client may write without being refused: exact names in any case, any number of times.
LIES: dict[str, tuple[Line, ...]] = {
    "each-once": tuple((name, "root") for name in NAMES),
    "upper-case": tuple((name.upper(), "root") for name in NAMES),
    "title-case": tuple((name.title(), "root") for name in NAMES),
    "twice": tuple((name, value) for name in NAMES for value in ("root", "admin")),
    "twice-in-two-cases": tuple(
        (name, "root") for each in NAMES for name in (each.title(), each.upper())
    ),
    "empty": tuple((name, "") for name in NAMES),
    "its-own-name": (("x-consumer-username", "alice"), ("x-consumer-groups", "gold,eu,root")),
}
#: Hop-by-hop tricks of HTTP/1.1: what `Connection` names is taken off by the next hop.
NOMINATIONS: dict[str, tuple[Line, ...]] = {
    "without-the-header": (("Connection", "x-consumer-username"),),
    "with-the-header": (("Connection", "x-consumer-username"), ("x-consumer-username", "root")),
    "several": (
        ("Connection", "keep-alive, X-Consumer-Groups, x-credential-identifier"),
        ("Connection", "x-consumer-custom-id"),
        ("x-consumer-groups", "root"),
    ),
}
#: How a request is refused: by Envoy (over HTTP/2 it resets the stream), or by the authorizer.
REFUSED = (0, 400, 403)
#: Names that CGI-like backends take for ours.
LOOK_ALIKES = (
    *("x_consumer_username", "X_Consumer_Username", "x-consumer_username", "x_consumer-groups"),
    *("x.consumer.username", "X-Consumer.Groups", "x.credential-identifier", "x_credential_any"),
    *("x!consumer!username", "x~credential~identifier"),
)


@pytest.fixture(scope="module", params=["hardened", "plain"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    bootstrap = {"hardened": envoy.render, "plain": bootstraps.plain}[request.param]
    with running(DOCUMENT, bootstrap=bootstrap) as stack:
        yield stack


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("lies", LIES)
@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_what_a_client_says_of_itself_is_replaced(
    stack: Stack, caller: str, lies: str, http2: bool
) -> None:
    """The upstream sees exactly the identity that the service computed, each header once."""
    host, credential, expected = CALLERS[caller]
    answer, seen = stack.send("/ip", *LIES[lies], *credential, host=host, http2=http2)
    assert answer.status == 200
    assert seen is not None
    assert seen.identity == expected


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("nomination", NOMINATIONS)
def test_a_nomination_cannot_take_the_identity_off(
    stack: Stack, caller: str, nomination: str
) -> None:
    """`Connection: x-consumer-username` strips nothing that the service has set."""
    host, credential, expected = CALLERS[caller]
    answer, seen = stack.send("/ip", *NOMINATIONS[nomination], *credential, host=host)
    assert answer.status == 200
    assert seen is not None
    assert seen.identity == expected


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", LOOK_ALIKES)
@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_look_alikes_are_refused(stack: Stack, caller: str, name: str, http2: bool) -> None:
    """Names that a backend may fold onto ours do not pass, not even beside a good credential."""
    host, credential, _ = CALLERS[caller]
    answer, seen = stack.send("/ip", (name, "root"), *credential, host=host, http2=http2)
    assert seen is None
    assert answer.status in REFUSED


def test_a_look_alike_behind_our_prefix_is_removed(stack: Stack) -> None:
    """`x-consumer-custom_id` is of our family: refused by a strict Envoy, else taken off."""
    lies = [(f"{name[:-1]}_{name[-1]}", "root") for name in NAMES]
    answer, seen = stack.send("/ip", *lies, ("apikey", "alice-key"))
    assert (answer.status, seen) == (400, None) or seen is not None
    assert seen is None or seen.identity == CALLERS["with-everything"][2]


def test_a_trailer_is_no_identity(stack: Stack) -> None:
    """A trailer of the request does not become a header upstream."""
    head = "POST /ip HTTP/1.1\r\nhost: api.test\r\napikey: bob-key\r\nx-tag: trailer\r\n"
    framing = "transfer-encoding: chunked\r\ntrailer: x-consumer-username\r\n\r\n"
    body = "2\r\nhi\r\n0\r\nx-consumer-username: root\r\nx-consumer-groups: root\r\n\r\n"
    assert stack.raw((head + framing + body).encode()).status == 200
    [seen] = stack.recorder.of("trailer")
    assert seen.body == b"hi"
    assert seen.identity == CALLERS["with-a-name-only"][2]


@pytest.mark.parametrize(
    ("target", "host", "lines"),
    [
        ("/ip", "api.test", ()),
        ("/ip", "api.test", (("apikey", "wrong"),)),
        ("/ip", "api.test", (("authorization", "Bearer alice"),)),
        ("/ip", "open.test", (("apikey", "wrong"),)),
        ("/two", "closed.test", (("apikey", "alice-key"),)),
        ("/ip", "other.test", (("apikey", "alice-key"),)),
    ],
)
def test_an_identity_header_is_no_credential(
    stack: Stack, target: str, host: str, lines: tuple[Line, ...]
) -> None:
    """Without a good credential, stating an identity opens nothing."""
    for lies in LIES.values():
        answer, seen = stack.send(target, *lies, *lines, host=host)
        assert answer.status in (401, 403)
        assert seen is None


_NAMES = st.builds(
    str.join,
    st.just(""),
    st.tuples(
        st.sampled_from(
            ["x-consumer-", "X-CREDENTIAL-", "x_consumer-", "x.consumer.", "x-consumer"]
        ),
        st.text("abcXYZ019-._~", max_size=12),
    ),
)
_LIES = st.lists(st.tuples(_NAMES, st.text("root, ;=\"'%", max_size=12)), min_size=1, max_size=6)


@settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(lies=_LIES, caller=st.sampled_from(sorted(CALLERS)), http2=st.booleans())
def test_no_foreign_identity(stack: Stack, lies: list[Line], caller: str, http2: bool) -> None:
    """Whatever protected-looking names a client makes up: ours exactly, or nothing at all."""
    host, credential, expected = CALLERS[caller]
    sent = [(name, value.strip()) for name, value in lies]
    answer, seen = stack.send("/ip", *sent, *credential, host=host, http2=http2)
    assert (seen is None) == (answer.status in REFUSED)
    assert seen is None or seen.identity == expected
