"""An upstream that says 200 to everything and remembers the bytes that arrived."""

from __future__ import annotations

import socketserver
import threading
from pathlib import Path

from tests.conformance.case import Line, Seen

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Recorder(socketserver.ThreadingUnixStreamServer):
    """HTTP/1.1 on a Unix socket. `seen` is emptied by `take`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Connection)
        self._seen: list[Seen] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def record(self, seen: Seen) -> None:
        with self._lock:
            self._seen.append(seen)

    def take(self) -> list[Seen]:
        """What arrived since the last time."""
        with self._lock:
            seen, self._seen = self._seen, []
        return seen

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Connection(socketserver.StreamRequestHandler):
    """Requests one after the other. What is recorded is recorded before it is answered."""

    server: Recorder

    def handle(self) -> None:
        while first := self.rfile.readline():
            target = first.split(b" ")[1]
            lines = self._lines()
            headers = tuple((name.decode("latin-1").lower(), value) for name, value in lines)
            body = self._body(dict(headers))
            self.server.record(Seen(target, headers, body))
            self.wfile.write(_ANSWER)

    def _lines(self) -> list[Line]:
        lines: list[Line] = []
        while line := self.rfile.readline().rstrip(b"\r\n"):
            name, _, value = line.partition(b":")
            lines.append((name, value.strip(b" ")))
        return lines

    def _body(self, headers: dict[str, bytes]) -> bytes:
        if headers.get("transfer-encoding") == b"chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(headers.get("content-length", b"0")))

    def _chunks(self) -> list[bytes]:
        chunks: list[bytes] = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self._lines()
        return chunks
