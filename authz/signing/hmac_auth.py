"""hmac-auth as API7 and APISIX (since 3.11) know it: an HMAC over lines of the request.

    <key id>
    <METHOD> <path and query as on the request line>     for the name @request-target
    <name>: <value>                                       for every other name

Each line ends with a newline, the last one too. The lines stand in the order of the names, and
names as the client wrote them. `Authorization: Signature keyId=…,algorithm=…,headers=…,signature=…`
carries the result.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from typing import Literal

from authz.signing.signed import Signed, octets, printable

Algorithm = Literal["hmac-sha1", "hmac-sha256", "hmac-sha512"]
HASHES: dict[str, str] = {
    "hmac-sha1": "sha1",
    "hmac-sha256": "sha256",
    "hmac-sha512": "sha512",
}
#: The name that stands for the request line.
REQUEST_TARGET = "@request-target"
#: What is signed unless told otherwise, and what the service wants to be signed.
SIGNED_HEADERS = (REQUEST_TARGET, "date")
#: A header's name (RFC 9110 section 5.1), or the request line's.
NAME = re.compile(r"@request-target|[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: What a field of the Authorization header cannot hold.
_DELIMITERS = re.compile(r'[",]')

#: Gives the value of a header by its name, whatever its letter case, or None.
Value = Callable[[str], str | None]


def string_to_sign(
    key_id: str, method: str, target: str, names: Iterable[str], value: Value
) -> str:
    """What the signature covers. A name without a value adds nothing."""
    lines = [key_id]
    for name in names:
        if name == REQUEST_TARGET:
            lines.append(f"{method} {target}")
        elif (text := value(name)) is not None:
            lines.append(f"{name}: {text}")
    return "\n".join(lines) + "\n"


def signature(secret: str | bytes, algorithm: str, text: str) -> str:
    """Standard base64, padded. Raises ValueError for an algorithm that is none of `HASHES`."""
    return encoded(tag(secret, algorithm, octets(text)))


def tag(secret: str | bytes, algorithm: str, data: bytes) -> bytes:
    """The HMAC of some data. Raises ValueError for an algorithm that is none of `HASHES`."""
    if algorithm not in HASHES:
        raise ValueError(f"algorithm: expected one of {', '.join(HASHES)}")
    return hmac.digest(octets(secret), data, HASHES[algorithm])


def digest(body: bytes) -> str:
    """The Digest header of a body (RFC 3230), SHA-256 whatever the signature's algorithm is."""
    return f"SHA-256={encoded(hashlib.sha256(body).digest())}"


def encoded(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def sign(
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    key_id: str,
    secret: str | bytes,
    algorithm: Algorithm = "hmac-sha256",
    signed_headers: Sequence[str] = SIGNED_HEADERS,
    with_digest: bool = True,
    nonce_header: str | None = None,
    nonce: str | None = None,
    at: float | None = None,
) -> Signed:
    """The headers that authenticate a request: Authorization, and those it needs.

    `target` is path and query as on the request line; `headers` are those that will be sent, of
    which Host is one where it is to be signed. A Date, Digest or nonce among them is signed as it
    is, otherwise made: Date from `at` (Unix seconds, default now), Digest from `body` unless that
    is None or `with_digest` is false, the nonce (default a random UUID) where `nonce_header` names
    its header. Raises ValueError for a name that has no value, or two.
    """
    values = one_each(headers)
    added: dict[str, str] = {}
    if "date" not in values:
        added["Date"] = formatdate(int(time.time() if at is None else at), usegmt=True)
    if body is not None and with_digest and "digest" not in values:
        added["Digest"] = digest(body)
    if nonce_header is not None and nonce_header.lower() not in values:
        added[nonce_header] = nonce or str(uuid.uuid4())
    values |= {name.lower(): printable(value, name) for name, value in added.items()}
    beside = ["digest"] if body is not None and with_digest else []
    beside += [nonce_header] if nonce_header is not None else []
    names = _all_of(signed_headers, beside)
    _require(names, values)
    text = string_to_sign(
        key_id, method.upper(), target, names, lambda name: values.get(name.lower())
    )
    fields = authorization(key_id, algorithm, names, signature(secret, algorithm, text))
    return Signed((*added.items(), ("Authorization", fields)), string_to_sign=text)


def authorization(key_id: str, algorithm: str, names: Iterable[str], signature: str) -> str:
    """The Authorization header. Raises ValueError for a key id that it cannot carry."""
    if _DELIMITERS.search(printable(key_id, "key_id")):
        raise ValueError('key_id: expected a text without `"` and `,`')
    return (
        f'Signature keyId="{key_id}",algorithm="{algorithm}",'
        f'headers="{" ".join(names)}",signature="{signature}"'
    )


def one_each(headers: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """Values by lower-case name, as they arrive: without white space around. None stands for a
    header that is there twice, which no one value can be signed for."""
    values: dict[str, str | None] = {}
    for name, value in headers:
        values[name.lower()] = None if name.lower() in values else value.strip(" \t")
    return values


def _all_of(signed: Sequence[str], beside: Iterable[str]) -> list[str]:
    """The names to sign, those first that were asked for, none of them twice."""
    names = list(signed)
    for name in beside:
        if name.lower() not in [each.lower() for each in names]:
            names.append(name)
    if len({name.lower() for name in names}) < len(names):
        raise ValueError("signed_headers: a name stands there twice")
    return names


def _require(names: Iterable[str], values: dict[str, str | None]) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"signed_headers: {name!r} is not the name of a header")
        if name != REQUEST_TARGET and values.get(name.lower()) is None:
            raise ValueError(f"{name} is to be signed: expected one such header in the request")
