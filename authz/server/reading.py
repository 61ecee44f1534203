"""CheckRequest to Request: everything that Envoy says, in one reading, or a denial.

Most Checks are read at a glance (`_at_a_glance`); what does not look like Envoy's usual message is
read with care (`_with_care`). Both say the same of every message that protobuf writes. The glance
does not compare lengths with what they are of: whoever could send a message in which they are wrong
could as well name other headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from authz.denials import AMBIGUOUS, MALFORMED
from authz.pb import narrow_pb2 as narrow
from authz.pb.attribute_context_pb2 import AttributeContext
from authz.pb.external_auth_pb2 import CheckRequest
from authz.values import Body, Denied, Headers, Request, has_our_words

#: Added by Envoy when, and only when, it buffered a body.
PARTIAL_BODY = "x-envoy-auth-partial-body"
#: Longer targets are refused before they are matched; Envoy's own cap on headers is near.
MAX_TARGET = 32 * 1024
MAX_ID = 128

_NOTHING: dict[str, str] = {}
_METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"))
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_TARGET = re.compile(r"(/[!-\"$->@-~]*)(?:\?([^\x00-\x20#\x7f]*))?")

#: An entry of a HeaderMap as protobuf writes it: tag, length, then the key's tag, length and text,
#: then those of the raw value. Lengths have one octet, or two of which the first is above 0x7f. No
#: value holds a line feed, so no length is needed to see where it ends. Anything else is found with
#: no name, so that there are as many finds as entries, all with names, only if each is one.
_ENTRY = re.compile(
    "\n(?:[\x00-\x7f]|[\udc80-\udcff][\x00-\x7f])"
    "\n[\x01-\x7f](:(?:authority|method|path|scheme)|[a-z0-9!#$%&'*+.^_`|~-]+)"
    "\x1a(?:[\x00-\x7f]|[\udc80-\udcff][\x00-\x7f])([^\n]*)"
    "|.[^\n]*+",
    re.DOTALL,
)


def read(message: bytes, at: float) -> Request:
    """The request that Envoy asks about. Raises `Denied` when it can be read in two ways, and
    protobuf's `DecodeError`."""
    return _at_a_glance(message, at) or _with_care(message, at)


def _at_a_glance(message: bytes, at: float) -> Request | None:
    """The request, if every header is there once and byte for byte."""
    attributes = narrow.Check.FromString(message).attributes
    http = attributes.request.http
    entries = http.header_map
    text = entries.decode("utf-8", "surrogateescape")
    found = _ENTRY.findall(text)
    lines: dict[str, str] = dict(found)
    count = len(found)
    if len(lines) != count or "" in lines or not count or http.headers:
        return None
    if count != len(narrow.Entries.FromString(entries).headers):
        return None
    line = method, target, host = http.method, http.path, http.host
    take = lines.pop
    if (take(":method", method), take(":path", target), take(":authority", host)) != line:
        raise Denied(AMBIGUOUS)
    take(":scheme", None)
    # A path may well be /consumers: what is not there at all is in no name either.
    ours = has_our_words(text) and has_our_words("\n".join(lines))
    headers = Headers.single(lines, may_name_callers=ours)
    return _request(
        attributes.context_extensions,
        headers,
        line,
        _address(attributes.source),
        _body(http, headers) if PARTIAL_BODY in lines else None,
        lines.get("x-request-id") or http.id,
        at,
    )


@lru_cache(4096)
def _address(peer: bytes) -> str:
    """Connections are few beside their requests."""
    found = AttributeContext.Peer.FromString(peer)
    return found.address.socket_address.address


def _with_care(message: bytes, at: float) -> Request:
    attributes = CheckRequest.FromString(message).attributes
    http = attributes.request.http
    lines, pseudo, exact = _lines(http)
    line = method, target, host = http.method, http.path, http.host
    told = pseudo.get
    # Envoy gives these twice. Where the two differ, bytes were lost on the way.
    if (told(":method", method), told(":path", target), told(":authority", host)) != line:
        raise Denied(AMBIGUOUS)
    headers = Headers.of(lines, exact=exact)
    return _request(
        attributes.context_extensions,
        headers,
        line,
        attributes.source.address.socket_address.address,
        _body(http, headers) if PARTIAL_BODY in headers else None,
        headers.first("x-request-id") or http.id,
        at,
    )


def _request(
    context: Mapping[str, str],
    headers: Headers,
    line: tuple[str, str, str],
    address: str,
    body: Body | None,
    identifier: str,
    at: float,
) -> Request:
    """Of parts that were read. Raises `Denied` for a request line that could mean two things."""
    method, target, host = line
    found = _TARGET.fullmatch(target)
    if (
        found is None
        or len(target) > MAX_TARGET
        or not (method in _METHODS or _METHOD.fullmatch(method))
    ):
        raise Denied(MALFORMED)
    path, query = found.groups("")
    # Unless headers are exact, `!` in a path may stand for any byte that is not UTF-8.
    if not headers.exact and "!" in path:
        raise Denied(MALFORMED)
    if not (len(identifier) <= MAX_ID and identifier.isascii() and identifier.isprintable()):
        identifier = _printable(identifier)
    kept = dict(context) if context else _NOTHING
    return Request(method, path, query, headers, host, kept, body, address, identifier, at, target)


#: Values by lower-case name, pseudo-headers by theirs, and whether the values are exact.
_Lines = tuple[dict[str, tuple[str, ...]], dict[str, str], bool]


def _lines(http: AttributeContext.HttpRequest) -> _Lines:
    """Header lines. Two forms that disagree, or a pseudo-header of two values, are refused."""
    if not http.header_map.headers:
        return _joined(http)
    found: dict[str, tuple[str, ...]] = {}
    again: dict[str, list[str]] = {}
    pseudo: dict[str, str] = {}
    for line in http.header_map.headers:
        name, octets, text = line.key.lower(), line.raw_value, line.value
        value = octets.decode("utf-8", "surrogateescape") if octets else text
        # Text and bytes that differ are two readings of one line.
        if octets and text and text != value:
            raise Denied(AMBIGUOUS)
        if name.startswith(":"):
            if pseudo.setdefault(name, value) != value:
                raise Denied(AMBIGUOUS)
        elif name in found:
            again.setdefault(name, []).append(value)
        else:
            found[name] = (value,)
    for name, values in again.items():
        found[name] += tuple(values)
    if http.headers:
        _require_same(http, found, pseudo)
    return found, pseudo, True


def _joined(http: AttributeContext.HttpRequest) -> _Lines:
    joined = {name.lower(): value for name, value in http.headers.items()}
    if len(joined) < len(http.headers):
        raise Denied(AMBIGUOUS)
    pseudo = {name: value for name, value in joined.items() if name.startswith(":")}
    return {n: (v,) for n, v in joined.items() if n not in pseudo}, pseudo, False


def _require_same(
    http: AttributeContext.HttpRequest, found: dict[str, tuple[str, ...]], pseudo: dict[str, str]
) -> None:
    """Both forms are there: one must be the other, joined."""
    joined = _joined(http)
    merged = {name: (",".join(values),) for name, values in found.items()}
    if (merged, pseudo) != joined[:2]:
        raise Denied(AMBIGUOUS)


def _printable(text: str) -> str:
    """A client's own word, as it may stand in a log."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:MAX_ID])


def _body(http: narrow.Http | AttributeContext.HttpRequest, headers: Headers) -> Body | None:
    marker = headers.first(PARTIAL_BODY)
    data, exact = (http.raw_body, True) if http.raw_body else (http.body.encode(), False)
    # Without data the marker is the client's own: Envoy sets it only where it buffered some.
    if marker not in ("true", "false") or not data:
        return None
    return Body(data, complete=marker == "false" and http.size <= len(data), exact=exact)
