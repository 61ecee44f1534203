"""A peer's socket and its connection: what is read, what is sent, and how long it may stay."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from msgspec import Struct

from authz.server.h2.calls import Method
from authz.server.h2.connection import Connection
from authz.server.h2.pool import Pool
from authz.server.h2.room import Room
from authz.server.h2.stream import Limits
from authz.server.h2.tls import Closed, Tls

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
#: Octets read at once: some tens of Checks. What one peer sends at its worst keeps the others
#: waiting for some tens of milliseconds.
CHUNK = 64 * 1024
#: Octets of answers that a peer does not read, before nothing more is read from it.
UNREAD = 256 * 1024
#: A peer that reads less in `Stay.stuck` seconds does not read.
SLOW = 64 * 1024
#: Calls that are answered before their answers are sent: few, so that the peer works on these while
#: we work on the next. Whoever sends all at once takes turns with its peer instead.
BATCH = 8


class Stay(Struct, frozen=True):
    """How long a connection may stay, in seconds."""

    #: Until the peer has said that it speaks HTTP/2, and TLS before that; and for a header block.
    handshake: float = 10.0
    #: Without a call; and in all. It is then asked to go, and gets `grace` for it.
    idle: float = 900.0
    age: float = 3600.0
    grace: float = 30.0
    #: With answers that it does not read, or hardly.
    stuck: float = 30.0
    #: Until a peer that does not answer pings is taken to have read that it should go.
    ping: float = 1.0


class Gone(Exception):
    """The connection is over."""


class Peer:
    """One connection. Everything raises OSError or `Gone` when it is over."""

    def __init__(
        self,
        sock: socket.socket,
        poll: select.epoll,
        methods: Mapping[bytes, Method],
        pool: Pool,
        limits: Limits,
        room: Room,
        tls: Tls | None,
    ) -> None:
        self.sock, self._poll, self._tls = sock, poll, tls
        self.http = Connection(methods, partial(pool.submit, self), limits, room)
        self._unsent = b""
        self._read = 0  # octets that the peer took, since `_moved`
        self._mask = READ
        self._came = self._called = self._moved = time.monotonic()
        self._asked: float | None = None  # when the peer was asked to go
        self._calls = 0

    def serve(self, buffer: bytearray, view: memoryview) -> None:
        """Read what is there and answer it."""
        size = self.sock.recv_into(buffer)
        if not size:
            raise Gone
        http, data = self.http, bytes(view[:size])
        http.feed(self._opened(self._tls, data) if self._tls else data)
        while http.answer(BATCH):
            self.flush()

    def _opened(self, tls: Tls, data: bytes) -> bytes:
        """What the octets say."""
        try:
            return tls.open(data)
        except Closed:
            with suppress(OSError):
                self.sock.send(self._unsent + tls.seal([]))  # it says why
            raise Gone from None

    def flush(self) -> None:
        """Send what can be sent."""
        out = self.http.out
        if self._tls:
            data = self._unsent + self._tls.seal(out)
        elif out:
            data = self._unsent + b"".join(out)
            out.clear()
        else:
            data = self._unsent
        if not data:
            if self.http.closing:
                raise Gone
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        self._unsent = data[sent:]
        self._read += sent
        if self._mask & WRITE and (self._read >= SLOW or not self._unsent):
            self._moved, self._read = time.monotonic(), 0
        self._watch()
        if self.http.closing and not self._unsent:
            raise Gone

    def _watch(self) -> None:
        """For what epoll shall wake us."""
        mask = (READ if len(self._unsent) < UNREAD else 0) | (WRITE if self._unsent else 0)
        if mask != self._mask:
            if not self._mask & WRITE:
                self._moved, self._read = time.monotonic(), 0
            self._mask = mask
            self._poll.modify(self.sock, mask)

    # -- time --------------------------------------------------------------------------------------

    def look(self, now: float, stay: Stay) -> None:
        """What time brings: calls and the connection itself end."""
        http = self.http
        if http.streams.open or http.streams.outbox.unsent:
            http.streams.expire(now)
        if http.owed is not None and now - http.owed > stay.handshake:
            raise Gone
        if self._unsent and now - self._moved > stay.stuck:
            raise Gone
        if self._calls != http.streams.last or not http.streams.idle:
            self._calls, self._called = http.streams.last, now
        if self._asked is not None:
            self._leave(now - self._asked, stay)
        elif now - self._called > stay.idle or now - self._came > stay.age:
            self.drain(now)
        self.flush()

    def drain(self, now: float) -> None:
        """Ask the peer to go elsewhere."""
        if self._asked is None:
            self._asked = now
            self.http.drain()

    def _leave(self, since: float, stay: Stay) -> None:
        if since > stay.ping:
            self.http.end()
        if since > stay.grace:
            raise Gone
        if self.drained:
            raise Gone

    @property
    def silent(self) -> bool:
        """Nothing was asked yet."""
        return not self.http.streams.last

    @property
    def drained(self) -> bool:
        return self.http.drained and not self._unsent and not self.http.out

    def close(self) -> None:
        self._poll.unregister(self.sock)
        self.sock.close()
        self.http.streams.forget_all()
