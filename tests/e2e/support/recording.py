"""An upstream that answers 200 to everything and keeps every request as it arrived."""

from __future__ import annotations

import re
import socketserver
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: A client puts a name of its own into this header to find its request again.
TAG = "x-tag"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_FAMILIES = ("x-consumer-", "x-credential-")
_SEPARATOR = re.compile(r"[^a-z0-9]")


class Received(NamedTuple):
    """One request, byte for byte. `lines` are its header lines in order, trailers behind them."""

    method: bytes
    target: bytes
    lines: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""

    def values(self, name: str) -> list[bytes]:
        """Every value of a header, whatever its name's case."""
        return [value for each, value in self.lines if each.lower() == name.encode()]

    @property
    def identity(self) -> list[tuple[str, str]]:
        """All that says who is calling, also to a backend that folds header names as CGI does."""
        return sorted(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self.lines
            if _SEPARATOR.sub("-", name.decode("latin-1").lower()).startswith(_FAMILIES)
        )

    @property
    def everything(self) -> bytes:
        """What a search for something that must not be there has to look through."""
        lines = b"\n".join(b"%b: %b" % line for line in self.lines)
        return b"%b %b\n%b\n\n%b" % (self.method, self.target, lines, self.body)


class Recorder(socketserver.ThreadingUnixStreamServer):
    """HTTP/1.1 on a Unix socket, in a thread of the test's process."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Connection)
        self._received: defaultdict[str, list[Received]] = defaultdict(list)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def record(self, received: Received) -> None:
        tag = b"".join(received.values(TAG)).decode("latin-1")
        with self._lock:
            self._received[tag].append(received)

    def of(self, tag: str) -> list[Received]:
        """The requests with this tag. They are there before their answers are."""
        with self._lock:
            return list(self._received[tag])

    @property
    def total(self) -> int:
        """How many requests ever arrived."""
        with self._lock:
            return sum(map(len, self._received.values()))

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Connection(socketserver.StreamRequestHandler):
    server: Recorder

    def handle(self) -> None:
        try:
            while first := self.rfile.readline():
                self._take(first)
        except OSError:
            pass  # Envoy hung up

    def _take(self, first: bytes) -> None:
        method, target, _ = first.split(b" ", 2)
        lines = tuple(self._lines())
        named = {name.lower(): value for name, value in lines}
        if named.get(b"transfer-encoding") == b"chunked":
            body = b"".join(self._chunks())
            lines += tuple(self._lines())
        else:
            body = self.rfile.read(int(named.get(b"content-length", b"0")))
        self.server.record(Received(method, target, lines, body))
        self.wfile.write(ANSWER)

    def _lines(self) -> Iterator[tuple[bytes, bytes]]:
        while line := self.rfile.readline().rstrip(b"\r\n"):
            name, _, value = line.partition(b":")
            yield name, value.removeprefix(b" ")

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
