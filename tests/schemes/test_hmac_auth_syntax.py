"""What hmac-auth reads by default: one spelling of each thing, and each thing once."""

from __future__ import annotations

import msgspec
import pytest

from authz.schemes.hmac_request import MAX_NAMES
from authz.schemes.places import MAX_CREDENTIAL
from authz.values import Request
from tests.support.signatures import DATE, arrived, edited, reason, setting, signed

STRICT = setting()


def fields(**changes: str | None) -> str:
    """The Authorization header of john's GET /ip, with other fields, or without."""
    value = signed().headers.get("authorization")[0].removeprefix("Signature ")
    found = dict(part.split("=", 1) for part in value.split(","))
    changed = {name: None if text is None else f'"{text}"' for name, text in changes.items()}
    found |= changed  # type: ignore[arg-type]
    return "Signature " + ",".join(f"{n}={v}" for n, v in found.items() if v is not None)


def with_authorization(value: str) -> Request:
    return edited(signed(), "authorization", value)


def test_the_helper_changes_nothing() -> None:
    assert reason(STRICT, with_authorization(fields())) == ""


GOOD = fields()
BODY = GOOD.removeprefix("Signature ")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (f'Signature {BODY},created="1"', ""),
        (f'Signature  {BODY} , x=""', ""),
        (GOOD.replace(",", ", "), ""),
        (f"Signature {BODY},", "malformed_signature"),
        (f"Signature ,{BODY}", "malformed_signature"),
        (f"Signature {BODY},{BODY}", "malformed_signature"),
        (f'Signature {BODY},keyId="john-key"', "malformed_signature"),
        (f'Signature {BODY},x="",x=""', "malformed_signature"),
        (f"Signature {BODY},created=1", "malformed_signature"),
        (f"Signature {BODY},Signature {BODY}", "malformed_signature"),
        (f"{GOOD},Basic YTpi", "malformed_signature"),
        (GOOD.replace('keyId="', 'keyId ="'), "malformed_signature"),
        (GOOD.replace('keyId="', 'keyId= "'), "malformed_signature"),
        (GOOD.replace('"', "'"), "malformed_signature"),
        (f"Signature {BODY}\x00", "malformed_signature"),
        ("Signature " + "a" * MAX_CREDENTIAL, "malformed_signature"),
        ("Signature ", "malformed_signature"),
        (fields(keyId=None), "malformed_signature"),
        (fields(algorithm=None), "malformed_signature"),
        (fields(headers=None), "malformed_signature"),
        (fields(signature=None), "malformed_signature"),
        (fields(headers=""), "malformed_signature"),
        (fields(headers="@request-target  date"), "malformed_signature"),
        (fields(headers="@request-target date "), "malformed_signature"),
        (fields(headers="@request-target date date"), "malformed_signature"),
        (fields(headers="@request-target date Date"), "malformed_signature"),
        (fields(headers="@request-target date (x)"), "malformed_signature"),
        (fields(headers="@Request-Target date"), "malformed_signature"),
        (fields(headers=" ".join(f"h{n}" for n in range(MAX_NAMES + 1))), "malformed_signature"),
        (fields(headers="date @request-target"), "bad_signature"),
        (fields(headers="@request-target Date"), "bad_signature"),
        (fields(headers="@request-target date x-a"), "signed_header_absent"),
        (fields(headers="date"), "header_not_signed"),
        (fields(algorithm="HMAC-SHA256"), "algorithm_not_allowed"),
        (fields(algorithm=""), "algorithm_not_allowed"),
        (fields(algorithm="hmac-sha512"), "bad_signature"),
        (fields(keyId="jane-key"), "unknown_key_id"),
        (fields(keyId=""), "unknown_key_id"),
        (fields(keyId="john-key "), "unknown_key_id"),
        (fields(keyId="JOHN-KEY"), "unknown_key_id"),
        (fields(signature=""), "bad_signature"),
        (fields(signature="é"), "bad_signature"),
        (GOOD.rstrip('"').rstrip("=") + '"', "bad_signature"),
        (GOOD.rstrip('"') + '="', "bad_signature"),
        ("", "not_signature"),
        ("Signature", "not_signature"),
        (f"signature {BODY}", "not_signature"),
        (f"SignatureX {BODY}", "not_signature"),
        (f"Signature\t{BODY}", "not_signature"),
        ("Basic\tYTpi", "not_signature"),
        ("Bearer " + "a" * MAX_CREDENTIAL, "not_signature"),
        (f" Signature {BODY}", "not_signature"),
        (f"Basic YTpi,{GOOD}", "not_signature"),
        ("Bearer abc", "not_signature"),
    ],
)
def test_authorization(value: str, why: str) -> None:
    assert reason(STRICT, with_authorization(value)) == why


def test_bits_after_the_end_of_base64() -> None:
    """One signature has one spelling."""
    last = BODY[-3]  # before `="`
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = alphabet[alphabet.index(last) ^ 1]
    assert reason(STRICT, with_authorization(f"Signature {BODY[:-3]}{other}{BODY[-2:]}")) == (
        "bad_signature"
    )


@pytest.mark.parametrize("date", [None, "", "1800000000", DATE.replace("Fri", "Thu"), f"{DATE} "])
def test_dates(date: str | None) -> None:
    request = edited(signed(), "date", *([] if date is None else [date]))
    assert reason(STRICT, request) == ("date_malformed" if date else "date_missing")


def test_copies_of_a_signed_header() -> None:
    """The upstream may read the other one."""
    names = ["@request-target", "date", "x-a"]
    request = signed("/", [("x-a", "1")], signed_headers=names)
    assert reason(STRICT, request) == ""
    assert reason(STRICT, edited(request, "x-a", "1", "1")) == "signed_header_ambiguous"
    assert reason(STRICT, edited(request, "date", DATE, DATE)) == "signed_header_ambiguous"
    assert reason(STRICT, edited(request, "authorization", GOOD, GOOD)) == "malformed_signature"
    assert reason(STRICT, edited(request, "x-a", "1\n")) == "signed_header_ambiguous"


@pytest.mark.parametrize("host", ["api.test,evil.test", "evil.test"])
def test_another_host(host: str) -> None:
    names = ["@request-target", "date", "host"]
    request = signed(signed_headers=names)
    assert reason(STRICT, request) == ""
    assert reason(STRICT, msgspec.structs.replace(request, host=host)) in (
        "signed_header_ambiguous",
        "bad_signature",
    )
    assert reason(STRICT, edited(request, "host", host)) == "signed_header_ambiguous"


def test_what_envoy_does_not_show_byte_for_byte() -> None:
    """Without raw headers `!` may be any byte, and a comma two lines; a date has its own comma."""

    def inexact(request: Request) -> Request:
        lines = [(name, value) for name in request.headers for value in request.headers.get(name)]
        return arrived(request.target, lines, exact=False)

    def signed_with(value: str, target: str = "/") -> Request:
        names = ["@request-target", "date", "x-a"]
        return inexact(signed(target, [("x-a", value)], signed_headers=names))

    assert reason(STRICT, signed_with("a b")) == ""
    assert reason(STRICT, signed_with("a!b")) == "signed_header_ambiguous"
    assert reason(STRICT, signed_with("a,b")) == "signed_header_ambiguous"
    assert reason(STRICT, signed_with("a", "/?q=!")) == "signed_header_ambiguous"
    assert reason(STRICT, inexact(signed(key_id="a!b"))) == "malformed_signature"
