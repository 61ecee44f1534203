"""The AppKey signature: strings to sign of the vendor's own clients, and our signer."""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz import forms
from authz.signing import digest
from authz.signing.digest import sign, signature, string_to_sign, strings_to_sign
from authz.signing.signed import Signed
from tests.support.alibaba import AT, CASES, body_of, strings

SIGNED = [case for case in CASES.values() if case["string_to_sign"] is not None]
#: Clients that sign something else than they send.
NONCONFORMING = [case for case in SIGNED if "nonconforming_sdk" in case]
CONFORMING = [case for case in SIGNED if case not in NONCONFORMING]
KEY, SECRET = "203753385", "s3cr3t-AppSecret-1"


def _id(case: dict[str, Any]) -> str:
    return str(case["id"])


@pytest.mark.parametrize("case", CONFORMING, ids=_id)
def test_what_is_signed(case: dict[str, Any]) -> None:
    """Every string that an SDK signed, or that the documented rule gives, is ours in the variant
    that the case names."""
    found = strings(case)
    variant = case["expect"].get("canonical_variant", "documented")

    assert found[case["string_to_sign"]] == variant


@pytest.mark.parametrize("case", NONCONFORMING, ids=_id)
def test_what_a_client_signed_wrongly(case: dict[str, Any]) -> None:
    """No variant makes up for a client that signs another request than it sends."""
    found = strings(case)

    assert case["string_to_sign"] not in found
    if wanted := case["expect"].get("documented_string_to_sign"):
        assert found[wanted] == "documented"


def test_the_cases_tell_the_variants_apart() -> None:
    """All three of them are there, and the vectors were read at all."""
    seen = {case["expect"].get("canonical_variant") for case in CONFORMING}

    assert seen >= set(digest.VARIANTS)
    assert len(CONFORMING) > 60
    assert len(NONCONFORMING) == 2


@pytest.mark.parametrize(
    "case", [c for c in SIGNED if c["source"].startswith(("npm", "PyPI", "github"))], ids=_id
)
def test_signatures(case: dict[str, Any]) -> None:
    """The signatures that the clients made, from their strings and secrets."""
    app = case["app"]
    text, algorithm = case["string_to_sign"], case["signature_method"]

    assert signature(app["app_secret"], text, algorithm) == case["signature"]


def _header(**values: str) -> digest.Header:
    return {name.replace("_", "-"): value for name, value in values.items()}.get


def test_lines() -> None:
    """Five lines, empty ones kept; the listed headers by their names as written; the target."""
    header = _header(accept="a", date="d", x_b="1", x_a="")
    text = string_to_sign(
        "get", "/p", [("k", "v")], [], header, ["x-b", "X-A", "x-c", "Date", "X-Ca-Signature"]
    )

    assert text == "GET\na\n\n\nd\nX-A:\nx-b:1\nx-c:\n/p?k=v"


@pytest.mark.parametrize(
    ("query", "form", "documented", "query_wins"),
    [
        ("", "", "/p", None),
        ("b=2&a=1&B=3", "", "/p?B=3&a=1&b=2", None),
        ("a=&b", "", "/p?a&b", None),
        ("a=1&a=2", "", "/p?a=1", None),
        ("a=1", "a=2&a=3&b=4", "/p?a=2&b=4", "/p?a=1&b=4"),
        ("a=%E4%BD%A0+x%2B%26%3D", "", "/p?a=你 x+&=", None),
        ("a=b=c", "", "/p?a=b=c", None),
        ("&&a=1&", "", "/p?a=1", None),
        # U+FF5E is one UTF-16 unit and U+1F600 two, of which the first is smaller.
        ("%EF%BD%9E=1&%F0%9F%98%80=2", "", "/p?\U0001f600=2&～=1", None),
    ],
)
def test_parameters(query: str, form: str, documented: str, query_wins: str | None) -> None:
    """Decoded, the first of a name, sorted by UTF-16 units, an empty value as the bare name."""
    found = strings_to_sign("GET", "/p", forms.pairs(query), forms.pairs(form), _header(), [])
    targets = {text.rpartition("\n")[2]: variant for text, variant in found.items()}

    wanted = {documented: "documented"}
    assert targets == (wanted if query_wins is None else wanted | {query_wins: "query-wins"})


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        ("/a%20b/%E4%B8%AD", "/a b/中"),
        ("/a+b", None),
        ("/%61", "/a"),
        ("/100%25", "/100%"),
        # What could pass for another path, for a query, or for another line.
        ("/a%2Fb", None),
        ("/a%5Cb", None),
        ("/a%3Fb", None),
        ("/a%23b", None),
        ("/a%26b", None),
        ("/a%0Ab", None),
        ("/a%7Fb", None),
        ("/%2561", None),
        ("/%FF", None),
        ("/%zz", None),
    ],
)
def test_path_decoded(path: str, decoded: str | None) -> None:
    """Some clients sign the path without its escapes."""
    found = strings_to_sign("GET", path, [], [], _header(), [])
    targets = [(text.rpartition("\n")[2], variant) for text, variant in found.items()]

    wanted = [(path, "documented")]
    assert targets == (wanted if decoded is None else [*wanted, (decoded, "path-decoded")])


# -- the signer ------------------------------------------------------------------------------------


def _signed(
    method: str = "GET", target: str = "/", body: bytes = b"", **more: Any
) -> tuple[Signed, dict[str, str]]:
    more = {"app_key": KEY, "app_secret": SECRET, "at": AT, "nonce": "n-1", **more}
    made = sign(method, target, body=body, **more)
    return made, dict(made.headers)


def test_sign_adds_what_is_needed() -> None:
    """Key, time, nonce, method, list and signature; Accept, so that no library adds its own."""
    made, headers = _signed(target="/v1/items?b=2&a=1")

    tag = headers.pop("X-Ca-Signature")
    assert headers == {
        "Accept": "*/*",
        "X-Ca-Key": KEY,
        "X-Ca-Timestamp": "1700000000000",
        "X-Ca-Nonce": "n-1",
        "X-Ca-Signature-Method": "HmacSHA256",
        "X-Ca-Signature-Headers": "X-Ca-Key,X-Ca-Nonce,X-Ca-Signature-Method,X-Ca-Timestamp",
    }
    assert made.query == ()
    assert made.string_to_sign is not None
    assert made.string_to_sign.endswith("X-Ca-Timestamp:1700000000000\n/v1/items?a=1&b=2")
    assert tag == signature(SECRET, made.string_to_sign)


def test_sign_as_another_client_does() -> None:
    """The string and the signature of a client that others wrote, for the same request."""
    case = CASES["pypi-post-json"]
    request = case["request"]
    given = [(n, v) for n, v in request["headers"] if not n.startswith("X-Ca-")]
    nonce = dict(request["headers"])["X-Ca-Nonce"]
    made = sign(
        request["method"],
        request["path"],
        given,
        body_of(case),
        app_key=KEY,
        app_secret=case["app"]["app_secret"],
        at=AT,
        nonce=nonce,
    )

    assert made.string_to_sign == case["string_to_sign"]
    assert dict(made.headers)["X-Ca-Signature"] == case["signature"]


def test_sign_covers_a_body() -> None:
    """By its MD5, or by its fields if it is a form."""
    made, headers = _signed("POST", body=b'{"a":1}')
    assert (
        headers["Content-MD5"]
        == base64.b64encode(bytes.fromhex("bb6cb5c68df4652941caf652a366f2d8")).decode()
    )
    assert headers["Content-Type"] == "application/octet-stream"

    form = ("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")
    made, headers = _signed("POST", "/p?a=1", b"b=%E4%BD%A0", headers=[form])
    assert "Content-MD5" not in headers
    assert made.string_to_sign is not None
    assert made.string_to_sign.endswith("\n/p?a=1&b=你")


def test_sign_names_headers_as_they_are_written() -> None:
    """Their letter case is part of what is signed; X-Ca-* are signed unasked."""
    given = [("x-business-id", "42"), ("x-ca-mode", "m"), ("accept", "a/b")]
    made, headers = _signed(headers=given, signed_headers=["X-Business-Id"], stage="PRE")

    listed = headers["X-Ca-Signature-Headers"].split(",")
    assert listed == sorted(listed)
    assert {"X-Business-Id", "x-ca-mode", "X-Ca-Stage"} < set(listed)
    assert "Accept" not in headers
    assert made.string_to_sign is not None
    assert made.string_to_sign.startswith("GET\na/b\n\n\n\nX-Business-Id:42\nX-Ca-Key:")


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "/?a=%zz"},
        {"target": "/?a=%ff"},
        {"target": "/?" + "&" * forms.MAX_PARAMETERS},
        {"signed_headers": ["X-Absent"]},
        {"signed_headers": ["X Y"], "headers": [("X Y", "1")]},
        {"signed_headers": ["X-Y"], "headers": [("X-Y", "1"), ("x-y", "2")]},
        {"headers": [("accept", "a"), ("Accept", "b")]},
        {"headers": [("x-ca-mode", "a"), ("X-Ca-Mode", "b")]},
        {"app_key": ""},
        {"nonce": "a\nb"},
        {"stage": "PRE\r\nx-evil: 1"},
        {"stage": ""},
    ],
    ids=repr,
)
def test_sign_refuses(wrong: dict[str, Any]) -> None:
    """What no server could verify, or what would be another request."""
    with pytest.raises(ValueError, match=r"^(?!.*evil)"):
        _signed(**wrong)


def test_sign_is_fresh() -> None:
    """A nonce of its own each time, and the time of now."""
    first, second = (
        dict(sign("GET", "/", app_key=KEY, app_secret=SECRET).headers) for _ in range(2)
    )

    assert first["X-Ca-Nonce"] != second["X-Ca-Nonce"]
    assert int(first["X-Ca-Timestamp"]) > AT * 1000


def test_the_secret_is_not_shown() -> None:
    made, _ = _signed()

    assert SECRET not in repr(made)


@given(st.text(), st.text())
def test_any_text_as_a_parameter(name: str, value: str) -> None:
    """What a form encoder writes is what is signed."""
    try:
        query = urlencode([(name, value)])
    except UnicodeEncodeError:
        return  # a lone surrogate is no text
    made, _ = _signed(target=f"/?{query}")

    assert made.string_to_sign is not None
    target = re.split(r"X-Ca-Timestamp:\d+\n", made.string_to_sign)[1]
    written = f"{name}={value}" if value else name
    assert target == (f"/?{written}" if query != "=" else "/?")
