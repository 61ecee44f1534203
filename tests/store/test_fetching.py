"""Fetching over HTTPS: only from addresses that were judged, whole, small, and in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from authz.store import connecting
from authz.store.connecting import REASONS, FetchError, is_public
from authz.store.fetching import Fetched, Fetcher
from tests.support.sites import Answer, Authority, Site, answer, site
from tests.support.waiting import until

BODY = b'{"keys": []}'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[Site]:
    """An HTTPS server for 127.0.0.1 and keys.test."""
    with site(authority.context("127.0.0.1", "keys.test")) as made:
        made.answer = answer(BODY)
        yield made


@pytest.fixture
def plain() -> Iterator[Site]:
    with site() as made:
        yield made


@pytest.fixture
def fetcher(authority: Authority) -> Fetcher:
    """One that may connect to this machine."""
    return Fetcher(allow_private=True, ca_file=authority.ca_file)


def refusal(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(FetchError) as caught:
        fetcher.get(url)
    assert caught.value.reason in REASONS
    return caught.value.reason


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Make `keys.test` resolve to these; returns the names that will have been asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def fake(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        names = addresses if host == "keys.test" else (host,)
        return [entry for name in names for entry in real(name, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return asked


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
    assert time.monotonic() - began < 2


def test_a_handshake_that_never_ends(plain: Site) -> None:
    """A server that listens, and says nothing, where TLS was expected."""
    plain.answer = lambda connection: drip(connection, plain, b"", b"")
    fetcher = Fetcher(allow_private=True, timeout=0.3)

    assert refusal(fetcher, plain.url.replace("http:", "https:")) == "timeout"


def test_nobody_listens(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    assert refusal(fetcher, f"http://127.0.0.1:{port}/") == "unreachable"


# -- who answers -----------------------------------------------------------------------------------


def test_the_certificate_must_be_of_an_authority_that_is_trusted(secure: Site) -> None:
    """By default the system's authorities are, and ours is none of them."""
    assert refusal(Fetcher(allow_private=True), secure.url) == "tls_failed"
    assert secure.heads == []


def test_the_certificate_must_name_the_host(
    fetcher: Fetcher, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the connection goes to an address changes nothing of it."""
    resolving(monkeypatch, "127.0.0.1")
    with site(authority.context("other.test", "127.0.0.1")) as other:
        assert refusal(fetcher, f"https://keys.test:{other.port}/") == "tls_failed"
        assert other.heads == []


def test_a_name_is_resolved_once_and_told_to_the_server(
    fetcher: Fetcher, secure: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is made to the address that was judged, so a second answer of the DNS has no
    part in it; TLS and HTTP still name the host."""
    asked = resolving(monkeypatch, "127.0.0.1")

    assert fetcher.get(f"https://keys.test:{secure.port}/").body == BODY

    assert asked == ["keys.test", "127.0.0.1"]  # the second is how a socket reads an address
    assert secure.names == ["keys.test"]
    assert f"\r\nHost: keys.test:{secure.port}\r\n" in secure.heads[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "keys.test"])
def test_private_addresses_are_not_connected_to(
    authority: Authority, secure: Site, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """However they are written, and whoever resolves to them."""
    resolving(monkeypatch, "127.0.0.1", "10.0.0.1")
    fetcher = Fetcher(ca_file=authority.ca_file)

    assert refusal(fetcher, f"https://{host}:{secure.port}/keys") == "address_refused"
    assert (secure.names, secure.heads) == ([], [])


def test_of_several_addresses_only_judged_ones_are_tried(
    authority: Authority, secure: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one, when the first does not answer."""
    resolving(monkeypatch, "10.255.255.1", "127.0.0.3", "127.0.0.1")
    monkeypatch.setattr(connecting, "is_public", lambda address: address.startswith("127."))
    fetcher = Fetcher(ca_file=authority.ca_file)

    # Port by port: nobody listens at 127.0.0.3.
    assert fetcher.get(f"https://keys.test:{secure.port}/").body == BODY


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/keys",
        "file:///etc/passwd",
        "ftp://keys.test/",
        "https:///keys",
        "https://user:pass@keys.test/",
        "https://keys.test:99999/",
        "https://[::1/",
        "https://keys.test/a b",
        "https://keys.test/\r\nX: y",
        "https://kéys.test/",
        "keys.test/keys",
        "",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    """Before anything is resolved. `http:` is for private networks only."""
    assert refusal(Fetcher(), url) == "url_refused"


def test_an_unknown_name(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    assert refusal(fetcher, "https://keys.test/") == "unresolved"
    assert refusal(fetcher, f"https://{'a' * 70}.test/") == "unresolved"


def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver knows no time limit: it is left behind, and never many times."""
    release = threading.Event()
    ended: list[str] = []

    def hang(host: str, *args: Any, **kwargs: Any) -> Any:
        release.wait(20)
        ended.append(host)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    fetcher = Fetcher(timeout=0.05)
    reasons = [refusal(fetcher, f"https://{n}.test/") for n in range(6)]
    release.set()
    until(lambda: len(ended) == 4, "the resolvers' end")

    assert reasons == ["timeout"] * 4 + ["unresolved"] * 2
    until(lambda: refusal(Fetcher(), "https://keys.test/") == "address_refused", "a free resolver")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("64:ff9b::5db8:d70e", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("224.0.0.251", False),
        ("239.1.1.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fe80::1%1", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("::7f00:1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::1", False),
        ("2002:7f00:1::", False),
        ("2002:5db8:d70e::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("2001:db8::1", False),
    ],
)
def test_addresses(address: str, public: bool) -> None:
    """Only those of one machine on the public Internet; an address inside another is judged too."""
    assert is_public(address) is public


def test_an_authority_that_is_not_there(tmp_path: Path) -> None:
    """Told when the service starts, not when the first keys are needed."""
    with pytest.raises(FileNotFoundError):
        Fetcher(ca_file=str(tmp_path / "none.pem"))
