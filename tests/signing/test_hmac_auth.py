"""The HMAC signers: published vectors, what is added, and what cannot be signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from authz import signing
from authz.signing import hmac_auth, hmac_legacy

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/hmac/vectors.json").read_text())
#: 2027-01-15T08:00:00Z.
NOON = 1_800_000_000.0
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"


def pairs(vector: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in vector["headers"]]


@pytest.mark.parametrize("vector", VECTORS["current"], ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    body = vector["body"]
    signed = signing.sign_hmac_auth(
        vector["method"],
        vector["target"],
        pairs(vector),
        None if body is None else body.encode(),
        key_id=vector["key_id"],
        secret=vector["secret"],
        algorithm=vector["algorithm"],
    )

    assert signed.string_to_sign == vector["string_to_sign"]
    assert dict(signed.headers)["Authorization"] == (
        f'Signature keyId="{vector["key_id"]}",algorithm="{vector["algorithm"]}",'
        f'headers="{" ".join(vector["names"])}",signature="{vector["signature"]}"'
    )


@pytest.mark.parametrize("vector", VECTORS["legacy"], ids=lambda vector: vector["name"])
@pytest.mark.parametrize("encode", [True, False])
def test_legacy_vectors(vector: dict[str, Any], encode: bool) -> None:
    """Nothing in these needs an escape, so that both ways of writing parameters agree."""
    signed = signing.sign_hmac_legacy(
        vector["method"],
        vector["target"],
        pairs(vector),
        access_key=vector["access_key"],
        secret=vector["secret"],
        algorithm=vector["algorithm"],
        signed_headers=vector["names"],
        encode_uri_params=encode,
    )

    assert signed.string_to_sign == vector["string_to_sign"]
    assert dict(signed.headers) == {
        "X-HMAC-ACCESS-KEY": vector["access_key"],
        "X-HMAC-SIGNATURE": vector["signature"],
        "X-HMAC-ALGORITHM": vector["algorithm"],
        "X-HMAC-SIGNED-HEADERS": ";".join(vector["names"]),
    }


def sign(*arguments: Any, **options: Any) -> signing.Signed:
    known: dict[str, Any] = {"key_id": "john", "secret": "s3cret", "at": NOON}
    return signing.sign_hmac_auth(*arguments, **(known | options))


def test_what_is_made() -> None:
    """Date, Digest and nonce are made where they are missing, and signed in this order."""
    signed = sign("post", "/a?b=%20", [("Host", "x")], b"hi", nonce_header="X-Nonce", nonce="n1")
    digest = base64.b64encode(hashlib.sha256(b"hi").digest()).decode()
    text = f"john\nPOST /a?b=%20\ndate: {DATE}\ndigest: SHA-256={digest}\nX-Nonce: n1\n"
    tag = base64.b64encode(hmac.new(b"s3cret", text.encode(), "sha256").digest()).decode()

    assert signed.string_to_sign == text
    assert signed.query == ()
    assert signed.headers == (
        ("Date", DATE),
        ("Digest", f"SHA-256={digest}"),
        ("X-Nonce", "n1"),
        (
            "Authorization",
            'Signature keyId="john",algorithm="hmac-sha256",'
            f'headers="@request-target date digest X-Nonce",signature="{tag}"',
        ),
    )


def test_what_is_there_is_kept() -> None:
    """Headers that will be sent anyway are signed as they are, in any letter case."""
    headers = [("DATE", " d "), ("digest", "SHA-256=x"), ("x-nonce", "mine")]
    signed = sign("GET", "/", headers, b"", nonce_header="X-Nonce", nonce="other")

    assert [name for name, _ in signed.headers] == ["Authorization"]
    assert signed.string_to_sign == "john\nGET /\ndate: d\ndigest: SHA-256=x\nX-Nonce: mine\n"


def test_a_body_without_digest() -> None:
    assert "digest" not in str(sign("POST", "/", [], b"hi", with_digest=False).string_to_sign)
    assert "digest: SHA-256=47DEQ" in str(sign("GET", "/", [], b"").string_to_sign)


def test_names_are_signed_as_they_are_written() -> None:
    signed = sign("GET", "/", [("x-a", "1")], signed_headers=["X-A", "Date"])
    assert signed.string_to_sign == f"john\nX-A: 1\nDate: {DATE}\n"


def test_nonces_differ() -> None:
    """Without a nonce of its own, a call makes a fresh one."""
    nonces = {dict(sign("GET", "/", nonce_header="X-Nonce").headers)["X-Nonce"] for _ in range(3)}
    assert len(nonces) == 3


@pytest.mark.parametrize(
    ("headers", "options", "message"),
    [
        ([], {"signed_headers": ["x-a"]}, "x-a is to be signed"),
        ([("x-a", "1"), ("X-A", "1")], {"signed_headers": ["x-a"]}, "x-a is to be signed"),
        ([("x-a", "1")], {"signed_headers": ["x-a", "X-A"]}, "twice"),
        ([("a b", "1")], {"signed_headers": ["a b"]}, "not the name of a header"),
        ([], {"key_id": 'a"b'}, "key_id"),
        ([], {"key_id": "a,b"}, "key_id"),
        ([], {"key_id": "a\nb"}, "key_id"),
        ([], {"key_id": ""}, "key_id"),
        ([], {"nonce_header": "X-N", "nonce": "a\r\nb"}, "X-N"),
    ],
)
def test_what_cannot_be_signed(
    headers: list[tuple[str, str]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sign("GET", "/", headers, **options)


def test_no_secret_in_a_repr() -> None:
    """A Signed may be printed: the values are credentials."""
    signed = sign("GET", "/")
    assert repr(signed) == "Signed(Date, Authorization)"
    assert repr(signing.sign_key_auth("k", query="apikey")) == "Signed(apikey)"


# -- legacy ----------------------------------------------------------------------------------------


def legacy(*arguments: Any, **options: Any) -> signing.Signed:
    known: dict[str, Any] = {"access_key": "ak", "secret": "s3cret", "at": NOON}
    return signing.sign_hmac_legacy(*arguments, **(known | options))


def test_legacy_carriers() -> None:
    """The same signature, in X-HMAC-* headers with a Date, or in one Authorization header."""
    headers = dict(legacy("GET", "/", [("x-a", "1")], signed_headers=["x-a"]).headers)
    one = legacy("GET", "/", [("x-a", "1")], signed_headers=["x-a"], carrier="authorization")

    assert headers["Date"] == DATE
    signature = headers["X-HMAC-SIGNATURE"]
    value = f"hmac-auth-v1#ak#{signature}#hmac-sha256#{DATE}#x-a"
    assert one.headers == (("Authorization", value),)


def test_legacy_body() -> None:
    """Its digest is an HMAC with the same secret, by the same algorithm."""
    added = dict(legacy("POST", "/", [], b"hi", algorithm="hmac-sha512").headers)
    tag = hmac.new(b"s3cret", b"hi", "sha512").digest()
    assert added["X-HMAC-DIGEST"] == base64.b64encode(tag).decode()
    assert "X-HMAC-DIGEST" not in dict(legacy("POST", "/", [], b"x", with_digest=False).headers)


@pytest.mark.parametrize(
    ("query", "encoded", "plain"),
    [
        ("", "", ""),
        ("b=2&a=1", "a=1&b=2", "a=1&b=2"),
        ("a=2&a=1", "a=1&a=2", "a=1&a=2"),
        ("b&a=", "a=&b=", "a=&b="),
        ("&&=x&a=1&", "a=1", "a=1"),
        ("a=x+y%2Fz", "a=x%20y%2Fz", "a=x y/z"),
        ("%C3%A9=1&e=2", "e=2&%C3%A9=1", "e=2&é=1"),
    ],
)
def test_legacy_query(query: str, encoded: str, plain: str) -> None:
    assert hmac_legacy.canonical_query(query) == encoded
    assert hmac_legacy.canonical_query(query, encode=False) == plain


@pytest.mark.parametrize("target", ["/%zz", "/%ff", "/?a=%", "/a%0Ab", "/?a=%0A"])
def test_legacy_refuses_what_would_add_a_line(target: str) -> None:
    with pytest.raises(ValueError, match=r"escape|UTF-8|line"):
        legacy("GET", target, encode_uri_params=False)


def test_legacy_path_is_decoded() -> None:
    assert str(legacy("GET", "/a%20b+c").string_to_sign).startswith("GET\n/a b+c\n\nak\n")


def test_legacy_authorization_has_six_parts() -> None:
    with pytest.raises(ValueError, match="#"):
        legacy("GET", "/", access_key="a#b", carrier="authorization")


def test_default_names() -> None:
    assert hmac_auth.SIGNED_HEADERS == ("@request-target", "date")
