"""One connection that asks over gRPC: requests are copied, not encoded, and answers are walked
frame by frame (RFC 9113; gRPC over HTTP/2).

The header block is Envoy's: put into the peer's table once, then sent as seven octets. No more than
2 GiB of answers fit on a connection, since its window is opened just once.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from struct import Struct

from authz.bench.order import Faulted, Sent, Wrong
from authz.server.h2 import frames as h2
from authz.server.h2.hpack import Reader

CHUNK = 1 << 18
#: What our streams may receive before we say more: more than any answer.
STREAM_WINDOW = 1 << 20
_HEADERS_LARGEST = 64 * 1024
#: DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE: too late or too much, but not wrong.
_BUSY = (b"4", b"8", b"14")
_FIRST_DYNAMIC = 62


def _kept(name: bytes, value: bytes) -> bytes:
    """A literal field that the peer is to remember (RFC 7541, 6.2.1)."""
    return b"\x40" + h2.literal(name, value)[1:]


_FIELDS = (
    (b":path", b"/envoy.service.auth.v3.Authorization/Check"),
    (b":authority", b"authz"),
    (b"te", b"trailers"),
    (b"grpc-timeout", b"1000m"),
    (b"content-type", b"application/grpc"),
)
#: `:method: POST` and `:scheme: http` of the static table, then what is to be remembered.
FIRST_BLOCK = b"\x83\x86" + b"".join(_kept(*field) for field in _FIELDS)
#: The same from both tables; the newest entry has the lowest number.
BLOCK = b"\x83\x86" + bytes(0x80 | _FIRST_DYNAMIC + n for n in reversed(range(len(_FIELDS))))

_SETTINGS = h2.frame(
    h2.SETTINGS,
    0,
    0,
    b"".join(
        name.to_bytes(2, "big") + h2.number(value)
        for name, value in ((h2.PUSH_ENABLED, 0), (h2.INITIAL_WINDOW, STREAM_WINDOW))
    ),
)
OPENING = h2.PREFACE + _SETTINGS + h2.window_update(0, h2.MOST - h2.WINDOW_DEFAULT)

_HEAD = h2.HEAD
_head_of = h2.head_of
_data_head = Struct(">BHBBL").pack
_headers = Struct(f">5sL{len(BLOCK)}s").pack
_HEADERS_HEAD = len(BLOCK).to_bytes(3, "big") + bytes((h2.HEADERS, h2.END_HEADERS))
_message = Struct(">BL").pack

#: Says what an answer's bytes mean.
Verdict = Callable[[bytes], str]


class GrpcLink:
    """Asks and counts. Every answer is held against what its request expects; `Wrong` is raised for
    the first one that differs, and for a gRPC status that is not 0; `Faulted` for one that means
    that there was too much to do."""

    def __init__(
        self, sock: socket.socket, requests: list[Sent], streams: int, verdict: Verdict
    ) -> None:
        self.sock = sock
        self._bodies = [_message(0, len(r.octets)) + r.octets for r in requests]
        if any(len(body) > h2.FRAME for body in self._bodies):
            raise Wrong("a request does not fit into one frame")
        self._requests, self._verdict = requests, verdict
        self._known: dict[bytes, str] = {}
        self._heads: dict[bytes, bytes] = {}
        self._reader = Reader(_HEADERS_LARGEST)
        self._asked: dict[int, tuple[int, float]] = {}
        self._answers: dict[int, bytes] = {}
        self._out: list[bytes] = [OPENING]
        self._unsent = b""
        self._held: deque[tuple[int, int]] = deque()
        self._rest = b""
        self._next, self._streams = 1, streams
        self._window = h2.WINDOW_DEFAULT
        #: When each answered request was due, to be emptied by who reads it.
        self.done: list[float] = []

    @property
    def free(self) -> int:
        """How many more may be asked now."""
        return self._streams - len(self._asked)

    @property
    def idle(self) -> bool:
        return not self._asked

    def ask(self, index: int, due: float) -> None:
        """Ask for the request with this number, which was due at that time."""
        stream, self._next = self._next, self._next + 2
        self._asked[stream] = index, due
        if self._held or self._window < len(self._bodies[index]):
            self._held.append((stream, index))
        else:
            self._put(stream, index)

    def _put(self, stream: int, index: int) -> None:
        body = self._bodies[index]
        size = len(body)
        self._window -= size
        if stream == 1:
            head = h2.frame(h2.HEADERS, h2.END_HEADERS, stream, FIRST_BLOCK)
        else:
            head = _headers(_HEADERS_HEAD, stream, BLOCK)
        data_head = _data_head(size >> 16, size & 0xFFFF, h2.DATA, h2.END_STREAM, stream)
        self._out += (head, data_head, body)

    def flush(self) -> bool:
        """Send what can be sent; whether something is left."""
        data = b"".join((self._unsent, *self._out))
        self._out.clear()
        try:
            sent = self.sock.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        self._unsent = data[sent:]
        return bool(self._unsent)

    def receive(self) -> None:
        """Read what came. Raises `Wrong`."""
        read = self.sock.recv(CHUNK)
        if not read:
            raise Wrong("the connection was closed")
        data = self._rest + read if self._rest else read
        at, end = 0, len(data)
        while end - at >= _HEAD:
            high, low, kind, flags, stream = _head_of(data, at)
            start = at + _HEAD
            after = start + (high << 16 | low)
            if after > end:
                break
            if kind == h2.DATA:
                body = h2.unpadded(flags, data[start:after])
                self._answers[stream] = self._answers.get(stream, b"") + body
            elif kind == h2.HEADERS:
                self._on_headers(flags, stream, data[start:after])
            else:
                self._on_other(kind, flags, stream, data[start:after])
            at = after
        self._rest = data[at:]

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not flags & h2.END_HEADERS:
            raise Wrong("a header block in several frames")
        status = self._heads.get(payload)
        if status is None:
            status = self._read(flags, stream, payload)
        if flags & h2.END_STREAM:
            self._finish(stream, status)

    def _read(self, flags: int, stream: int, payload: bytes) -> bytes:
        """The gRPC status of a header block, empty where it has none."""
        version = self._reader.version
        fields = dict(self._reader.read(h2.block_of(flags, stream, payload)))
        if fields.get(b":status", b"200") != b"200":
            raise Wrong(f"HTTP status {fields[b':status'].decode(errors='replace')}")
        status = fields.get(b"grpc-status", b"")
        if status not in (b"", b"0"):
            said = fields.get(b"grpc-message", b"").decode(errors="replace")
            kind = Faulted if status in _BUSY else Wrong
            raise kind(f"gRPC status {status.decode(errors='replace')}: {said}")
        if self._reader.version == version:
            self._heads[payload] = status
        else:  # equal blocks mean equal fields only while the table stands still
            self._heads.clear()
        return status

    def _finish(self, stream: int, status: bytes) -> None:
        index, due = self._asked.pop(stream)
        answer = self._answers.pop(stream, b"")
        if status != b"0":
            raise Wrong("an answer without a gRPC status")
        expected = self._requests[index].expected
        if self._known.get(answer) != expected:
            self._judge(answer, expected)
        self.done.append(due)

    def _judge(self, answer: bytes, expected: str) -> None:
        if answer[:1] != b"\0" or int.from_bytes(answer[1:5], "big") != len(answer) - 5:
            raise Wrong("not one gRPC message that is not compressed")
        found = self._verdict(answer[5:])
        if found != expected:
            raise Wrong(f"expected {expected}, was answered {found}")
        self._known[answer] = found

    def _on_other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == h2.SETTINGS and not flags & h2.ACK:
            self._on_settings(payload)
        elif kind == h2.PING and not flags & h2.ACK:
            self._out.append(h2.frame(h2.PING, h2.ACK, 0, payload))
        elif kind == h2.WINDOW and not stream:
            self._window += int.from_bytes(payload, "big")
            while self._held and self._window >= len(self._bodies[self._held[0][1]]):
                self._put(*self._held.popleft())
        elif kind in (h2.RST, h2.GOAWAY):
            raise Wrong(f"the {'call' if stream else 'connection'} was ended: {payload.hex()}")

    def _on_settings(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            if int.from_bytes(payload[at : at + 2], "big") == h2.STREAMS:
                most = int.from_bytes(payload[at + 2 : at + 6], "big")
                self._streams = min(self._streams, most)
        self._out.append(h2.frame(h2.SETTINGS, h2.ACK, 0))
