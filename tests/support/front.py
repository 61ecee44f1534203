"""TLS in front of a server that speaks none: the Valkey of the wheel is built without it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress


class Front:
    """Ends TLS on a port of its own (or a given one) and forwards to another. `taken` counts the
    connections whose handshake was completed."""

    def __init__(self, tls: ssl.SSLContext, target: int, port: int = 0) -> None:
        self._tls, self._target = tls, target
        self.taken = 0
        self._closed = False
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._ends.append(near)
                self._start(self._serve, near)

    def _start(self, run: Callable[..., None], *args: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=run, args=args)
        self._threads.append(thread)
        thread.start()
        return thread

    def _serve(self, plain: socket.socket) -> None:
        with (
            suppress(OSError),
            self._tls.wrap_socket(plain, server_side=True) as near,
            socket.create_connection(("127.0.0.1", self._target)) as far,
        ):
            self.taken += 1
            self._ends += (near, far)
            back = self._start(self._pump, far, near)
            if not self._closed:
                self._pump(near, far)
            _end(near, far)
            back.join()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        _end(source, sink)

    def close(self) -> None:
        self._closed = True
        _end(self._listener, *self._ends)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
