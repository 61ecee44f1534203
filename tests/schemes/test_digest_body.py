"""digest: bodies, and requests that Envoy did not describe to the byte."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from authz.values import Body, Headers, Request
from tests.support.alibaba import KEY, STRICT, VENDOR, outcome, signed, with_header

FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
MD5 = ("Content-MD5", "SmbQn9WKEMJAgRczXD6+1Q==")


def _post(headers: list[tuple[str, str]], body: bytes, **more: Any) -> Request:
    return signed("POST", "/v1/x?q=1", headers, body, **more)


def _other_body(request: Request, data: bytes, **more: Any) -> Request:
    fields = {"data": data, "complete": True, "exact": True, **more}
    return replace(request, body=Body(**fields))


JSON_BODY, FORM_BODY = _post([JSON], b'{"a":1}'), _post([FORM], b"a=1&b=%E4%BD%A0")
UNCOVERED = _post([JSON, ("Content-MD5", "")], b'{"a":1}')
HIDDEN = ("content-length", "7")


@pytest.mark.parametrize(
    ("request_", "strict", "vendor"),
    [
        (JSON_BODY, KEY, KEY),
        (FORM_BODY, KEY, KEY),
        (_post([], b"\x00\xff"), KEY, KEY),
        (_post([("Content-Type", "multipart/form-data; boundary=x")], b"--x--"), KEY, KEY),
        (UNCOVERED, "content_md5_missing", KEY),
        (_other_body(JSON_BODY, b'{"a":2}'), *["content_md5_mismatch"] * 2),
        (_other_body(FORM_BODY, b"a=2&b=%E4%BD%A0"), *["bad_signature"] * 2),
        (_other_body(FORM_BODY, b"a=%zz"), *["malformed_parameters"] * 2),
        (_other_body(FORM_BODY, b"a=\xff"), *["malformed_parameters"] * 2),
        (replace(JSON_BODY, body=None), *["content_md5_mismatch"] * 2),
        (replace(with_header(JSON_BODY, *HIDDEN), body=None), *["body_not_shown"] * 2),
        (replace(with_header(FORM_BODY, *HIDDEN), body=None), *["body_not_shown"] * 2),
        (
            replace(with_header(FORM_BODY, "transfer-encoding", "chunked"), body=None),
            *["body_not_shown"] * 2,
        ),
        (replace(with_header(UNCOVERED, *HIDDEN), body=None), "body_not_shown", KEY),
        (_other_body(JSON_BODY, b'{"a"', complete=False), *["body_incomplete"] * 2),
        (_other_body(FORM_BODY, b"a=1&b=%E4%BD%A0", complete=False), *["body_incomplete"] * 2),
        (_other_body(UNCOVERED, b'{"a"', complete=False), "body_incomplete", KEY),
        (_other_body(JSON_BODY, b'{"a":1}', exact=False), *["inexact_request"] * 2),
        (_other_body(FORM_BODY, b"a=1&b=%E4%BD%A0", exact=False), *["inexact_request"] * 2),
        (
            _post([JSON, MD5], b""),
            *["content_md5_mismatch"] * 2,
        ),
        # A form with an MD5, too, is what both of them say.
        (
            _post([FORM, MD5], b"a=1"),
            *["content_md5_mismatch"] * 2,
        ),
        (_post([FORM], b""), KEY, KEY),
        (signed("GET", "/", [FORM]), KEY, KEY),
    ],
)
def test_bodies(request_: Request, strict: str, vendor: str) -> None:
    """A body is the one that was signed, or is refused; at the vendor's it may be covered by
    nothing."""
    assert (outcome(STRICT, request_), outcome(VENDOR, request_)) == (strict, vendor)


def test_a_form_sent_as_something_else_is_refused() -> None:
    """Its parameters would not be signed: its type is, and any other type needs an MD5."""
    relabelled = with_header(FORM_BODY, "content-type", "application/json")
    assert outcome(STRICT, relabelled) == "bad_signature"

    signed_so = _post([("Content-Type", "text/plain"), ("Content-MD5", "")], b"a=1")
    assert outcome(STRICT, signed_so) == "content_md5_missing"


# -- not described to the byte ------------------------------------------------------------


def test_without_raw_headers_doubtful_requests_are_refused() -> None:
    """`!` may be any byte, `,` two lines."""
    for request in (
        signed(headers=[("accept", "a!b")]),
        signed(headers=[("x-biz", "a!b")], signed_headers=["x-biz"]),
        signed(target="/?a=b!"),
    ):
        assert outcome(STRICT, request) == KEY
        joined = Headers(
            ((n, v) for n in request.headers for v in request.headers.get(n)), exact=False
        )
        assert outcome(STRICT, replace(request, headers=joined)) == "inexact_request"
    types = ("Content-Type", f"{FORM[1]},application/json")
    assert outcome(STRICT, signed(headers=[types], exact=False)) == "duplicate_header"
    lists = [("accept", "a,b"), ("x-biz", "1"), ("x-other", "1,2")]
    several = [("x-biz", "1,2")]
    assert outcome(STRICT, signed(headers=lists, signed_headers=["x-biz"], exact=False)) == KEY
    for exact, found in ((True, KEY), (False, "duplicate_header")):
        request = signed(headers=several, signed_headers=["X-Biz"], exact=exact)
        assert outcome(STRICT, request) == outcome(VENDOR, request) == found
