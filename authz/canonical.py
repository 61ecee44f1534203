"""The one spelling of a path and of a host, for whoever decides by them."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from authz.denials import MALFORMED, UNSAFE_PATH
from authz.values import Denied

#: What a backend may resolve to another path than we matched: dot segments, empty segments, back
#: slashes, path parameters; the same once decoded, or decoded twice; and broken escapes.
_UNSAFE = re.compile(
    r"//|\\|;|/\.{1,2}(?:/|$)|%(?:2[eEfF]|5[cC]|3[bB]|25[0-9A-Fa-f]{2})|%(?![0-9A-Fa-f]{2})"
)
#: Encoded characters that need no encoding: `/%61pi` is another spelling of `/api`.
_ENCODED_UNRESERVED = re.compile(
    r"%(?:4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe]|3[0-9]|2[dDeE])"
)
#: What stands in a path as it is (RFC 3986 section 3.3), and the slash.
_PCHAR = "/-._~!$&'()*+,=:@"
_PLAIN = re.compile(r"[A-Za-z0-9/._~-]*")
#: No name is longer than DNS allows: names are remembered, and a stranger may choose them.
_HOST = re.compile(r"([A-Za-z0-9._-]{0,254}|\[[0-9A-Fa-f:.]{2,64}\])(?::[0-9]{1,5})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def canonical_path(path: str) -> str:
    """The one spelling of a path, wherever the path decides. Raises `Denied` for a path that a
    backend may read as another one.

    Spellings that differ in harmless ways (the case of an escape, `%40` for `@`) become one.
    """
    if _UNSAFE.search(path):
        raise Denied(UNSAFE_PATH)
    if _PLAIN.fullmatch(path):
        return path
    if _ENCODED_UNRESERVED.search(path):
        raise Denied(UNSAFE_PATH)
    decoded = unquote_to_bytes(path)
    try:
        text = decoded.decode("utf-8")  # overlong UTF-8 is how `.` and `/` are smuggled
    except UnicodeDecodeError:
        raise Denied(UNSAFE_PATH) from None
    if _CONTROL.search(text):
        raise Denied(UNSAFE_PATH)
    return quote(decoded, safe=_PCHAR)


def host_name(host: str) -> str:
    """The host without its port and trailing dot, in lower case. Raises `Denied` for what is no
    single host."""
    found = _HOST.fullmatch(host)
    if not found:
        raise Denied(MALFORMED)
    return found[1].lower().removesuffix(".")
