"""One connection that asks over HTTP/1.1 (RFC 9112), one request at a time."""

from __future__ import annotations

import re
import socket

from authz.bench.grpc_link import CHUNK
from authz.bench.order import Faulted, Sent, Wrong

OK, UNAVAILABLE = "200", "503"
#: What the upstream behind Envoy answers, and nobody else.
BODY = b"bench upstream\n"
_HEAD = re.compile(
    rb"HTTP/1\.1 (\d{3})[^\r\n]*\r\n(?:[^\r\n]+\r\n)*?content-length: (\d+)\r\n", re.I
)


class HttpLink:
    """Asks and counts, as `GrpcLink` does. An expected name means a 200 with `BODY`."""

    def __init__(self, sock: socket.socket, requests: list[Sent]) -> None:
        self.sock = sock
        self._requests = requests
        self._asked: tuple[int, float] | None = None
        self._unsent = b""
        self._rest = b""
        self.done: list[float] = []

    @property
    def free(self) -> int:
        return 0 if self._asked else 1

    @property
    def idle(self) -> bool:
        return self._asked is None

    def ask(self, index: int, due: float) -> None:
        self._asked = index, due
        self._unsent += self._requests[index].octets

    def flush(self) -> bool:
        try:
            sent = self.sock.send(self._unsent) if self._unsent else 0
        except BlockingIOError:
            sent = 0
        self._unsent = self._unsent[sent:]
        return bool(self._unsent)

    def receive(self) -> None:
        read = self.sock.recv(CHUNK)
        if not read:
            raise Wrong("the connection was closed")
        data = self._rest + read
        self._rest = data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = _HEAD.match(data, 0, end + 2)
        if head is None or self._asked is None:
            raise Wrong(f"not an answer of Envoy's: {data[:60]!r}")
        body = data[end + 4 :]
        if len(body) >= int(head[2]):
            self._rest = b""
            self._finish(head[1].decode(), body, *self._asked)

    def _finish(self, status: str, body: bytes, index: int, due: float) -> None:
        self._asked = None
        wanted = self._requests[index].expected
        expected = wanted if wanted.isdigit() else OK
        if status == UNAVAILABLE:
            raise Faulted(f"{status} {body[:60]!r}")
        if status != expected or (status == OK and body != BODY):
            raise Wrong(f"expected {expected}, was answered {status} {body[:60]!r}")
        self.done.append(due)
