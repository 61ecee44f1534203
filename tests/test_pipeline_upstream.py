"""What the upstream is told: all that is ours to say, and nothing of the client's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from authz.denials import SPOOFED
from authz.telling import ALWAYS, printable
from authz.values import Allow
from tests.support.gateway import Gateway, ask, upstream
from tests.support.people import CONSUMERS, SERVICES, basic, key
from tests.support.texts import NAUGHTY, PRINTABLE, human_texts

GATEWAY = Gateway(SERVICES + CONSUMERS)

IDENTITY = {
    "x-consumer-username": ("alice",),
    "x-credential-identifier": ("primary",),
    "x-consumer-custom-id": ("4711",),
    "x-consumer-groups": ("gold,eu",),
    "x-consumer-plan": ("gold plan",),
}


def seen(host: str, target: str, *headers: tuple[str, str]) -> tuple[str, dict[str, Any]]:
    """What the upstream sees of an allowed request."""
    request = ask(target, *headers, host=host)
    decision = GATEWAY.decide(request)
    assert isinstance(decision, Allow), decision
    return upstream(request, decision)


FORGED = [
    ("x-consumer-username", "root"),
    ("x-consumer-username", "root2"),
    ("X-Consumer-Groups", "admin"),
    ("x-consumer-custom-id", "1"),
    ("x-consumer-plan", "platinum"),
    ("x-consumer-other", "x"),
    ("x-consumer-user_name", "x"),
    ("x-credential-identifier", "forged"),
    ("x-credential-scope", "all"),
]


def test_identity_headers() -> None:
    """All that is known of the caller, and none of the client's own words."""
    assert seen("key.test", "/", key("alice-key"), *FORGED)[1] == {
        "apikey": ("alice-key",),
        **IDENTITY,
    }


def test_an_embedded_credential_is_not_named() -> None:
    """A credential without an id of its own has none upstream."""
    headers = {k: v for k, v in IDENTITY.items() if k != "x-credential-identifier"}

    assert seen("key.test", "/", key("embedded-key"), *FORGED)[1] == {
        "apikey": ("embedded-key",),
        **headers,
    }


def test_the_anonymous_consumer_has_no_id() -> None:
    """Neither a credential's nor a custom one, and nothing of the client's."""
    assert seen("guests.test", "/", *FORGED)[1] == {
        "x-consumer-username": ("guest",),
        "x-consumer-groups": ("anon",),
    }


def test_what_is_always_removed() -> None:
    """What we do not set is removed, whether or not the client sent it where we could see it."""
    decision = GATEWAY.decide(ask("/", key("bob-key"), host="key.test"))

    assert isinstance(decision, Allow)
    assert {name for name, _ in decision.set} | set(decision.remove) == set(ALWAYS)


@pytest.mark.parametrize(
    "name",
    [
        "x_consumer_username",
        "x-consumer_username",
        "X.Consumer.Username",
        "x consumer-groups",
        "x_credential_identifier",
        "x~consumer~",
    ],
)
def test_look_alikes_are_refused(name: str) -> None:
    """A name that a CGI backend takes for ours is refused, or, being in our family, removed."""
    request = ask("/", key("alice-key"), (name, "root"), host="key.test")
    decision = GATEWAY.decide(request)

    if name.lower().startswith(("x-consumer-", "x-credential-")):
        assert isinstance(decision, Allow)
        assert name.lower() in decision.remove
    else:
        assert decision == SPOOFED


@pytest.mark.parametrize("name", ["x-consume", "consumer", "x-consumers", "my-x-consumer-id"])
def test_names_that_are_nobodys(name: str) -> None:
    """Other headers are the client's own affair."""
    assert seen("key.test", "/", key("alice-key"), (name, "1"))[1][name] == ("1",)


@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        ("/p?a=1", [key("alice-key"), ("x", "1")], ("/p?a=1", {"x": ("1",)})),
        ("/p?a=1&apikey=alice-key&b", [], ("/p?a=1&b", {})),
        ("/p?%61pikey=alice-key", [("cookie", "a=1")], ("/p", {"cookie": ("a=1",)})),
        ("/p", [("cookie", "a=1; k=alice-key; b=2")], ("/p", {"cookie": ("a=1; b=2",)})),
        ("/p", [("cookie", "k=alice-key")], ("/p", {})),
        ("/p?APIKEY=x", [key("alice-key"), ("ApiKey", "")][:1], ("/p", {})),
    ],
)
def test_hidden_keys(target: str, headers: Any, expected: tuple[str, dict[str, Any]]) -> None:
    """A hidden credential is nowhere in what the upstream gets; the rest is as it was."""
    path, rest = expected

    assert seen("hide.test", target, *headers) == (path, {**rest, **IDENTITY})


def test_hidden_passwords() -> None:
    """The Authorization header goes, the rest stays."""
    target, headers = seen("hide.test", "/p?a", basic("al:secret"), ("x", "1"))

    assert (target, headers["x"]) == ("/p?a", ("1",))
    assert "authorization" not in headers


@pytest.mark.parametrize(
    ("value", "hidden"), [("Basic YWw6d3Jvbmc=", True), ("basic x", True), ("Bearer x", False)]
)
def test_hidden_though_nobody_looked(value: str, hidden: bool) -> None:
    """A key was enough, and the password beside it is hidden nevertheless; what is of a scheme
    that the route does not know is the upstream's own."""
    headers = seen("hide.test", "/p", key("alice-key"), ("authorization", value))[1]

    assert ("authorization" not in headers) is hidden


TWO = """
profile: PROFILE
services:
  - {id: s, auth: {any: [{key-auth: {query: one, hide_credentials: true}},
      {key-auth: {query: two, hide_credentials: true}}]}}
consumers: [{username: a, credentials: [{key-auth: {key: good}}]}]
"""


@pytest.mark.parametrize("rest", ["two=x", "two", "two=x&two=y", "two=%zz"])
@pytest.mark.parametrize(("profile", "kept"), [("api7", False), ("apisix-3.18", True)])
def test_two_schemes_of_one_kind(rest: str, profile: str, kept: bool) -> None:
    """One proved, so the other is not read, whatever stands there; APISIX hides what was used and
    leaves the rest."""
    request = ask(f"/p?one=good&{rest}")
    decision = Gateway(TWO.replace("PROFILE", profile)).decide(request)

    assert isinstance(decision, Allow)
    assert upstream(request, decision)[0] == (f"/p?{rest}" if kept else "/p")


@pytest.mark.parametrize(
    "cookie", ["k=alice-key; a=é", "a=\udcff; k=alice-key", "a=\x7f;k=alice-key"]
)
def test_a_cookie_that_cannot_be_rewritten(cookie: str) -> None:
    """Other cookies' bytes that no header of ours may hold make a refusal, not a crash: what is
    set can be sent as it is."""
    decision = GATEWAY.decide(ask("/", ("cookie", cookie), host="hide.test"))

    if isinstance(decision, Allow):
        assert all(PRINTABLE.fullmatch(value) for _, value in decision.set)


def test_empty_values_are_not_sent() -> None:
    """Envoy may drop an empty value and let the client's own stand: such a header is removed."""
    gateway = Gateway("""
services: [{id: s, auth: {key-auth: {}}}]
consumers:
  - username: a
    labels: {custom_id: ""}
    headers: {X-Consumer-Plan: ""}
    credentials: [{id: c, key-auth: {key: k}}]
""")
    request = ask("/", key("k"), ("x-consumer-plan", "gold"), ("x-consumer-custom-id", "1"))
    decision = gateway.decide(request)

    assert isinstance(decision, Allow)
    assert [name for name, value in decision.set if not value] == []
    assert not {"x-consumer-plan", "x-consumer-custom-id"} & upstream(request, decision)[1].keys()


# -- printable -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("alice", "alice"), ("a b", "a b"), ("é", "%C3%A9"), ("中", "%E4%B8%AD"), ("a\n", "a%0A")],
)
def test_printable(text: str, expected: str) -> None:
    """Printable ASCII stays; all else is percent-encoded UTF-8."""
    assert printable(text) == expected


@given(human_texts(), human_texts())
def test_printable_tells_names_apart(one: str, other: str) -> None:
    """Two names are never told upstream as the same one, also after an encoding was tried on."""
    assert PRINTABLE.fullmatch(printable(one))
    assert (printable(one) == printable(other)) == (one == other)
    assert printable(printable(one)) != printable(one) or printable(one) == one


def test_no_naughty_name_passes_for_another() -> None:
    """Likewise for a list of strings that broke somebody's software."""
    names = {*NAUGHTY, "é", "%C3%A9", "%", "%25", "%2525", " a", "a ", "a"}

    assert len({printable(name).strip(" ") for name in names}) == len(names)
