"""Asking directly: the CheckRequest that the hardened Envoy would send, and what Envoy would make
of the answer.

Envoy's part is emulated as far as it decides what a service is asked (contrast `envoy.py`, where
the real one plays it): names in lower case, white space around HTTP/1 values gone, what Connection
names dropped, Host and Authorization merged, everything else kept apart and byte for byte. Not
emulated is what it strips or refuses to protect the service: alone, the service must do as well.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict

from authz.pb.base_pb2 import HeaderValueOption
from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse
from tests.conformance import http1, shapes
from tests.conformance.case import Answer, Line, Outcome, Seen, Sent
from tests.conformance.expect import require

#: Set by Envoy where it buffered a body, and then hidden where the client sent it.
_PARTIAL = "x-envoy-auth-partial-body"
_HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"upgrade"}
#: Merged into one line before any filter sees them.
_MERGED = (b"authorization",)
_CLIENT = "192.0.2.10"
#: Envoy numbers its requests, and an operator asks about one by its number.
_NUMBERS = itertools.count(1)
_NAME = re.compile(r":path|[a-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[ -~]*")


class Told(Seen, frozen=True):
    """A request as Envoy understands it."""

    method: bytes = b""
    authority: bytes = b""


def told(sent: Sent) -> Told:
    """What Envoy reads of a request. Raises `Inexpressible` where it would refuse to."""
    if sent.raw is not None:
        sent = http1.parse(sent.raw)
    if sent.http == "1.1":
        sent = http1.without_origin(sent)
    lines = [(name.lower(), value) for name, value in sent.lines]
    authority = sent.host
    if sent.http == "1.1":
        lines = [(name, value.strip(b" \t")) for name, value in lines]
        lines = _without_hops(lines)
        hosts = [value for name, value in lines if name == b"host"]
        authority = b",".join(hosts) or sent.host
    else:
        lines = _joined(lines, b"cookie", b"; ")
    lines = [(name, value) for name, value in lines if name != b"host"]
    for name in _MERGED:
        lines = _joined(lines, name, b",")
    framed = sent.http == "2" or any(name == b"content-length" for name, _ in lines)
    if sent.body and not framed:
        lines.append((b"content-length", str(len(sent.body)).encode()))
    lines += [(b"x-forwarded-proto", b"http"), (b"x-request-id", str(uuid.uuid4()).encode())]
    return Told(
        method=sent.method,
        target=sent.target,
        authority=authority,
        headers=tuple((name.decode("latin-1"), value) for name, value in lines),
        body=sent.body,
    )


def _without_hops(lines: list[Line]) -> list[Line]:
    nominated = {
        token.strip().lower()
        for name, value in lines
        if name == b"connection"
        for token in value.split(b",")
    }
    return [line for line in lines if line[0] not in _HOP_BY_HOP | nominated]


def _joined(lines: list[Line], name: bytes, separator: bytes) -> list[Line]:
    values = [value for each, value in lines if each == name]
    if len(values) < 2:
        return lines
    first = next(index for index, line in enumerate(lines) if line[0] == name)
    rest = [line for line in lines if line[0] != name]
    return [*rest[:first], (name, separator.join(values)), *rest[first:]]


def message(sent: Sent) -> bytes:
    """The serialised CheckRequest."""
    if sent.check is not None:
        return shapes.message(CheckRequest(), sent.check)
    request = told(sent)
    check = CheckRequest()
    check.attributes.source.address.socket_address.address = _CLIENT
    check.attributes.source.address.socket_address.port_value = 40000
    http = check.attributes.request.http
    http.id, http.scheme, http.protocol = str(next(_NUMBERS)), "http", f"HTTP/{sent.http}"
    http.method, http.path = _clean(request.method), _clean(request.target)
    http.host = _clean(request.authority)
    http.size = len(request.body)
    add = http.header_map.headers.add
    for name, value in (
        (":authority", request.authority),
        (":path", request.target),
        (":method", request.method),
        (":scheme", b"http"),
        *request.headers,
    ):
        if not (request.body and name == _PARTIAL):
            add(key=name, raw_value=value)
    if request.body:
        http.raw_body = request.body[: len(request.body) // 2] if sent.partial else request.body
        add(key=_PARTIAL, raw_value=b"true" if sent.partial else b"false")
    return check.SerializeToString()


def _clean(value: bytes) -> str:
    """In string fields Envoy writes `!` for every byte that is not UTF-8."""
    text = value.decode("utf-8", "surrogateescape")
    return "".join("!" if "\udc80" <= c <= "\udcff" else c for c in text)


# -- the answer ------------------------------------------------------------------------------------


def failed(error: grpc.RpcError) -> Answer:
    """A gRPC status instead of an answer. Envoy answers 503 (`status_on_error`)."""
    code = error.code()
    return Answer("error", 503, note=f"gRPC {code.name}")


def answer(sent: Sent, response: CheckResponse, decided: str) -> Answer:
    """What Envoy does on this answer: its `status.code` alone decides. `decided` is the service's
    own word: a denial and an answer in the upstream's place look alike on the wire."""
    require(response.HasField("status"), "the answer has no status, which Envoy takes for an allow")
    metadata = MessageToDict(response.dynamic_metadata)
    if response.status.code == 0:
        return _passed(sent, response, metadata)
    kind = response.WhichOneof("http_response")
    require(kind in ("denied_response", "error_response"), f"a refusal with {kind}")
    refusal = response.error_response if kind == "error_response" else response.denied_response
    require(refusal.status.code, "a refusal without a status")
    require("consumer" not in metadata, "a refusal that names a consumer")
    return Answer(
        outcome=_outcome(str(kind), decided),
        status=refusal.status.code,
        headers=tuple(_pair(option) for option in refusal.headers),
        body=refusal.body.encode(),
        metadata=metadata,
        note=str(metadata.get("reason", "")),
    )


def _outcome(kind: str, decided: str) -> Outcome:
    if kind == "error_response":
        return "error"
    return "answer" if decided == "answer" else "deny"


def _pair(option: HeaderValueOption) -> tuple[str, bytes]:
    name, value = option.header.key.lower(), option.header.value
    require(_NAME.fullmatch(name) and _VALUE.fullmatch(value), f"Envoy would refuse {name}")
    require(not option.header.raw_value, f"{name}: Envoy ignores raw_value")
    return name, value.encode()


def _passed(sent: Sent, response: CheckResponse, metadata: Mapping[str, Any]) -> Answer:
    """The request as the upstream gets it: what is named is overwritten, then what is to go goes.

    Envoy's configuration lets nothing pass that has no consumer in its metadata."""
    require(response.WhichOneof("http_response") == "ok_response", "an allow without ok_response")
    require(metadata.get("consumer"), "an allow that names no consumer")
    ok = response.ok_response
    require(not ok.query_parameters_to_set, "query parameters are to be set by :path")
    require(not ok.query_parameters_to_remove, "query parameters are to be removed by :path")
    if sent.check is not None:
        return Answer("allow", 200, upstream=_overwritten(Told(b"", ()), response))
    return Answer(
        "allow",
        200,
        headers=tuple(_pair(option) for option in ok.response_headers_to_add),
        upstream=_overwritten(told(sent), response),
        metadata=metadata,
    )


def _overwritten(request: Told, response: CheckResponse) -> Seen:
    target, headers = request.target, list(request.headers)
    for option in response.ok_response.headers:
        name, value = _pair(option)
        require(not option.HasField("append"), f"{name}: append is for Envoy to leave unset")
        if name == ":path":
            target = value
            continue
        headers = [line for line in headers if line[0] != name]
        headers.append((name, value))
    gone = {name.lower() for name in response.ok_response.headers_to_remove}
    refused = [n for n in gone if n == "host" or n.startswith((":", "x-envoy-"))]
    require(not refused, f"Envoy would refuse to remove {refused}")
    headers = [line for line in headers if line[0] not in gone]
    return Seen(target, (("host", request.authority), *headers), request.body)


def require_askable(sent: Sent) -> None:
    """Raises `Inexpressible` where Envoy would never ask about this request."""
    if sent.check is None:
        told(sent)
