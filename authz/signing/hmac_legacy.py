"""hmac-auth-v1, the format of APISIX 2.x to 3.10.

    METHOD, decoded path, parameters sorted and encoded, access key, date: a line each
    <name>:<value>                                        for every signed header

Each line ends with a newline. It travels in X-HMAC-* headers, or in one Authorization header.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from typing import Literal
from urllib.parse import quote

from authz.forms import pairs, unescape
from authz.signing.hmac_auth import Algorithm, Value, encoded, one_each, signature, tag
from authz.signing.signed import Signed, octets, printable

#: The first of the six parts of the Authorization header.
MARK = "hmac-auth-v1"


def string_to_sign(
    method: str,
    target: str,
    access_key: str,
    date: str,
    names: Iterable[str],
    value: Value,
    *,
    encode_uri_params: bool = True,
) -> str:
    """What the signature covers; a name without a value counts as empty. Raises ValueError for
    escapes that are malformed, or that would add a line."""
    path, _, query = target.partition("?")
    decoded = unescape(path)
    if decoded is None:
        raise ValueError("the path has a broken escape, or is not UTF-8")
    lines = [method, decoded, canonical_query(query, encode=encode_uri_params), access_key, date]
    lines += [f"{name}:{value(name) or ''}" for name in names]
    if any("\n" in line for line in lines):
        raise ValueError("a line break where a line is to be signed")
    return "\n".join(lines) + "\n"


def canonical_query(query: str, *, encode: bool = True) -> str:
    """Parameters sorted by name, then by value, as bytes; encoded again unless told otherwise.
    Those without a name do not count. Raises ValueError, also where what is not encoded would pass
    for other parameters."""
    found = sorted((octets(name), octets(value)) for name, value in pairs(query) if name)
    if encode:
        return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in found)
    if any(b"=" in name or b"&" in name + value for name, value in found):
        raise ValueError("a parameter holds a separator, and is not encoded")
    return "&".join(f"{name.decode()}={value.decode()}" for name, value in found)


def body_digest(secret: str | bytes, algorithm: str, body: bytes) -> str:
    """The X-HMAC-DIGEST header of a body: an HMAC of its own, by the same algorithm."""
    return encoded(tag(secret, algorithm, body))


def sign(
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    access_key: str,
    secret: str | bytes,
    algorithm: Algorithm = "hmac-sha256",
    signed_headers: Sequence[str] = (),
    carrier: Literal["headers", "authorization"] = "headers",
    encode_uri_params: bool = True,
    with_digest: bool = True,
    at: float | None = None,
) -> Signed:
    """The headers that authenticate a request. A Date among `headers` is signed as it is, otherwise
    made from `at` (Unix seconds, default now). X-HMAC-DIGEST is made of `body`, unless that is None
    or `with_digest` is false. Raises ValueError."""
    values = one_each(headers)
    date = values.get("date")
    made = date or formatdate(int(time.time() if at is None else at), usegmt=True)
    text = string_to_sign(
        method.upper(),
        target,
        printable(access_key, "access_key"),
        made,
        signed_headers,
        lambda name: values.get(name.lower()),
        encode_uri_params=encode_uri_params,
    )
    parts = [access_key, signature(secret, algorithm, text), algorithm, made]
    parts.append(";".join(signed_headers))
    added = _in_headers(parts) if carrier == "headers" else _in_authorization(parts)
    if carrier == "headers" and date is None:
        added.append(("Date", made))
    if body is not None and with_digest:
        added.append(("X-HMAC-DIGEST", body_digest(secret, algorithm, body)))
    return Signed(tuple(added), string_to_sign=text)


def _in_headers(parts: list[str]) -> list[tuple[str, str]]:
    access_key, signature, algorithm, _, names = parts
    added = [
        ("X-HMAC-ACCESS-KEY", access_key),
        ("X-HMAC-SIGNATURE", signature),
        ("X-HMAC-ALGORITHM", algorithm),
    ]
    return [*added, ("X-HMAC-SIGNED-HEADERS", names)] if names else added


def _in_authorization(parts: list[str]) -> list[tuple[str, str]]:
    if any("#" in part for part in parts):
        raise ValueError("a `#` cannot stand in this Authorization header")
    return [("Authorization", "#".join((MARK, *parts)))]
