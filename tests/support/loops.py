"""The HTTP/2 loop with methods that do what a message says, and grpcio's own client of it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from authz.config import TlsFiles
from authz.server.h2.calls import Failed, Method, Streaming, Unary
from authz.server.h2.loop import Bounds, Loop
from authz.server.h2.stream import Limits
from authz.server.tls import Loaded
from tests.support.certificates import Authority

DO = "/test.Test/Do"
#: Threads, and calls that may wait or run.
THREADS, WAITING = 2, 4


class Do(Unary):
    """`echo…`, `count…`, `big N`, `fail`, `boom`; `later…` is an echo by a thread; `slow…` waits
    for the gate there, and is in `ran`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.ran: list[bytes] = []
        self.dropped: list[bytes] = []
        self.shed_ones: list[bytes] = []

    def answer(self, message: bytes) -> Any:
        if message.startswith((b"slow", b"later")):
            return (message,)
        if message.startswith(b"big"):
            return b"x" * int(message[3:])
        if message.startswith(b"count"):
            return b"%d" % len(message)
        if message.startswith(b"fail"):
            raise Failed(9, "déjà vu: 100%\n")
        if message.startswith(b"boom"):
            raise RuntimeError("boom")
        return message

    def finish(self, deferred: tuple[bytes]) -> bytes:
        if deferred[0].startswith(b"later"):
            return deferred[0]
        self.ran.append(deferred[0])
        self.entered.release()
        assert self.gate.wait(20)
        if deferred[0] == b"slowboom":
            raise RuntimeError("boom")
        return b"waited"

    def shed(self, deferred: tuple[bytes]) -> bytes:
        self.shed_ones.append(deferred[0])
        return b"shed"

    def drop(self, deferred: tuple[bytes]) -> None:
        self.dropped.append(deferred[0])


class Server:
    """A running loop and a client."""

    def __init__(self, loop: Loop, do: Do, address: str, ca: Authority | None) -> None:
        self.loop, self.do, self.address = loop, do, address
        self._trust = ca.trust("client") if ca else None
        self.channel = self.connect()
        self.call = self.channel.unary_unary(DO)

    def connect(self) -> grpc.Channel:
        """A connection of its own."""
        options = [
            ("grpc.max_receive_message_length", 1 << 26),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        trust = self._trust
        if trust is None:
            return grpc.insecure_channel(self.address, options=options)
        shown = grpc.ssl_channel_credentials(trust.ca, trust.key, trust.cert)
        named = ("grpc.ssl_target_name_override", trust.name)
        return grpc.secure_channel(self.address, shown, [*options, named])

    def until_busy(self, count: int = THREADS) -> None:
        for _ in range(count):
            assert self.do.entered.acquire(timeout=10)


def _context(ca: Authority) -> Callable[[], ssl.SSLContext]:
    cert, key = ca.issue("server")
    loaded = Loaded(TlsFiles(str(cert), str(key), str(ca.file)))
    return lambda: loaded.context


@contextmanager
def looping(
    directory: Path, kind: str = "unix", bounds: Bounds | None = None, message: int = 1 << 20
) -> Iterator[Server]:
    """A loop on a Unix socket, on TCP's loopback, or there with mutual TLS."""
    do = Do()
    pair = Streaming(lambda _, message: [message, message])
    forever = Streaming(lambda _, message: [message], endless=True)
    methods: dict[bytes, Method] = {
        DO.encode(): do,
        b"/test.Test/Pair": pair,
        b"/test.Test/Forever": forever,
    }
    limits = Limits(message=message)
    ca = Authority(directory) if kind == "tls" else None
    context = None if ca is None else _context(ca)
    loop = Loop(methods, bounds or Bounds(threads=THREADS, waiting=WAITING, peer=limits), context)
    address = f"unix:{directory}/loop.sock" if kind == "unix" else "127.0.0.1:0"
    port = loop.listen(address)
    server = Server(loop, do, address if kind == "unix" else f"127.0.0.1:{port}", ca)
    try:
        yield server
    finally:
        do.gate.set()
        server.channel.close()
        loop.stop(0)
