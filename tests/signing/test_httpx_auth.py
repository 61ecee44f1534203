"""Every scheme as an `httpx.Auth`: what httpx sends, without a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from authz import signing
from authz.signing import httpx_auth

NOON = 1_800_000_000.0
KEYS: Any = {"key_id": "john", "secret": "s3cret"}


def sent(auth: httpx.Auth, url: str = "https://api.test/a%20b?x=%2f", **options: Any) -> Any:
    """The request as it leaves the client."""
    with httpx.Client(transport=httpx.MockTransport(_answer), auth=auth) as client:
        return client.request(options.pop("method", "GET"), url, **options).request


def _answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200)


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        (httpx_auth.KeyAuth("k"), "apikey", "k"),
        (httpx_auth.BasicAuth("a", "b"), "authorization", "Basic YTpi"),
        (httpx_auth.AppCodeAuth("c"), "authorization", "APPCODE c"),
        (httpx_auth.KeyAuth("k", cookie="key"), "cookie", "key=k"),
    ],
)
def test_headers(auth: httpx.Auth, name: str, value: str) -> None:
    assert sent(auth).headers[name] == value


def test_query() -> None:
    """Parameters follow those that are there, which keep their bytes."""
    assert sent(httpx_auth.KeyAuth("k&+", query="key")).url.raw_path == b"/a%20b?x=%2f&key=k%26%2B"
    assert sent(httpx_auth.AppCodeAuth("c", query="q"), "http://a/").url.raw_path == b"/?q=c"


def test_cookies_join() -> None:
    request = sent(httpx_auth.KeyAuth("k", cookie="key"), headers={"Cookie": "a=1"})
    assert request.headers.get_list("cookie") == ["a=1; key=k"]


def test_jwt() -> None:
    """A fresh token for each request: the clock is read when it is sent."""
    times = iter([NOON, NOON + 60])
    auth = httpx_auth.JwtAuth({"key": "a"}, "s" * 32, clock=lambda: next(times))
    tokens = [sent(auth).headers["authorization"] for _ in range(2)]
    assert tokens == [
        signing.sign_jwt({"key": "a"}, key="s" * 32, at=at).headers[0][1]
        for at in (NOON, NOON + 60)
    ]


def streamed() -> Iterator[bytes]:
    yield b"he"
    yield b"llo"


def test_hmac() -> None:
    """Signed is what is sent: the raw target, the Host that httpx fills in, and a streamed body."""
    names = ("@request-target", "date", "host")
    auth = httpx_auth.HmacAuth(
        "john", "s3cret", "hmac-sha512", signed_headers=names, clock=lambda: NOON
    )
    request = sent(auth, method="PUT", content=streamed())
    expected = signing.sign_hmac_auth(
        "PUT",
        "/a%20b?x=%2f",
        [("host", "api.test")],
        b"hello",
        algorithm="hmac-sha512",
        signed_headers=names,
        at=NOON,
        **KEYS,
    )

    assert [(name, request.headers[name]) for name, _ in expected.headers] == list(expected.headers)
    digest = base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
    assert request.headers["digest"] == f"SHA-256={digest}"


def test_hmac_signs_the_bytes_of_a_header() -> None:
    """Bytes that are not ASCII are signed as they are, whichever charset they are in."""
    auth = httpx_auth.HmacAuth("john", "s", signed_headers=["x-a"], clock=lambda: NOON)
    both = [
        sent(auth, headers={"x-a": value}).headers["authorization"] for value in (b"\xe9", b"\xc3")
    ]
    one = signing.sign_hmac_auth(
        "GET", "/", [("x-a", "\udce9")], b"", key_id="john", secret="s", signed_headers=["x-a"]
    )
    assert both[0] == one.headers[-1][1]
    assert both[0] != both[1]


def test_hmac_without_digest() -> None:
    auth = httpx_auth.HmacAuth("john", "s3cret", with_digest=False, clock=lambda: NOON)
    request = sent(auth, method="POST", content=streamed())
    assert "digest" not in request.headers


def test_legacy_hmac() -> None:
    auth = httpx_auth.LegacyHmacAuth("ak", "s", carrier="authorization", clock=lambda: NOON)
    expected = signing.sign_hmac_legacy(
        "GET",
        "/a%20b?x=%2f",
        [],
        b"",
        access_key="ak",
        secret="s",
        carrier="authorization",
        at=NOON,
    )
    request = sent(auth)
    assert [(name, request.headers[name]) for name, _ in expected.headers] == list(expected.headers)


def test_digest() -> None:
    """A fresh nonce for each request; Content-MD5 for a body that is no form."""
    auth = httpx_auth.DigestAuth("ak", "s", clock=lambda: NOON)
    first, second = (sent(auth, method="POST", content=b"hello") for _ in range(2))

    assert first.headers["x-ca-nonce"] != second.headers["x-ca-nonce"]
    assert first.headers["content-md5"] == "XUFAKrxLKna5cZ2REBfFkg=="
    again = signing.sign_digest(
        "POST",
        "/a%20b?x=%2f",
        [(name, first.headers[name]) for name in ("accept", "content-type")],
        b"hello",
        app_key="ak",
        app_secret="s",
        at=NOON,
        nonce=first.headers["x-ca-nonce"],
    )
    assert dict(again.headers)["X-Ca-Signature"] == first.headers["x-ca-signature"]
