"""The loop and its sockets: who may connect, for how long, and what else may stand in the way."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hpack import Encoder

from authz.server.h2 import frames as h2
from authz.server.h2 import loop, peer
from authz.server.h2.listening import path_of
from authz.server.h2.loop import Bounds, Loop
from authz.server.h2.peer import SLOW, UNREAD, Stay
from authz.server.h2.pool import Pool
from authz.server.h2.room import Room
from authz.server.h2.stream import Limits
from authz.server.transport import AddressInUse
from tests.support.loops import DO, THREADS, WAITING, Server, looping
from tests.support.waiting import until

BEGIN = h2.PREFACE + h2.frame(h2.SETTINGS, 0, 0)


REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", DO),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
ASK = h2.frame(h2.HEADERS, h2.END_HEADERS, 1, Encoder().encode(REQUEST))


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is looked at so often that nobody waits for it."""
    monkeypatch.setattr(loop, "QUIET", 0.05)


def plain(server: Server) -> socket.socket:
    """A connection without a client's manners."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(path_of(server.address))
    return sock


def is_closed(sock: socket.socket) -> bool:
    """Whether the other side hung up, once all that it sent is read."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    return True  # a timeout is an error of its own


def peers(server: Server) -> int:
    return len(server.loop._peers)


def test_a_stale_socket_is_removed(tmp_path: Path) -> None:
    """A killed predecessor's; its own goes when it ends. Owner and group may connect."""
    path = tmp_path / "loop.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with looping(tmp_path) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert server.call(b"x", timeout=10) == b"x"
    assert not path.exists()


def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    with looping(tmp_path) as server:
        with pytest.raises(AddressInUse, match=r"loop\.sock cannot be listened on"):
            Loop({}, Bounds()).listen(server.address)
        assert server.call(b"x", timeout=10) == b"x"


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "loop.sock"
    path.write_text("mine")
    with pytest.raises(AddressInUse):
        Loop({}, Bounds()).listen(f"unix:{path}")
    assert path.read_text() == "mine"


def test_a_port_in_use(tmp_path: Path) -> None:
    with looping(tmp_path, "tcp") as server, pytest.raises(AddressInUse, match="is it in use"):
        Loop({}, Bounds()).listen(server.address)


@pytest.mark.parametrize("address", ["localhost:0", "0.0.0.0:0", "[::]:0"])
def test_names_and_any_address(address: str) -> None:
    """Each leads to this machine."""
    loop = Loop({}, Bounds())
    try:
        port = loop.listen(address)
    except AddressInUse:
        if address == "[::]:0":
            pytest.skip("no IPv6 here")
        raise
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        pass
    loop.stop(0)


def test_connections_are_limited(tmp_path: Path) -> None:
    """Who asks takes the place of who never did; where all ask, one too many is hung up on, until
    one leaves."""
    with looping(tmp_path, bounds=Bounds(connections=3)) as server, ExitStack() as ending:
        held = [ending.enter_context(plain(server)) for _ in range(3)]
        until(lambda: peers(server) == 3, "they are accepted")
        assert server.call(b"x", timeout=10) == b"x"
        assert is_closed(held[0])
        held[1].sendall(BEGIN + ASK)
        held[2].sendall(BEGIN + ASK)
        until(lambda: not any(each.silent for each in list(server.loop._peers.values())), "asked")
        assert is_closed(ending.enter_context(plain(server)))
        held[1].close()
        until(lambda: peers(server) == 2, "it left")
        with server.connect() as other:
            assert other.unary_unary(DO)(b"x", timeout=10) == b"x"
        assert server.call(b"x", timeout=10) == b"x"


def test_answers_are_on_their_way_while_the_rest_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a crowd that comes at once, the first are not held back for the last: at most eight."""
    count, encoder = 33, Encoder()
    crowd = b"".join(
        h2.frame(h2.HEADERS, h2.END_HEADERS, stream, encoder.encode(REQUEST))
        + h2.frame(h2.DATA, h2.END_STREAM, stream, b"\0\0\0\0\0")
        for stream in range(1, 2 * count, 2)
    )
    arrived: list[int] = []
    with looping(tmp_path) as server, plain(server) as sock:

        def answer(message: bytes) -> bytes:
            seen = sock.recv(65536, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            arrived.append(seen.count(h2.OK))
            return message

        monkeypatch.setattr(server.do, "answer", answer)
        sock.sendall(BEGIN + crowd)
        until(lambda: len(arrived) == count, "all are answered")
    assert len(arrived) == count
    assert all(sent > n - 8 for n, sent in enumerate(arrived))


def test_out_of_descriptors(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    propagate: None,
) -> None:
    """It is said, nothing spins, and who waits is served when there are some again."""
    accept = socket.socket.accept
    refused: list[int] = []

    def full(self: socket.socket) -> object:
        if not refused:
            refused.append(1)
            raise OSError(errno.EMFILE, "")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", full)
    with looping(tmp_path) as server:
        assert server.call(b"x", timeout=10, wait_for_ready=True) == b"x"
    assert os.strerror(errno.EMFILE) in caplog.text


BEGUN = h2.frame(h2.HEADERS, 0, 1, b"") + h2.frame(h2.CONTINUATION, 0, 1, b"")


@pytest.mark.parametrize("said", [b"", h2.PREFACE[:7], h2.PREFACE, BEGIN + BEGUN])
def test_who_says_nothing_must_go(tmp_path: Path, said: bytes) -> None:
    """Nor may a header block be left half said."""
    with (
        looping(tmp_path, bounds=Bounds(stay=Stay(handshake=0.1))) as server,
        plain(server) as sock,
    ):
        sock.sendall(said)
        assert is_closed(sock)


@pytest.mark.parametrize("stay", [Stay(idle=0.1, ping=0.1), Stay(age=0.1, ping=0.1)])
def test_an_idle_or_old_connection_is_asked_to_go(tmp_path: Path, stay: Stay) -> None:
    """With GOAWAY, and is closed; a client does not notice."""
    with looping(tmp_path, bounds=Bounds(stay=stay)) as server:
        assert server.call(b"x", timeout=10) == b"x"
        with plain(server) as sock:
            sock.sendall(BEGIN)
            got = b""
            while more := sock.recv(65536):
                got += more
        assert h2.goaway(h2.MOST, h2.NO_ERROR) in got
        until(lambda: peers(server) == 0, "all are gone")
        assert server.call(b"x", timeout=10, wait_for_ready=True) == b"x"


def test_who_does_not_read(tmp_path: Path) -> None:
    """Is not read from any more, and must go after a while; others do not notice."""
    with looping(tmp_path, bounds=Bounds(stay=Stay(stuck=0.3))) as server, plain(server) as sock:
        pings = h2.frame(h2.PING, 0, 0, bytes(8)) * 500
        sock.sendall(BEGIN)
        until(lambda: peers(server) == 1, "it is there")
        (lazy,) = server.loop._peers.values()
        sock.setblocking(False)

        def pushed_out() -> bool:
            with suppress(OSError):  # full for the moment, or closed
                while True:
                    sock.send(pings)
            return peers(server) == 0

        until(pushed_out, "it is gone")
        assert len(lazy._unsent) < 2 * UNREAD
        assert server.call(b"x", timeout=10) == b"x"


class Trickle:
    """A socket whose other side reads a little at a time, and an epoll that is never asked."""

    def __init__(self, octets: int) -> None:
        self.octets = octets

    def send(self, data: bytes) -> int:
        return min(self.octets, len(data))

    def modify(self, *_: object) -> None: ...


@pytest.mark.parametrize(("octets", "stays"), [(1, False), (SLOW // 40, False), (SLOW, True)])
def test_who_reads_hardly_anything(
    monkeypatch: pytest.MonkeyPatch, octets: int, *, stays: bool
) -> None:
    """An octet now and then is not reading; a window full now and then is."""
    now = 0.0
    monkeypatch.setattr(peer, "time", SimpleNamespace(monotonic=lambda: now))
    trickle: Any = Trickle(octets)
    slow = peer.Peer(trickle, trickle, {}, Pool(1, 1, lambda: None), Limits(), Room(0), None)
    slow.http.feed(BEGIN)
    slow.http.out.append(bytes(100 * SLOW))
    with nullcontext() if stays else pytest.raises(peer.Gone):
        for _ in range(50):
            now += 1.0
            slow.look(now, Stay(stuck=30))


def test_rapid_reset(tmp_path: Path) -> None:
    """Of calls that threads have begun: what runs is bounded, what waits is dropped, each is
    accounted for, and others are served."""
    with looping(tmp_path) as server, plain(server) as sock:
        sock.sendall(BEGIN)
        encoder = Encoder()
        block = encoder.encode(REQUEST)
        count = 500
        for number in range(1, 2 * count, 2):
            head = h2.frame(h2.HEADERS, h2.END_HEADERS, number, block)
            data = h2.frame(h2.DATA, h2.END_STREAM, number, b"\0\0\0\0\4slow")
            sock.sendall(head + data)
            sock.sendall(h2.reset(number, h2.CANCEL))
            block = encoder.encode(REQUEST)
        assert server.call(b"x", timeout=10) == b"x"
        assert len(server.do.ran) <= THREADS
        assert server.loop._pool.waiting <= WAITING
        server.do.gate.set()
        until(lambda: server.loop._pool.waiting == 0, "nothing waits")
        assert server.call(b"slow", timeout=10) == b"waited"
        assert server.loop._room.free == Bounds().room


def test_a_crash_of_the_loop_itself(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    propagate: None,
) -> None:
    """Is told, and does not end it."""
    with looping(tmp_path) as server:
        server.loop.call(lambda: 1 / 0)  # type: ignore[arg-type]
        until(lambda: "the loop crashed" in caplog.text, "it is told")
        assert server.call(b"x", timeout=10) == b"x"


def test_a_broken_peer_is_told_and_closed(tmp_path: Path) -> None:
    with looping(tmp_path) as server, plain(server) as sock:
        sock.sendall(BEGIN + h2.frame(h2.PING, 0, 1, bytes(8)))
        got = b""
        while more := sock.recv(65536):
            got += more
        assert got.endswith(h2.goaway(0, h2.PROTOCOL))


def test_a_crash_in_one_connection_ends_that_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    propagate: None,
) -> None:
    """A bug of ours costs no other peer anything."""
    with looping(tmp_path) as server:
        assert server.call(b"x", timeout=10) == b"x"
        with plain(server) as sock:
            until(lambda: peers(server) == 2, "both are there")
            crashing = list(server.loop._peers.values())[-1]
            monkeypatch.setattr(crashing.http, "feed", lambda _: 1 / 0)
            sock.sendall(BEGIN)
            assert is_closed(sock)
        assert server.call(b"x", timeout=10) == b"x"
    assert "a connection crashed" in caplog.text
