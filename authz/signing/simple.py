"""Credentials that are sent as they are: API keys, passwords and AppCodes."""

from __future__ import annotations

import base64

from authz.signing.signed import Signed, octets, printable


def key_auth(
    key: str, *, header: str = "apikey", query: str | None = None, cookie: str | None = None
) -> Signed:
    """key-auth: the key in a header; in a query parameter or a cookie where one is named."""
    return placed(printable(key, "key"), header=header, query=query, cookie=cookie)


def basic_auth(username: str, password: str) -> Signed:
    """basic-auth (RFC 7617), in UTF-8. Raises ValueError for what cannot be sent."""
    if ":" in username:
        raise ValueError("username: expected a name without colons")
    pair = f"{printable(username, 'username')}:{printable(password, 'password')}"
    encoded = base64.b64encode(octets(pair)).decode()
    return Signed((("Authorization", f"Basic {encoded}"),))


def appcode(code: str, *, query: str | None = None) -> Signed:
    """appcode: `Authorization: APPCODE …`, or a query parameter where one is named (AppCode)."""
    if query is not None:
        return Signed(query=((query, printable(code, "code")),))
    return Signed((("Authorization", f"APPCODE {printable(code, 'code')}"),))


def placed(
    text: str,
    *,
    header: str,
    query: str | None = None,
    cookie: str | None = None,
    string_to_sign: str | None = None,
) -> Signed:
    """Text as it is in the one place that is named; the header unless there is another."""
    if query is not None and cookie is not None:
        raise ValueError("a query parameter or a cookie, not both")
    if query is not None:
        return Signed(query=((query, text),), string_to_sign=string_to_sign)
    if cookie is not None:
        return Signed((("Cookie", f"{cookie}={text}"),), string_to_sign=string_to_sign)
    return Signed(((header, text),), string_to_sign=string_to_sign)
