"""A demo upstream that answers with what it received, so that one sees what Envoy let through.

`python -m authz.stack.upstream --listen 127.0.0.1:8080` or `--listen unix:/path`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

#: Bodies are echoed up to here, and read to their end all the same.
MAX_BODY = 64 * 1024


class Echo(BaseHTTPRequestHandler):
    """Any method on any path: 200 and a JSON account of the request, in the manner of httpbin."""

    protocol_version = "HTTP/1.1"
    server_version = "authz-upstream"
    # One write for head and body; two would meet delayed acknowledgements.
    wbufsize = -1

    def answer(self) -> None:
        """Say what arrived."""
        body = self._body()
        url = urlsplit(self.path)
        account = {
            "method": self.command,
            "path": url.path,
            "query": url.query,
            "args": _grouped(parse_qsl(url.query, keep_blank_values=True)),
            "headers": _grouped([(name.title(), value) for name, value in self.headers.items()]),
            "origin": self.headers.get("X-Forwarded-For", ""),
            "body": body[:MAX_BODY].decode("utf-8", "backslashreplace"),
        }
        answer = json.dumps(account, indent=2).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """`do_GET` and its kin: every method is answered alike."""
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(parts)

    def address_string(self) -> str:
        """Who asked, for the log; a Unix socket's client has no address."""
        return str(self.client_address[0]) if self.client_address else "unix"


class UnixServer(ThreadingHTTPServer):
    """The same on a Unix socket."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """Take the path over from a server that is gone."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(str(self.server_address))
        self.socket.bind(self.server_address)


def server(listen: str) -> ThreadingHTTPServer:
    """Bound and listening, not yet serving."""
    if listen.startswith("unix:"):
        return UnixServer(listen.removeprefix("unix:"), Echo)  # type: ignore[arg-type]
    host, _, port = listen.rpartition(":")
    return ThreadingHTTPServer((host.strip("[]"), int(port)), Echo)


def _grouped(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """One value as text, several as a list: a header that came twice must not look like one."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        known = found.get(name)
        if known is None:
            found[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            found[name] = [known, value]
    return found


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    options = argparse.ArgumentParser(prog="python -m authz.stack.upstream", description=__doc__)
    options.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT|unix:PATH")
    serve(options.parse_args().listen)


def serve(listen: str) -> None:
    """Answer on HOST:PORT or unix:PATH until SIGTERM or Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), server(listen) as running:
        running.serve_forever()


if __name__ == "__main__":
    main()
