"""A connection that asks over gRPC speaks as Envoy does, and reads what comes to the letter."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import hpack
import pytest

from authz.bench import grpc_link, nothing
from authz.bench.calls import verdict
from authz.bench.grpc_link import GrpcLink
from authz.bench.order import Faulted, Sent, Wrong
from authz.bench.people import FIRST
from authz.pb.external_auth_pb2 import CheckResponse
from authz.server.h2 import frames as h2


def test_the_header_block_is_a_checks() -> None:
    """What is sent first, and what then stands for it, mean the same to a decoder."""
    decoder = hpack.Decoder()
    blocks = (grpc_link.FIRST_BLOCK, grpc_link.BLOCK)
    first, again = (decoder.decode(block, raw=True) for block in blocks)

    assert first == again
    assert dict(first) == {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/envoy.service.auth.v3.Authorization/Check",
        b":authority": b"authz",
        b"te": b"trailers",
        b"grpc-timeout": b"1000m",
        b"content-type": b"application/grpc",
    }
    assert len(grpc_link.BLOCK) == 7


@pytest.fixture
def pair() -> Iterator[tuple[GrpcLink, socket.socket]]:
    """A link whose requests fill a frame, and the other end of its connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(5)
        yield GrpcLink(ours, [Sent(b"x" * 16000, FIRST)], 100, verdict), theirs


def messages(data: bytes) -> int:
    """DATA frames after the client's opening."""
    at, found = len(h2.PREFACE), 0
    while at < len(data):
        high, low, kind, _, _ = h2.head_of(data, at)
        found += kind == h2.DATA
        at += h2.HEAD + (high << 16 | low)
    assert at == len(data)
    return found


def receive_all(theirs: socket.socket) -> bytes:
    theirs.setblocking(False)
    found = b""
    try:
        while more := theirs.recv(1 << 20):
            found += more
    except BlockingIOError:
        return found
    return found


def test_the_peers_window_is_obeyed(pair: tuple[GrpcLink, socket.socket]) -> None:
    """What does not fit waits until the peer says more (RFC 9113, 5.2)."""
    link, theirs = pair
    for _ in range(6):
        link.ask(0, 0.0)
    assert not link.flush()
    first = receive_all(theirs)
    assert messages(first) == 4

    theirs.sendall(h2.window_update(0, 2 * 16005))
    link.receive()
    link.flush()
    assert messages(first + receive_all(theirs)) == 6
    assert link.free == 94


def test_pings_and_settings_are_answered(pair: tuple[GrpcLink, socket.socket]) -> None:
    link, theirs = pair
    streams = struct.pack(">HL", h2.STREAMS, 7)
    theirs.sendall(h2.frame(h2.SETTINGS, 0, 0, streams) + h2.frame(h2.PING, 0, 0, b"12345678"))
    link.receive()
    link.flush()

    assert link.free == 7
    acknowledged = h2.frame(h2.SETTINGS, h2.ACK, 0) + h2.frame(h2.PING, h2.ACK, 0, b"12345678")
    assert receive_all(theirs).endswith(acknowledged)


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (h2.goaway(0, h2.NO_ERROR), "the connection was ended"),
        (h2.reset(1, h2.CANCEL), "the call was ended"),
        (h2.frame(h2.HEADERS, h2.END_HEADERS, 1, b"\x8d"), "HTTP status 404"),
        (h2.frame(h2.HEADERS, 0, 1, h2.OK), "several frames"),
        (h2.frame(h2.HEADERS, 5, 1, h2.OK), "without a gRPC status"),
        (h2.frame(h2.HEADERS, 5, 1, h2.DONE), "not one gRPC message"),
        (
            h2.frame(h2.DATA, 0, 1, b"\0\0\0\0\x09ab") + h2.frame(h2.HEADERS, 5, 1, h2.DONE),
            "not one gRPC message",
        ),
    ],
)
def test_what_is_no_answer(pair: tuple[GrpcLink, socket.socket], frames: bytes, told: str) -> None:
    link, theirs = pair
    link.ask(0, 0.0)
    theirs.sendall(frames)
    with pytest.raises(Wrong, match=told):
        link.receive()


def test_a_closed_connection_is_told(pair: tuple[GrpcLink, socket.socket]) -> None:
    link, theirs = pair
    theirs.close()
    with pytest.raises(Wrong, match="closed"):
        link.receive()


def test_an_answer_in_pieces(pair: tuple[GrpcLink, socket.socket]) -> None:
    """However the bytes are cut, an answer is one."""
    link, theirs = pair
    link.ask(0, 42.0)
    body = nothing.allow().SerializeToString()
    message = struct.pack(">BL", 0, len(body)) + body
    octets = h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.OK)
    octets += h2.frame(h2.DATA, 0, 1, message[:10]) + h2.frame(h2.DATA, 0, 1, message[10:])
    octets += h2.frame(h2.HEADERS, 5, 1, h2.DONE)
    for at in range(len(octets)):
        assert not link.done
        theirs.sendall(octets[at : at + 1])
        link.receive()

    assert link.done == [42.0]
    assert link.idle


@pytest.mark.parametrize("status", [b"4", b"8", b"14"])
def test_too_late_is_a_fault(pair: tuple[GrpcLink, socket.socket], status: bytes) -> None:
    """As on a machine that stood still for a second: not a wrong answer."""
    link, theirs = pair
    link.ask(0, 0.0)
    theirs.sendall(h2.frame(h2.HEADERS, 5, 1, h2.OK + h2.literal(b"grpc-status", status)))
    with pytest.raises(Faulted, match=status.decode()):
        link.receive()


def test_an_error_without_a_reason() -> None:
    answer = CheckResponse()
    answer.status.code = 14
    answer.error_response.SetInParent()
    with pytest.raises(Faulted, match="without a reason"):
        verdict(answer.SerializeToString())
