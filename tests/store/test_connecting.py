"""Connecting: only to addresses that were judged, and to who can prove to be the host."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from authz.store import connecting
from authz.store.connecting import REASONS, FetchError, is_public
from authz.store.fetching import Fetcher
from tests.support.sites import Authority, Site, site
from tests.support.waiting import until

BODY = b'{"keys": []}'


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
    fetcher = Fetcher(ca_file=authority.ca_file, timeout=20)

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
    began: list[str] = []
    ended: list[str] = []

    def hang(host: str, *args: Any, **kwargs: Any) -> Any:
        began.append(host)
        release.wait(20)
        ended.append(host)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    hurried, patient = Fetcher(timeout=0.05), Fetcher(timeout=20)
    for number in range(4):
        assert refusal(hurried, f"https://{number}.test/") == "timeout"
    until(lambda: len(began) == 4, "four resolvers")
    assert [refusal(patient, f"https://{n}.test/") for n in "ab"] == ["unresolved"] * 2

    release.set()
    until(lambda: len(ended) == 4, "the resolvers' end")
    until(lambda: refusal(patient, "https://c.test/") == "address_refused", "a free resolver")


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
        ("fec0::1", False),
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
