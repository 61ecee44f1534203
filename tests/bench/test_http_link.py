"""What comes back through Envoy is held to account as well."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from authz.bench.http_link import BODY, HttpLink
from authz.bench.order import Faulted, Sent, Wrong

OK = b"HTTP/1.1 200 OK\r\nServer: envoy\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
DENIED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\ndate: now\r\n\r\nno"
REQUESTS = [Sent(b"GET /a\r\n\r\n", "c0"), Sent(b"GET /b\r\n\r\n", "401")]


@pytest.fixture
def pair() -> Iterator[tuple[HttpLink, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield HttpLink(ours, REQUESTS), theirs


@pytest.mark.parametrize(("index", "answer"), [(0, OK), (1, DENIED)])
def test_the_right_answer(pair: tuple[HttpLink, socket.socket], index: int, answer: bytes) -> None:
    """Also when it comes in pieces; then the connection is free again."""
    link, theirs = pair
    link.ask(index, 1.0)
    assert link.free == 0
    assert not link.flush()
    assert theirs.recv(100) == REQUESTS[index].octets
    for at in range(len(answer)):
        assert not link.done
        theirs.sendall(answer[at : at + 1])
        link.receive()
    assert link.done == [1.0]
    assert link.free == 1


@pytest.mark.parametrize(
    ("index", "answer", "told"),
    [
        (0, DENIED, "expected 200, was answered 401"),
        (1, OK, "expected 401, was answered 200"),
        (0, OK.replace(BODY, BODY.upper()), "expected 200, was answered 200"),
        (0, OK + OK, "expected 200"),
        (0, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "not an answer of Envoy's"),
    ],
)
def test_a_wrong_answer(
    pair: tuple[HttpLink, socket.socket], index: int, answer: bytes, told: str
) -> None:
    link, theirs = pair
    link.ask(index, 1.0)
    theirs.sendall(answer)
    with pytest.raises(Wrong, match=told):
        link.receive()


def test_a_fault_is_told_apart(pair: tuple[HttpLink, socket.socket]) -> None:
    link, theirs = pair
    link.ask(0, 1.0)
    theirs.sendall(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
    with pytest.raises(Faulted):
        link.receive()


def test_a_closed_connection_is_told(pair: tuple[HttpLink, socket.socket]) -> None:
    link, theirs = pair
    theirs.close()
    with pytest.raises(Wrong, match="closed"):
        link.receive()
