"""The loop: one thread that accepts, reads, answers and sends, woken by epoll."""

from __future__ import annotations

import logging
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from msgspec import Struct

from authz.server.h2 import listening
from authz.server.h2.calls import Method
from authz.server.h2.peer import CHUNK, READ, WRITE, Gone, Peer, Stay
from authz.server.h2.pool import Pool
from authz.server.h2.room import Room
from authz.server.h2.stream import Limits
from authz.server.h2.tls import Tls
from authz.server.transport import WAITING

logger = logging.getLogger("authz")

#: Seconds between looks at the clock: while something may be late, and else.
BUSY, QUIET = 0.02, 1.0


class Bounds(Struct, frozen=True):
    """What the server as a whole takes."""

    threads: int = 16
    #: Calls that wait for a thread or run on one.
    waiting: int = WAITING
    connections: int = 1024
    #: Octets of requests that wait, for the rest of them or for a thread.
    room: int = 128 * 1024 * 1024
    peer: Limits = Limits()
    stay: Stay = Stay()


class Loop:
    """`methods` on sockets: `listen`, then `stop`. Raises where epoll or eventfd are missing."""

    def __init__(
        self,
        methods: Mapping[bytes, Method],
        bounds: Bounds,
        context: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._methods, self._bounds, self._context = methods, bounds, context
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, READ)
        self._woken = False
        self._tasks: deque[Callable[[], None]] = deque()
        self._pool = Pool(bounds.threads, bounds.waiting, self.wake)
        self._room = Room(bounds.room)
        self._peers: dict[int, Peer] = {}
        self._listeners: dict[int, socket.socket] = {}
        self._paused = False
        self._buffer = bytearray(CHUNK)
        self._view = memoryview(self._buffer)
        self._stop_at: float | None = None
        self._looked, self._ended = 0.0, False
        self._thread: threading.Thread | None = None

    def listen(self, address: str) -> int:
        """Start to serve, where a `Transport` would. Raises `AddressInUse`."""
        sockets = listening.listen_all(address.split(","))
        for sock in sockets:
            self._listeners[sock.fileno()] = sock
            self._poll.register(sock, READ)
        self._thread = threading.Thread(target=self._run, name="h2", daemon=True)
        self._thread.start()
        last = sockets[-1]
        return 0 if last.family == socket.AF_UNIX else int(last.getsockname()[1])

    def stop(self, grace: float) -> None:
        """Take no more connections, answer within `grace` seconds what was asked, and end. Of no
        effect the second time."""
        if self._poll.closed:
            return
        deadline = time.monotonic() + grace
        if self._thread is not None:
            self.call(lambda: self._begin_stop(deadline))
            self._thread.join()
        self._pool.close()
        self._poll.close()
        self._woken = True  # a thread that still runs wakes nobody
        if not self._pool.waiting:
            os.close(self._wake)

    def call(self, task: Callable[[], None]) -> None:
        """Have the loop's thread do something. From any thread."""
        self._tasks.append(task)
        self.wake()

    def wake(self) -> None:
        if not self._woken:  # whoever comes twice costs a look more, no more
            self._woken = True
            os.eventfd_write(self._wake, 1)

    # -- the loop's thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended:
            try:
                self._turn()
            except Exception:
                # A bug, and not that of one peer. The others are served all the same.
                logger.exception("the loop crashed")
                time.sleep(BUSY)

    def _turn(self) -> None:
        busy = self._pool.waiting or self._stop_at is not None
        pause = BUSY if busy else QUIET
        for descriptor, mask in self._poll.poll(pause):
            peer = self._peers.get(descriptor)
            if peer is not None:
                self._with(peer, self._serve, mask)
            elif descriptor == self._wake:
                self._awake()
            elif descriptor in self._listeners:
                self._accept(self._listeners[descriptor])
        now = time.monotonic()
        if now - self._looked >= pause:
            self._looked = now
            self._look(now)
            if self._stop_at is not None and (not self._peers or now >= self._stop_at):
                self._close_all()
                self._ended = True

    def _serve(self, peer: Peer, mask: int) -> None:
        if mask & ~WRITE:
            peer.serve(self._buffer, self._view)
        peer.flush()

    def _with(self, peer: Peer, action: Callable[..., None], *arguments: object) -> None:
        """Whatever goes wrong with one peer ends that peer alone."""
        try:
            action(peer, *arguments)
        except BlockingIOError:
            pass
        except (OSError, Gone):
            self._close(peer)
        except Exception:
            logger.exception("a connection crashed")
            self._close(peer)

    def _awake(self) -> None:
        os.eventfd_read(self._wake)
        self._woken = False  # before looking, so that what comes later wakes again
        for peer in self._pool.finish():
            self._with(peer, Peer.flush)
        if self._tasks:
            while self._tasks:
                self._tasks.popleft()()
            for peer in list(self._peers.values()):
                self._with(peer, Peer.flush)

    def _look(self, now: float) -> None:
        for peer in list(self._peers.values()):
            self._with(peer, Peer.look, now, self._bounds.stay)
        if self._paused:
            self._pause(paused=False)

    # -- connections -------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:  # out of descriptors: epoll would wake us without end
            logger.error("no connection can be taken: %s", os.strerror(error.errno or 0))
            self._pause(paused=True)
            return
        if len(self._peers) >= self._bounds.connections and not self._make_room():
            sock.close()
            return
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        tls = None if self._context is None else Tls(self._context())
        limits = self._bounds.peer
        peer = Peer(sock, self._poll, self._methods, self._pool, limits, self._room, tls)
        self._peers[sock.fileno()] = peer
        self._poll.register(sock, READ)
        self._with(peer, Peer.flush)

    def _make_room(self) -> bool:
        """End the oldest connection that never asked anything, so that those who hold connections
        for their own sake keep nobody out. Whether there was one."""
        silent = next((peer for peer in self._peers.values() if peer.silent), None)
        if silent is not None:
            self._close(silent)
        return silent is not None

    def _pause(self, *, paused: bool) -> None:
        self._paused = paused
        for listener in self._listeners.values():
            self._poll.modify(listener, 0 if paused else READ)

    def _close(self, peer: Peer) -> None:
        if self._peers.pop(peer.sock.fileno(), None) is not None:
            peer.close()

    # -- the end -----------------------------------------------------------------------------------

    def _begin_stop(self, deadline: float) -> None:
        self._stop_at = deadline
        for listener in self._listeners.values():
            self._poll.unregister(listener)
        listening.close(list(self._listeners.values()))
        self._listeners.clear()
        now = time.monotonic()
        for peer in list(self._peers.values()):
            peer.drain(now)

    def _close_all(self) -> None:
        for peer in list(self._peers.values()):
            self._close(peer)
