"""What is asked: a client's request, the Check that Envoy makes of it, and how its answer reads.

In reality hardly two requests are alike, so each has its own path, query, id and time: what
remembers messages would else look faster here than it is. Clients keep their connections.
"""

from __future__ import annotations

import uuid

from msgspec import Struct

from authz.bench.order import Faulted
from authz.pb.attribute_context_pb2 import AttributeContext
from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse

#: What a browser or an HTTP client sends besides.
COMMON = (
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "application/json, text/plain, */*"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("referer", "https://app.example.com/orders"),
)
#: Connections that clients have to Envoy.
CLIENTS = 1000
#: Never the same stream of ids, always the same ids.
_IDS = uuid.UUID("6f1d0f0a-7a3c-4d52-9f0e-3d1a6f3f9d11")


class Call(Struct, frozen=True):
    """A GET as the client sends it, and what must come back (see `Sent`)."""

    host: str
    target: str
    headers: tuple[tuple[str, str], ...]
    expected: str


def target(number: int) -> str:
    """A path and a query of its own for each number."""
    return f"/v1/orders/{100_000 + number * 7919 % 900_000}/items?page={number % 50}&after={number}"


def _address(number: int) -> str:
    """A client's, of those for documentation (RFC 5737)."""
    return f"203.0.113.{1 + number % CLIENTS % 250}"


def check(call: Call, number: int, at: float) -> bytes:
    """The CheckRequest of Envoy 1.40 with `encode_raw_headers` and `use_remote_address`."""
    made = CheckRequest()
    attributes = made.attributes
    attributes.source.address.socket_address.address = _address(number)
    attributes.source.address.socket_address.port_value = 32768 + number % CLIENTS
    attributes.destination.address.socket_address.address = "10.0.0.5"
    attributes.destination.address.socket_address.port_value = 8443
    nanos = int((at + number * 0.000037) * 1e9)
    attributes.request.time.seconds, attributes.request.time.nanos = divmod(nanos, 10**9)
    attributes.metadata_context.SetInParent()
    attributes.route_metadata_context.SetInParent()
    http = attributes.request.http
    http.id = str(number * 6364136223846793005 % 2**64)
    http.method, http.path, http.host = "GET", call.target, call.host
    http.scheme, http.protocol = "https", "HTTP/2"
    _add_headers(http, call, number)
    return made.SerializeToString()


def _add_headers(http: AttributeContext.HttpRequest, call: Call, number: int) -> None:
    pseudo = (
        (":method", "GET"),
        (":authority", call.host),
        (":scheme", "https"),
        (":path", call.target),
    )
    added = (
        ("x-forwarded-for", _address(number)),
        ("x-forwarded-proto", "https"),
        ("x-envoy-external-address", _address(number)),
        ("x-request-id", str(uuid.uuid5(_IDS, str(number)))),
    )
    for name, value in (*pseudo, *COMMON, *call.headers, *added):
        http.header_map.headers.add(key=name.lower(), raw_value=value.encode())


def http(call: Call) -> bytes:
    """The request for Envoy, over HTTP/1.1."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (*COMMON, *call.headers))
    return f"GET {call.target} HTTP/1.1\r\nhost: {call.host}\r\n{lines}\r\n".encode()


def verdict(octets: bytes) -> str:
    """A CheckResponse as `Sent.expected` has it: the consumer's name for an allow, the status for a
    denial; anything else in words that are neither. Raises `Faulted`."""
    answer = CheckResponse.FromString(octets)
    told = dict(answer.dynamic_metadata.items())
    kind = answer.WhichOneof("http_response")
    if kind == "ok_response" and answer.status.code == 0:
        return str(told.get("consumer", "an allow of nobody"))
    if kind == "denied_response" and answer.status.code != 0:
        return str(answer.denied_response.status.code)
    if kind == "error_response" and answer.status.code != 0:
        raise Faulted(str(told.get("reason", "without a reason")))
    return f"{kind} with status {answer.status.code}"
