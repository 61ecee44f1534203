"""CheckRequests as the hardened Envoy sends them, and answers as a client sees them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import NamedTuple

from authz.pb.external_auth_pb2 import CheckRequest, CheckResponse


def check(
    path: str = "/ip",
    *headers: tuple[str, str],
    method: str = "GET",
    host: str = "api.test",
    context: Iterable[tuple[str, str]] = (),
) -> CheckRequest:
    """A Check with raw headers."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = method, path, host
    request.attributes.context_extensions.update(dict(context))
    pseudo = ((":method", method), (":path", path), (":authority", host))
    for name, value in (*pseudo, *headers):
        http.header_map.headers.add(key=name, raw_value=value.encode())
    return request


def basic(username: str, password: str) -> tuple[str, str]:
    """An Authorization header (RFC 7617)."""
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return "authorization", f"Basic {pair}"


class Seen(NamedTuple):
    """An answer: `outcome` is allow, deny or fault; `reason` is what Envoy's filters read."""

    outcome: str
    status: int
    reason: str
    consumer: str = ""

    @classmethod
    def of(cls, answer: CheckResponse) -> Seen:
        told = dict(answer.dynamic_metadata.items())
        reason, consumer = str(told.get("reason", "")), str(told.get("consumer", ""))
        kind = answer.WhichOneof("http_response")
        if answer.status.code == 0:
            assert kind == "ok_response"
            return cls("allow", 200, reason, consumer)
        if kind == "denied_response":
            return cls("deny", answer.denied_response.status.code, reason, consumer)
        assert kind == "error_response"
        return cls("fault", answer.error_response.status.code, reason, consumer)
