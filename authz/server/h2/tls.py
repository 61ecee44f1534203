"""One connection's TLS, between the octets of its socket and those of HTTP/2. Without I/O."""

from __future__ import annotations

import ssl

#: Octets of a record at the most.
RECORD = 16384


class Closed(Exception):
    """TLS is over, or never was: broken, refused, or ended by the peer."""


class Tls:
    """The server's side. A peer that does not choose h2 by ALPN is refused (RFC 9113, 3.2)."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_side=True)
        self._shaken = False

    def open(self, data: bytes) -> bytes:
        """What they say, as far as they are here. Raises `Closed`; then `seal` says why."""
        self._came.write(data)
        try:
            if not self._shaken:
                self._shake()
            return self._read() if self._shaken else b""
        except ssl.SSLError:
            raise Closed from None

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        if self._tls.selected_alpn_protocol() != "h2":
            raise Closed
        self._shaken = True

    def _read(self) -> bytes:
        parts = []
        try:
            while part := self._tls.read(RECORD):
                parts.append(part)
        except ssl.SSLWantReadError:
            return b"".join(parts)
        raise Closed

    def seal(self, parts: list[bytes]) -> bytes:
        """What is to be sent. The parts wait where they are until the handshake is over."""
        if parts and self._shaken:
            self._tls.write(b"".join(parts))
            parts.clear()
        return self._goes.read()
