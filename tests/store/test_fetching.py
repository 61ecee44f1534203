"""Fetching over HTTP and HTTPS: whole documents, small, and in time."""

from __future__ import annotations

import socket
import time

import pytest

from authz.store.connecting import REASONS, FetchError
from authz.store.fetching import Fetched, Fetcher
from tests.support.sites import Answer, Site, answer

BODY = b'{"keys": []}'


def refusal(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(FetchError) as caught:
        fetcher.get(url)
    assert caught.value.reason in REASONS
    return caught.value.reason


def test_a_document_is_fetched(fetcher: Fetcher, secure: Site) -> None:
    """Nothing but the host, and what we take, is told to the server."""
    assert fetcher.get(f"{secure.url}?v=1#part") == Fetched(BODY, None)

    assert secure.heads == [
        f"GET /keys?v=1 HTTP/1.1\r\nHost: 127.0.0.1:{secure.port}\r\n"
        "Accept: application/json\r\nAccept-Encoding: identity\r\n\r\n"
    ]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["Cache-Control: max-age=600"], 600),
        (["Cache-Control: public, MAX-AGE=600"], 600),
        (["cache-control: public", "Cache-Control: max-age=7"], 7),
        (["Cache-Control: max-age=600", "Age: 500"], 100),
        (["Cache-Control: max-age=600", "Age: 700"], 0),
        (["Cache-Control: max-age=600", "Age: soon"], 600),
        (["Cache-Control: max-age=600, no-store"], 0),
        (["Cache-Control: no-cache"], 0),
        (["Cache-Control: max-age=-1"], None),
        (["Cache-Control: max-age=\xb2"], None),
        (["Cache-Control: max-age=99999999999"], None),
    ],
)
def test_freshness(
    fetcher: Fetcher, plain: Site, headers: list[str], seconds: float | None
) -> None:
    """RFC 9111: what the answer says, less the time that it spent in caches."""
    plain.answer = answer(BODY, *headers)

    assert fetcher.get(plain.url).max_age == seconds


def sending(data: bytes) -> Answer:
    return lambda connection: connection.sendall(data)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (answer(b"", "Location: /other", status="302 Found"), "redirected"),
        (answer(b"", status="304 Not Modified"), "redirected"),
        (answer(BODY, status="404 Not Found"), "status_not_200"),
        (answer(BODY, status="500 Internal Server Error"), "status_not_200"),
        (answer(BODY, status="206 Partial Content"), "status_not_200"),
        (answer(BODY, "Content-Encoding: gzip"), "malformed_response"),
        (answer(b"x" * (256 * 1024 + 1)), "too_large"),
        (sending(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), "malformed_response"),
        (sending(b"SSH-2.0-OpenSSH_9.2\r\n"), "malformed_response"),
        (sending(b""), "malformed_response"),
    ],
)
def test_answers_that_are_refused(
    fetcher: Fetcher, plain: Site, written: Answer, reason: str
) -> None:
    """All but one whole document; a redirection is not followed."""
    plain.answer = written

    assert refusal(fetcher, plain.url) == reason
    assert len(plain.heads) == 1


def test_the_largest_document(fetcher: Fetcher, plain: Site) -> None:
    plain.answer = answer(b"x" * (256 * 1024))

    assert len(fetcher.get(plain.url).body) == 256 * 1024


def test_an_endless_body_is_left(fetcher: Fetcher, plain: Site) -> None:
    """The connection is closed as soon as there is too much, so the server cannot go on."""
    sent = 0

    def endless(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not plain.ending.is_set():
            connection.sendall(b"x" * 65536)
            sent += 65536

    plain.answer = endless

    assert refusal(fetcher, plain.url) == "too_large"
    plain.close()
    assert sent < 64 * 1024 * 1024


def drip(connection: socket.socket, site: Site, start: bytes, more: bytes) -> None:
    """Go on forever, each time soon enough to look alive."""
    connection.sendall(start)
    while not site.ending.wait(0.02):
        connection.sendall(more)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", b"x"),
    ],
    ids=["silence", "headers", "interim answers", "body"],
)
def test_the_whole_fetch_has_a_time_limit(plain: Site, start: bytes, more: bytes) -> None:
    """Not each step of it: a server that is slow without end would hold a thread without end."""
    plain.answer = lambda connection: drip(connection, plain, start, more)
    began = time.monotonic()

    assert refusal(Fetcher(allow_private=True, timeout=0.3), plain.url) == "timeout"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
    ],
    ids=["chunks of one byte", "interim answers"],
)
def test_a_flood_of_next_to_nothing(
    fetcher: Fetcher, plain: Site, start: bytes, more: bytes
) -> None:
    """It is over long before its payload is too large, or the time is up: each piece costs."""
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(start)
        while not plain.ending.is_set():
            connection.sendall(more)
            sent += len(more)

    plain.answer = flood

    assert refusal(fetcher, plain.url) == "too_large"
    plain.close()
    assert sent < 64 * 1024 * 1024


def test_a_handshake_that_never_ends(plain: Site) -> None:
    """A server that listens, and says nothing, where TLS was expected."""
    plain.answer = lambda connection: drip(connection, plain, b"", b"")
    fetcher = Fetcher(allow_private=True, timeout=0.3)

    assert refusal(fetcher, plain.url.replace("http:", "https:")) == "timeout"


def test_nobody_listens(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    assert refusal(fetcher, f"http://127.0.0.1:{port}/") == "unreachable"
