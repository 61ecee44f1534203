"""Credentials that are sent as they are."""

from __future__ import annotations

import pytest

from authz import signing


def test_key_auth() -> None:
    assert signing.sign_key_auth("k").headers == (("apikey", "k"),)
    assert signing.sign_key_auth("k", header="X-Key").headers == (("X-Key", "k"),)
    in_query, in_cookie = (signing.sign_key_auth("k&", **{p: "q"}) for p in ("query", "cookie"))
    assert (in_query.headers, in_query.query) == ((), (("q", "k&"),))
    assert (in_cookie.headers, in_cookie.query) == ((("Cookie", "q=k&"),), ())


def test_basic_auth() -> None:
    """RFC 7617 section 2.1's example: the pound sign is UTF-8."""
    signed = signing.sign_basic_auth("test", "123£")
    assert signed.headers == (("Authorization", "Basic dGVzdDoxMjPCow=="),)
    assert signed.string_to_sign is None


def test_appcode() -> None:
    assert signing.sign_appcode("abc").headers == (("Authorization", "APPCODE abc"),)
    assert signing.sign_appcode("abc", query="AppCode").query == (("AppCode", "abc"),)


@pytest.mark.parametrize("text", ["", "a\r\nb", "a\x00"])
def test_what_no_header_can_hold(text: str) -> None:
    """The message does not repeat the secret."""
    for make in (
        signing.sign_key_auth,
        signing.sign_appcode,
        lambda secret: signing.sign_basic_auth("user", secret),
    ):
        with pytest.raises(ValueError, match="without control characters") as raised:
            make(text)
        assert not text or text not in str(raised.value)


def test_a_user_name_without_colons() -> None:
    with pytest.raises(ValueError, match="colons"):
        signing.sign_basic_auth("a:b", "c")


def test_one_place() -> None:
    with pytest.raises(ValueError, match="not both"):
        signing.sign_key_auth("k", query="a", cookie="b")
