"""The AppKey signature of Alibaba Cloud API Gateway: what is signed, and how a client signs it.

The string to sign has five lines (method, Accept, Content-MD5, Content-Type, Date), one line for
each header that X-Ca-Signature-Headers names, and the path with all parameters, decoded and sorted.
Signer and verifier both make it here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from authz.forms import FORM_TYPE, Pairs, media_type, pairs, unescape
from authz.signing.hmac_auth import one_each
from authz.signing.signed import Signed, octets, printable

Algorithm = Literal["HmacSHA256", "HmacSHA1"]
#: How official and other clients differ where the vendor's text is silent: `documented` signs the
#: path as sent, and the form's value where a name stands in query and form; `path-decoded` the path
#: without its percent escapes; `query-wins` the query's value. A verifier tries them in this order.
Variant = Literal["documented", "path-decoded", "query-wins"]
VARIANTS: tuple[Variant, ...] = ("documented", "path-decoded", "query-wins")
#: A header's value by its name in lower case; None when it is absent.
Header = Callable[[str], str | None]
#: Headers by their names in lower case; None for one that is there twice.
Values = dict[str, str | None]

DEFAULT: Algorithm = "HmacSHA256"
_HASHES = {"HmacSHA256": "sha256", "HmacSHA1": "sha1"}
_LINES = ("accept", "content-md5", "content-type", "date")
#: Never among the signed headers, also where the list names them: they have lines of their own, or
#: cannot be signed.
UNLISTED = frozenset((*_LINES, "x-ca-signature", "x-ca-signature-headers"))
#: A header's name (RFC 9110 section 5.6.2).
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: A decoded path with one of these could pass for another target, or for another line.
_NOT_IN_A_PATH = re.compile(r"[\x00-\x1f\x7f?#&\\]|%[0-9A-Fa-f]{2}")


def string_to_sign(
    method: str,
    path: str,
    query: Pairs,
    form: Pairs,
    header: Header,
    signed: Iterable[str],
    variant: Variant = "documented",
) -> str:
    """What the signature covers.

    `path` is as on the wire, without the query; `form` is empty unless the body is a form. `signed`
    are the names as X-Ca-Signature-Headers writes them: their letter case is signed, their order is
    not. Surrogate escapes stand for bytes that are not UTF-8.
    """
    first, last = (form, query) if variant == "query-wins" else (query, form)
    if variant == "path-decoded":
        path = _decoded(path)
    lines = [method.upper(), *(header(name) or "" for name in _LINES)]
    listed = sorted(name for name in signed if name.lower() not in UNLISTED)
    lines += [f"{name}:{header(name.lower()) or ''}" for name in listed]
    return "\n".join((*lines, _target(path, {**_firsts(first), **_firsts(last)})))


def strings_to_sign(
    method: str, path: str, query: Pairs, form: Pairs, header: Header, signed: Sequence[str]
) -> dict[str, Variant]:
    """All that differ, in the order in which to try them: at most one for each variant."""
    found: dict[str, Variant] = {}
    for variant in VARIANTS:
        text = string_to_sign(method, path, query, form, header, signed, variant)
        found.setdefault(text, variant)
    return found


def _decoded(path: str) -> str:
    """The path without escapes; as it is where that could pass for another path."""
    found = unescape(path)
    if found is None or _NOT_IN_A_PATH.search(found) or found.count("/") != path.count("/"):
        return path
    return found


def _firsts(parameters: Pairs) -> dict[str, str]:
    """Of a repeated name, only the first value counts."""
    return dict(reversed(parameters))


def _target(path: str, parameters: dict[str, str]) -> str:
    written = [
        f"{name}={parameters[name]}" if parameters[name] else name
        for name in sorted(parameters, key=_utf16)
    ]
    return f"{path}?{'&'.join(written)}" if written else path


def _utf16(name: str) -> bytes:
    """Java and JavaScript compare UTF-16 units, which differs above U+FFFF."""
    return name.encode("utf-16-be", "surrogatepass")


def signature(secret: str | bytes, text: str, algorithm: Algorithm = DEFAULT) -> str:
    """Base64 of the HMAC of a string to sign. Raises ValueError for another algorithm."""
    if algorithm not in _HASHES:
        raise ValueError(f"algorithm: expected one of {', '.join(_HASHES)}")
    tag = hmac.digest(octets(secret), octets(text), _HASHES[algorithm])
    return base64.b64encode(tag).decode()


def content_md5(body: bytes) -> str:
    """The value of Content-MD5 (RFC 1864): an integrity tag under the HMAC, not a signature."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def sign(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    app_key: str,
    app_secret: str | bytes,
    algorithm: Algorithm = DEFAULT,
    signed_headers: Sequence[str] = (),
    stage: str | None = None,
    nonce: str | None = None,
    at: float | None = None,
) -> Signed:
    """The headers that authenticate a request: X-Ca-*, and those that clients would else fill in.

    `target` is path and query as on the request line; `headers` are those that will be sent. Signed
    are all X-Ca-* and those named in `signed_headers`. Accept, Content-Type and Content-MD5 have
    lines of their own: they are added where they are missing. `nonce` is a random UUID and `at`,
    in Unix seconds, is now unless given. Raises ValueError for parameters that are malformed, and
    for a signed header that has no value, or two.
    """
    values = one_each(headers)
    added = _content(values, body or b"")
    added["X-Ca-Key"] = app_key
    added["X-Ca-Timestamp"] = str(int((time.time() if at is None else at) * 1000))
    added["X-Ca-Nonce"] = str(uuid.uuid4()) if nonce is None else nonce
    added["X-Ca-Signature-Method"] = algorithm
    if stage is not None:
        added["X-Ca-Stage"] = stage
    values |= {name.lower(): printable(value, name) for name, value in added.items()}
    names = _listed(values, added, signed_headers)
    path, _, query = target.partition("?")
    form = (body or b"").decode("utf-8", "surrogateescape") if _is_form(values) else ""
    text = string_to_sign(method, path, pairs(query), pairs(form), values.get, names)
    added["X-Ca-Signature-Headers"] = ",".join(names)
    added["X-Ca-Signature"] = signature(app_secret, text, algorithm)
    return Signed(tuple(added.items()), string_to_sign=text)


def _content(values: Values, body: bytes) -> dict[str, str]:
    """What is missing of the headers that have lines of their own."""
    added = {} if "accept" in values else {"Accept": "*/*"}
    if body and "content-type" not in values:
        added["Content-Type"] = "application/octet-stream"
    if body and not _is_form(values) and "content-md5" not in values:
        added["Content-MD5"] = content_md5(body)
    return added


def _is_form(values: Values) -> bool:
    return media_type(values.get("content-type") or "") == FORM_TYPE


def _listed(values: Values, added: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """The names to sign, sorted, each in one spelling: the caller's, else ours."""
    spelled = {name.lower(): name for name in (*added, *wanted)}
    listed = {name for name in values if name.startswith("x-ca-")} | {n.lower() for n in wanted}
    for name in (*listed, *_LINES):
        if name in values and values[name] is None:
            raise ValueError(f"{name} is to be signed: expected one such header in the request")
    for name in wanted:
        if name.lower() not in values or not TOKEN.fullmatch(name):
            raise ValueError(f"signed_headers: {name!r} is no header of the request")
    return sorted(spelled.get(name, name) for name in listed - UNLISTED)
