"""Requests written byte by byte, as no client library would, and their answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpcore

Line = tuple[str, str]

#: Seconds that any answer may take.
PATIENCE = 15.0


class Answer(NamedTuple):
    """What the client got. Header names are in lower case. Status 0: the stream was reset."""

    status: int
    lines: tuple[Line, ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.lines if each == name), None)

    @property
    def message(self) -> Any:
        """The text of a refusal, if this is one of the authorizer's."""
        with contextlib.suppress(ValueError):
            found = json.loads(self.body)
            return found.get("message") if isinstance(found, dict) else None
        return None

    @property
    def everything(self) -> bytes:
        lines = "\n".join(f"{name}: {value}" for name, value in self.lines)
        return lines.encode("latin-1") + b"\n\n" + self.body


def written(
    target: str,
    lines: tuple[Line, ...] = (),
    *,
    host: str = "api.test",
    method: str = "GET",
    body: bytes | None = None,
) -> bytes:
    """A request; one with a body says how long it is."""
    length = () if body is None else (("content-length", str(len(body))),)
    head = "".join(f"{name}: {value}\r\n" for name, value in (*lines, *length))
    start = f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n{head}\r\n"
    return start.encode("latin-1") + (body or b"")


def ask(port: int, request: bytes) -> Answer:
    """Send these bytes on a connection of their own and read the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as link:
        with contextlib.suppress(OSError):  # refused before it was read whole
            link.sendall(request)
        response = http.client.HTTPResponse(link, method=request.split(b" ")[0].decode("latin-1"))
        try:
            response.begin()
            body = response.read()
        finally:
            response.close()
        lines = tuple((name.lower(), value) for name, value in response.getheaders())
        return Answer(response.status, lines, body)


def ask_http2(
    pool: httpcore.ConnectionPool,
    port: int,
    target: str,
    lines: tuple[Line, ...] = (),
    *,
    host: str = "api.test",
    method: str = "GET",
    body: bytes | None = None,
) -> Answer:
    """The same over HTTP/2 with prior knowledge. Header names arrive in lower case, and of a body
    nothing says how long it is."""
    headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in (("host", host), *lines)]
    url = httpcore.URL(
        scheme=b"http", host=b"127.0.0.1", port=port, target=target.encode("latin-1")
    )
    try:
        found = pool.request(method, url, headers=headers, content=_in_parts(body))
    except httpcore.RemoteProtocolError:
        return Answer(0, (), b"")
    told = tuple((name.decode().lower(), value.decode("latin-1")) for name, value in found.headers)
    return Answer(found.status, told, found.content)


def _in_parts(body: bytes | None) -> Iterator[bytes] | None:
    """What httpcore does not know the length of."""
    return None if body is None else iter([body])
