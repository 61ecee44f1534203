"""hmac-auth as APISIX had it up to 3.10: both carriers, and the credential's own rules."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from authz import signing
from authz.denials import Foreign
from authz.schemes.hmac_auth import MARGIN
from authz.values import Allow, Body, Deny, Place, Proof, Request
from tests.support.gateway import NOW, Gateway
from tests.support.memory import Memory
from tests.support.signatures import DATE, SECRET, arrived, ask, edited, reason, setting
from tests.support.signatures import store as current

LEGACY = setting(profile="apisix-3.9")
CARRIERS = ("headers", "authorization")


def store(**fields: Any) -> Memory:
    return current(key_id=None, access_key="john-key", **fields)


KNOWN = store()


def legacy(
    target: str = "/ip?b=2&a=1",
    lines: Any = (),
    *,
    method: str = "GET",
    body: bytes | None = None,
    **how: Any,
) -> Request:
    known: dict[str, Any] = {"access_key": "john-key", "secret": SECRET, "at": NOW}
    made = signing.sign_hmac_legacy(method, target, list(lines), body, **(known | how))
    return arrived(target, [*lines, *made.headers], method=method, body=body)


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(
    "target", ["/", "/a%20b?x=a+b&x=%2F&&=1&y", "/?é=1&%C3%A9=0", "/ip?b=2&a=1"]
)
def test_a_signature_proves(carrier: Any, target: str) -> None:
    lines = [("x-a", "1"), ("x-b", "")]
    request = legacy(target, lines, carrier=carrier, signed_headers=["x-b", "X-A", "absent"])
    assert reason(LEGACY, request, KNOWN) == ""
    assert reason(LEGACY, edited(request, "x-a", "2"), KNOWN) == "bad_signature"
    other = msgspec.structs.replace(request, path="/other")
    assert reason(LEGACY, other, KNOWN) == "bad_signature"
    assert reason(LEGACY, legacy(target, carrier=carrier, secret="x"), KNOWN) == "bad_signature"


def test_parameters_that_are_not_encoded() -> None:
    request = legacy("/?a=%2F", encode_uri_params=False)
    assert reason(LEGACY, request, store(encode_uri_params=False)) == ""
    assert reason(LEGACY, request, KNOWN) == "bad_signature"


@pytest.mark.parametrize(
    ("fields", "how", "why"),
    [
        ({}, {"algorithm": "hmac-sha1"}, "algorithm_not_allowed"),
        ({"algorithm": "hmac-sha1"}, {"algorithm": "hmac-sha1"}, ""),
        ({"algorithm": "hmac-sha512"}, {}, "algorithm_not_allowed"),
        ({}, {"at": 0}, ""),
        ({"clock_skew": 10}, {"at": NOW - 10}, ""),
        ({"clock_skew": 10}, {"at": NOW + 11}, "clock_skew"),
        ({"signed_headers": ("x-a",)}, {}, ""),
        ({"signed_headers": ("x-a",)}, {"signed_headers": ["x-a"]}, ""),
        ({"signed_headers": ("x-a",)}, {"signed_headers": ["x-b"]}, "signed_header_not_allowed"),
        ({}, {"access_key": "jane-key"}, "unknown_key_id"),
    ],
)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_rules_of_a_credential(
    carrier: Any, fields: dict[str, Any], how: dict[str, Any], why: str
) -> None:
    request = legacy(carrier=carrier, **how)
    assert reason(LEGACY, request, store(**fields)) == why


@pytest.mark.parametrize(("date", "why"), [("x", "date_malformed"), (None, "date_missing")])
def test_dates(date: str | None, why: str) -> None:
    """Looked at where the credential asks for it; signed in any case."""
    lines = [] if date is None else [("date", date)]
    request = legacy("/", lines) if date else arrived("/", undated())
    assert reason(LEGACY, request, KNOWN) == ""
    assert reason(LEGACY, request, store(clock_skew=10)) == why


def undated() -> list[tuple[str, str]]:
    """Signed by hand, with an empty line for the date."""
    text = signing.hmac_legacy.string_to_sign("GET", "/", "john-key", "", [], lambda _: None)
    tag = signing.hmac_auth.signature(SECRET, "hmac-sha256", text)
    return [
        ("x-hmac-access-key", "john-key"),
        ("x-hmac-signature", tag),
        ("x-hmac-algorithm", "hmac-sha256"),
    ]


@pytest.mark.parametrize("route", [True, False])
def test_bodies(route: bool) -> None:
    """The digest is keyed; the credential may ask for it, or the route."""
    scheme = setting(profile="apisix-3.9", validate_request_body=route)
    memory = store(validate_request_body=not route, max_req_body=8)
    request = legacy(method="POST", body=b"{}")

    assert reason(scheme, request, memory) == ""
    assert reason(scheme, edited(request, "x-hmac-digest"), memory) == "digest_missing"
    other = msgspec.structs.replace(request, body=Body(b"[]", True, True))
    assert reason(scheme, other, memory) == "digest_mismatch"
    cut = msgspec.structs.replace(request, body=Body(b"{}", False, True))
    assert reason(scheme, cut, memory) == "body_incomplete"
    hidden = msgspec.structs.replace(request, body=None)
    assert reason(scheme, hidden, memory) == "body_not_shown"


def test_too_large_is_a_refusal_like_any_other() -> None:
    memory = store(validate_request_body=True, max_req_body=1)
    answer = ask(LEGACY, legacy(method="POST", body=b"{}"), memory)
    assert answer == LEGACY.invalid().because("body_too_large")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("hmac-auth-v1#a#b#c#d", "malformed_signature"),
        ("hmac-auth-v1#a#b#c#d#e#f", "malformed_signature"),
        ("hmac-auth-v1#a#b#c#d#" + "x;" * 65, "malformed_signature"),
        ("hmac-auth-v1#a#b#c#d#e", "unknown_key_id"),
        ("hmac-auth-v1#john-key#b#hmac-md5#d#e", "algorithm_not_allowed"),
        ("hmac-auth-v2#a#b#c#d#e", "not_signature"),
        ("Basic x", "not_signature"),
        ("", "not_signature"),
    ],
)
def test_authorization(value: str, why: str) -> None:
    assert reason(LEGACY, arrived("/", [("authorization", value)]), KNOWN) == why


def test_headers_win_and_must_be_whole() -> None:
    request = legacy()
    both = edited(request, "authorization", "hmac-auth-v1#x#x#x#x#x")
    assert reason(LEGACY, both, KNOWN) == ""
    for name in ("x-hmac-signature", "x-hmac-algorithm"):
        assert reason(LEGACY, edited(request, name), KNOWN) == "malformed_signature"
    assert ask(LEGACY, edited(request, "x-hmac-access-key"), KNOWN) is None


@pytest.mark.parametrize("target", ["/%zz", "/%ff", "/?a=%zz", "/%0A"])
def test_targets_that_can_be_read_in_two_ways(target: str) -> None:
    request = legacy("/")
    path, _, query = target.partition("?")
    changed = msgspec.structs.replace(request, path=path, query=query)
    assert reason(LEGACY, changed, KNOWN) == "malformed_signature"


def test_words() -> None:
    """All failures sound alike."""
    text = "client request can't be validated"
    expected = Deny("", 401, text, ('hmac realm="hmac"',), "hmac-auth")
    foreign = arrived("/", [("authorization", "Basic x")])
    answers = (
        LEGACY.missing(),
        LEGACY.invalid(),
        ask(LEGACY, foreign, KNOWN),
        ask(LEGACY, legacy(secret="x"), KNOWN),
        ask(LEGACY, legacy(access_key="x"), KNOWN),
    )
    for answer in answers:
        assert isinstance(answer, Deny)
        assert answer.because("") == expected
    with pytest.raises(Foreign):
        LEGACY.authenticate(foreign, KNOWN.within(""))


@pytest.mark.parametrize(("skew", "seconds"), [(10, 11), (0, 301)])
def test_nonces(skew: int, seconds: int) -> None:
    """Where the credential asks for no date, the route's skew bounds how long one is remembered."""
    scheme = setting(profile="apisix-3.9", nonce_header="X-Nonce")
    request = legacy(lines=[("x-nonce", "n")], signed_headers=["x-nonce"])
    proof = ask(scheme, request, store(clock_skew=skew))
    assert isinstance(proof, Proof)
    assert proof.once is not None
    assert proof.once.seconds == seconds + MARGIN
    stale = legacy(lines=[("x-nonce", "n")], signed_headers=["x-nonce"], at=NOW - 301)
    assert reason(scheme, stale, store(clock_skew=skew)) == "clock_skew"


def upstream(keep: bool, *lines: tuple[str, str]) -> tuple[dict[str, str], set[str]]:
    """What is set and what is removed for john, who signs with X-HMAC-* headers."""
    gateway = Gateway(f"""
profile: apisix-3.9
services: [{{id: s, auth: {{hmac-auth: {{}}}}}}]
consumers:
  - username: john
    credentials:
      - hmac-auth: {{access_key: john-key, secret_key: {SECRET}, keep_headers: {str(keep).lower()}}}
""")
    decision = gateway.decide(legacy("/", [("x-a", "1"), *lines], signed_headers=["x-a"]))
    assert isinstance(decision, Allow)
    return dict(decision.set), set(decision.remove)


STRIPPED = {"x-hmac-signature", "x-hmac-algorithm", "x-hmac-signed-headers"}


def test_headers_are_stripped_unless_the_credential_keeps_them() -> None:
    told, removed = upstream(keep=False)
    assert removed >= STRIPPED
    assert not STRIPPED & set(told)

    told, removed = upstream(keep=True)
    assert not STRIPPED & removed
    assert {name: told[name] for name in STRIPPED} == {
        name: legacy("/", [("x-a", "1")], signed_headers=["x-a"]).headers.get(name)[0]
        for name in STRIPPED
    }


def test_hiding() -> None:
    """Beyond what is stripped, only where the route says so."""
    scheme = setting(profile="apisix-3.9", hide_credentials=True)
    places = (Place(header="authorization"), Place(header="x-hmac-access-key"))
    assert scheme.hidden(legacy(), proven=True) == places
    assert LEGACY.hidden(legacy(), proven=True) == ()


def test_notes() -> None:
    request = legacy("/a?b=1", [("x-a", "1")], signed_headers=["x-a"])
    assert LEGACY.notes(request) == (
        ("key id", "john-key"),
        ("algorithm", "hmac-sha256"),
        ("signed headers", "x-a"),
        ("string to sign", f"GET\n/a\nb=1\njohn-key\n{DATE}\nx-a:1\n"),
    )
    assert LEGACY.notes(msgspec.structs.replace(request, path="/%zz"))[3] == (
        "string to sign",
        LEGACY.reasons["malformed_signature"],
    )


@pytest.mark.parametrize("names", ["x-a;x-a", "X-A;x-a", "x-a;x_a", "x-a:1", ":"])
def test_names_of_one_reading(names: str) -> None:
    """A name that is there twice costs twice; one with a colon may be another one and its value."""
    request = edited(legacy(lines=[("x-a", "1")]), "x-hmac-signed-headers", names)
    assert reason(LEGACY, request, KNOWN) == "malformed_signature"


@pytest.mark.parametrize("target", ["/?a=1%26b%3D2", "/?a%3D1=", "/?a%26b=1"])
def test_parameters_that_would_pass_for_others(target: str) -> None:
    """Where the credential signs them without escapes, none may hold what separates them."""
    request = legacy("/?a=1&b=2", encode_uri_params=False)
    memory = store(encode_uri_params=False)
    path, _, query = target.partition("?")

    assert reason(LEGACY, request, memory) == ""
    changed = msgspec.structs.replace(request, path=path, query=query)
    assert reason(LEGACY, changed, memory) == "malformed_signature"


def test_what_is_kept_is_fit_for_a_header() -> None:
    """Padding and what follows it do not count in a signature, and may be any bytes: they reach the
    upstream escaped."""
    tag = legacy().headers.get("x-hmac-signature")[0]
    gateway = Gateway(f"""
profile: apisix-3.9
services: [{{id: s, auth: {{hmac-auth: {{}}}}}}]
consumers:
  - username: john
    credentials: [{{hmac-auth: {{access_key: john-key, secret_key: {SECRET}, keep_headers: true}}}}]
""")
    decision = gateway.decide(edited(legacy(), "x-hmac-signature", f"{tag}\udcff\udc80"))
    assert isinstance(decision, Allow)
    assert dict(decision.set)["x-hmac-signature"] == f"{tag}%FF%80"


def test_what_is_kept_is_read_in_one_way() -> None:
    """Also where nothing else needs it: these come beside the other carrier."""
    request = edited(legacy(carrier="authorization"), "x-hmac-algorithm", "a\rb")
    assert reason(LEGACY, request, store(keep_headers=True)) == "signed_header_ambiguous"
    assert reason(LEGACY, request, KNOWN) == ""
