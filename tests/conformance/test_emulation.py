"""What is asked directly is what the real Envoy asks: both CheckRequests of one request agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authz.pb.external_auth_pb2 import CheckRequest
from authz.server.service import Deferred
from tests.conformance import direct
from tests.conformance.case import Sent

if TYPE_CHECKING:
    from tests.conformance.bench import Bench
    from tests.conformance.envoy import Gateway

#: What Envoy adds of its own accord, and differs from one request to the next.
_OWN = {"x-request-id", "x-forwarded-for", "x-envoy-external-address"}
REQUESTS = {
    "plain": Sent(target=b"/ip?a=1&a=2&%61=%zz"),
    "host with port": Sent(host=b"API.example:8080"),
    "a copy": Sent(lines=((b"apikey", b"one"), (b"X-Other", b"1"), (b"APIKEY", b"two"))),
    "white space": Sent(lines=((b"apikey", b" \t one two \t "), (b"empty", b""))),
    "two authorizations": Sent(
        lines=((b"Authorization", b"Basic a"), (b"b", b"1"), (b"authorization", b"Bearer b"))
    ),
    "two cookies": Sent(lines=((b"Cookie", b"a=1"), (b"Cookie", b"b=2"))),
    "not UTF-8": Sent(lines=((b"apikey", b"a\xff\xfe\x80"), (b"name", "张三".encode()))),
    "nominated": Sent(
        lines=((b"apikey", b"k"), (b"Connection", b"apikey, close"), (b"Keep-Alive", b"5"))
    ),
    "folded": Sent(raw=b"GET /ip HTTP/1.1\r\nhost: h\r\napikey: one \r\n\t two\r\nb: 2\r\n\r\n"),
    "absolute": Sent(raw=b"GET http://a.example/x?y HTTP/1.1\r\nhost: b.example\r\n\r\n"),
    "a body": Sent(method=b"POST", lines=((b"Content-Type", b"text/plain"),), body=b"\x00\xff1"),
    "HTTP/2": Sent(target=b"/ip?x=\xff", lines=((b"apikey", b"one"),), http="2"),
    "HTTP/2 crumbs": Sent(lines=((b"cookie", b"a=1"), (b"cookie", b"b=2")), http="2"),
    "HTTP/2 copies": Sent(lines=((b"authorization", b"a"), (b"authorization", b"b")), http="2"),
    "HTTP/2 body": Sent(method=b"POST", body=b"{}", http="2"),
}


def told(message: bytes) -> tuple[list[object], dict[str, list[bytes]]]:
    """Everything that a service decides by."""
    http = CheckRequest.FromString(message).attributes.request.http
    lines: dict[str, list[bytes]] = {}
    for line in http.header_map.headers:
        if line.key not in _OWN:
            lines.setdefault(line.key, []).append(line.raw_value)
    fields = (http.method, http.path, http.host, http.scheme, http.protocol, http.raw_body)
    return [*fields, http.size, dict(http.headers)], lines


@pytest.mark.parametrize("name", REQUESTS)
def test_emulation(
    name: str, bench: Bench, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    attempt = bench.worker.service.attempt

    def record(message: bytes) -> bytes | Deferred:
        asked.append(message)
        return attempt(message)

    monkeypatch.setattr(bench.worker.service, "attempt", record)
    gateway.ask(REQUESTS[name])
    (message,) = asked
    assert told(direct.message(REQUESTS[name])) == told(message)
