"""hmac-auth as APISIX 3.18 has it: as lax as that release, less two of its weaknesses."""

from __future__ import annotations

from typing import Any

import pytest

from authz.values import Deny, Place, Request
from tests.support.gateway import NOW
from tests.support.signatures import DATE, arrived, ask, edited, reason, setting, signed, store

TOLERANT = setting(profile="apisix-3.18")
REFUSED = "client request can't be validated"


def test_defaults() -> None:
    assert TOLERANT.rules.algorithms == ("hmac-sha256", "hmac-sha512", "hmac-sha1")
    assert TOLERANT.rules.required == ("date",)
    assert setting(profile="apisix-3.18", signed_headers=[]).rules.required == ()
    assert TOLERANT.tells == ()


@pytest.mark.parametrize("algorithm", ["hmac-sha1", "hmac-sha256", "hmac-sha512"])
def test_algorithms(algorithm: Any) -> None:
    """Whatever the credential says: it had no say then."""
    assert reason(TOLERANT, signed(algorithm=algorithm), store(algorithm="hmac-sha512")) == ""


@pytest.mark.parametrize(
    ("names", "required", "why"),
    [
        (["date"], None, ""),
        (["Date"], None, "header_not_signed"),
        (["@request-target"], None, "header_not_signed"),
        (["@request-target"], [], ""),
        (["date", "x-absent"], None, "bad_signature"),
        (["date", "x-a"], ["date", "x-a"], ""),
        (["date", "X-A"], ["date", "x-a"], "header_not_signed"),
        (["@request-target", "date"], ["@request-target", "date"], ""),
    ],
)
def test_what_must_be_signed(names: list[str], required: Any, why: str) -> None:
    """To the letter, and the route's list alone."""
    scheme = setting(profile="apisix-3.18", signed_headers=required)
    request = signed("/", [("x-a", "1"), ("x-absent", "1")], signed_headers=names)
    assert reason(scheme, edited(request, "x-absent")) == why


def absent(*names: str) -> str:
    """Over a header that is not there, nothing is signed."""
    request = signed(signed_headers=["date"])
    value = request.headers.get("authorization")[0]
    changed = value.replace('headers="date"', f'headers="{" ".join(names)}"')
    scheme = setting(profile="apisix-3.18", signed_headers=["date", "x-tenant"])
    lax = reason(TOLERANT, edited(request, "authorization", changed))
    return f"{lax}/{reason(scheme, edited(request, 'authorization', changed))}"


def test_a_header_that_is_absent() -> None:
    """Passed over, as in APISIX; not where the route requires it, unlike there."""
    assert absent("date", "x-tenant") == "/signed_header_absent"


FORMS = [
    ("Signature", ""),
    ("Signature ", ""),
    ("Signature \t", "malformed_signature"),
    ("Signature ,,", ""),
    ("Signature x,", ""),
    ('Signature keyId="other",', ""),
    ("SignatureX ", ""),
    ("signature ", "not_signature"),
    ("", "not_signature"),
]


@pytest.mark.parametrize(("start", "why"), FORMS)
def test_authorization(start: str, why: str) -> None:
    """The scheme's name needs no space; what is no field is passed over; the last of a name
    counts."""
    request = signed()
    value = request.headers.get("authorization")[0].removeprefix("Signature ")
    assert reason(TOLERANT, edited(request, "authorization", start + value)) == why


@pytest.mark.parametrize(
    ("end", "why"),
    [('"', ""), ('="', ""), ('=junk"', ""), ('"trailing', ""), ('A"', "bad_signature")],
)
def test_base64(end: str, why: str) -> None:
    """Padding is optional, and what follows it is not read."""
    request = signed()
    value = request.headers.get("authorization")[0].rstrip('"').rstrip("=") + end
    assert reason(TOLERANT, edited(request, "authorization", value)) == why


@pytest.mark.parametrize(
    ("date", "why"),
    [
        ("Friday, 15-Jan-27 08:00:00 GMT", ""),
        ("Fri Jan 15 08:00:00 2027", ""),
        ("Mon, 15 Jan 2027 08:00:00 CET", ""),
        ("2027-01-15T08:00:00Z", "date_malformed"),
        ("Fri, 15 Jan 2027 07:54:59 GMT", "clock_skew"),
    ],
)
def test_dates(date: str, why: str) -> None:
    assert reason(TOLERANT, signed("/", [("date", date)])) == why


def test_the_first_of_copies() -> None:
    request = signed("/", [("x-a", "1")], signed_headers=["date", "x-a"])
    assert reason(TOLERANT, edited(request, "x-a", "1", "2")) == ""
    assert reason(TOLERANT, edited(request, "x-a", "2", "1")) == "bad_signature"
    assert reason(TOLERANT, edited(request, "date", DATE, "x")) == ""


def test_an_underscore_is_a_dash() -> None:
    request = signed("/", [("x_a", "1")], signed_headers=["date", "x_a"])
    assert reason(TOLERANT, edited(edited(request, "x_a"), "x-a", "1")) == ""


def listing(*names: str) -> Request:
    """Signed with the date alone; then these names are said to be signed."""
    request = signed(signed_headers=["date"])
    value = request.headers.get("authorization")[0]
    listed = value.replace('headers="date"', f'headers="{" ".join(names)}"')
    return edited(request, "authorization", listed)


def test_a_list_that_would_cost_too_much() -> None:
    """Names that are absent add nothing; of those that are there, each counts once."""
    absent = [f"x-{number}" for number in range(64)]
    assert reason(TOLERANT, listing("date", *absent[:63])) == ""
    assert reason(TOLERANT, listing("date", *absent)) == "malformed_signature"
    for names in (
        ("date", "date"),
        ("date", "Date"),
        ("date", "x-a", "x_a"),
        ("date", "", "x", "X"),
    ):
        assert reason(TOLERANT, listing(*names)) == "malformed_signature"
    assert reason(TOLERANT, listing("", "date", "")) == ""


def test_what_must_be_there() -> None:
    request = signed()
    for name in ("keyId", "algorithm", "signature"):
        value = request.headers.get("authorization")[0].replace(name, "x")
        assert reason(TOLERANT, edited(request, "authorization", value)) == "malformed_signature"
    assert reason(TOLERANT, edited(request, "date")) == "date_missing"


def test_a_digest_need_not_be_signed() -> None:
    """The route can require it, as there."""
    body = b"{}"
    digest = signed(method="POST", body=body).headers.get("digest")[0]
    request = signed(method="POST", lines=[("digest", digest)], body=body, with_digest=False)
    checked: dict[str, Any] = {"profile": "apisix-3.18", "validate_request_body": True}
    assert reason(setting(**checked), request) == ""
    assert reason(setting(**checked, signed_headers=["digest"]), request) == "header_not_signed"
    assert reason(setting(**checked), edited(request, "digest")) == "digest_missing"
    assert reason(setting(**checked), edited(request, "digest", "x")) == "digest_mismatch"
    assert reason(setting(validate_request_body=True), request) == "header_not_signed"


def test_words() -> None:
    def said(why: str, more: str = "") -> Deny:
        return Deny(why, 401, REFUSED + more, ('hmac realm="hmac"',), "hmac-auth")

    foreign = edited(signed(), "authorization", "Basic x")
    assert TOLERANT.missing() == said("missing_signature", ": missing Authorization header")
    assert TOLERANT.invalid() == said("bad_signature")
    assert ask(TOLERANT, foreign) == said(
        "not_signature", ": Authorization header does not start with 'Signature'"
    )
    assert ask(TOLERANT, signed(key_id="x")) == said("unknown_key_id")


@pytest.mark.parametrize("required", [None, [], ["x-nonce"]])
def test_nonces_are_ours(required: Any) -> None:
    """They work here as well: the header must be signed, and the date, whatever else need not be.
    Otherwise the same nonce would pass again with another date, once it is forgotten."""
    scheme = setting(profile="apisix-3.18", nonce_header="X-Nonce", signed_headers=required)
    assert reason(scheme, signed(nonce_header="x-nonce")) == ""
    assert reason(scheme, signed()) == "header_not_signed"
    undated = signed(nonce_header="x-nonce", signed_headers=["@request-target"])
    assert reason(scheme, undated) == "header_not_signed"


@pytest.mark.parametrize("value", ["Signature x", "Basic x"])
def test_hiding(value: str) -> None:
    """Authorization goes, whatever it holds."""
    scheme = setting(profile="apisix-3.18", hide_credentials=True)
    request = arrived("/", [("authorization", value)], at=NOW)
    assert scheme.hidden(request, proven=False) == (Place(header="authorization"),)
