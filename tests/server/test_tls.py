"""TLS on both transports: whom they serve, what they refuse, and certificates that are replaced."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from typer.testing import CliRunner

from authz.cli import app
from authz.config import Settings, SettingsError, TlsFiles, read
from authz.server import grpcio_transport, tls
from authz.server.h2 import frames as h2
from authz.server.h2 import loop
from authz.server.h2.loop import Bounds
from authz.server.h2.peer import Stay
from authz.server.h2.transport import H2
from authz.server.metrics import Recorder
from authz.server.probe import connect, probe
from authz.server.service import Service
from authz.server.tls import Certificates
from authz.server.transport import Transport, open_transport
from tests.support.certificates import NAME, Authority
from tests.support.checks import Seen
from tests.support.transports import BOTH, CHECK, MESSAGE, Asked, Lines, asking, seen
from tests.support.waiting import until

PORT = "127.0.0.1:0"
NOT_READY = Seen("fault", 503, "not_ready")


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def files(ca: Authority, *, mutual: bool = False) -> dict[str, Any]:
    """Settings of a server."""
    cert, key = ca.issue("server")
    made = {"tls_cert_file": str(cert), "tls_key_file": str(key)}
    return {**made, "tls_client_ca_file": str(ca.file)} if mutual else made


def dial(address: str) -> socket.socket:
    """A connection without a client's manners."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(address.removeprefix("unix:"))
        return sock
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def is_hung_up(sock: socket.socket) -> bool:
    """By the other side, whatever it says before."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    return True  # a timeout is an error of its own


def context(ca: Authority, *alpn: str) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(ca.file))
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


# -- who is served ---------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", PORT], ids=["unix", "tcp"])
def test_checks_and_probes(kind: str, ca: Authority, tmp_path: Path, address: str) -> None:
    """Over TLS, on either kind of socket; a client that speaks plain text or believes another CA is
    not served."""
    other = Authority(tmp_path, "other")
    with asking(kind, tmp_path, address=address, trust=ca.trust(), **files(ca)) as asked:
        assert seen(asked.check(MESSAGE, timeout=10)) == NOT_READY
        assert probe(asked.address, 10, ca.trust()) == "NOT_SERVING"
        assert probe(asked.address, 0.3) != "NOT_SERVING"
        assert probe(asked.address, 0.3, other.trust()) != "NOT_SERVING"
        assert seen(asked.check(MESSAGE, timeout=10)) == NOT_READY


def test_mutual_tls(kind: str, ca: Authority, tmp_path: Path) -> None:
    """A client without a certificate, or with another CA's, is not served, though it believes
    ours."""
    other = Authority(tmp_path, "other")
    cert, key = other.issue("stranger", server=False)
    good = ca.trust("envoy")
    wrong = type(good)(good.ca, cert.read_bytes(), key.read_bytes(), good.name)
    with asking(kind, tmp_path, trust=good, **files(ca, mutual=True)) as asked:
        assert seen(asked.check(MESSAGE, timeout=10)) == NOT_READY
        for trust in (ca.trust(), wrong):
            with connect(asked.address, trust) as channel, pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(CHECK)(MESSAGE, timeout=10)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert len(asked.lines) == 1


def test_a_certificate_for_servers_is_none_of_a_client(
    kind: str, ca: Authority, tmp_path: Path
) -> None:
    """Though the right CA signed it: a stolen certificate of an upstream opens nothing here."""
    good = ca.trust("envoy")
    cert, key = ca.issue("upstream", server=True)
    wrong = type(good)(good.ca, cert.read_bytes(), key.read_bytes(), good.name)
    with asking(kind, tmp_path, trust=good, **files(ca, mutual=True)) as asked:
        assert probe(asked.address, 10, good) == "NOT_SERVING"
        assert probe(asked.address, 0.5, wrong) != "NOT_SERVING"


def test_h2_is_to_be_chosen(kind: str, ca: Authority, tmp_path: Path) -> None:
    """By ALPN (RFC 9113, 3.2): nothing is said to who does not, or who wants something else."""
    with asking(kind, tmp_path, trust=ca.trust(), **files(ca)) as asked:
        for alpn in ((), ("http/1.1",), ("h2",)):
            with dial(asked.address) as plain:
                said = _said(context(ca, *alpn), plain)
            assert (said[3:4] == bytes([h2.SETTINGS])) == (alpn == ("h2",))


def _said(context: ssl.SSLContext, plain: socket.socket) -> bytes:
    try:
        with context.wrap_socket(plain, server_hostname=NAME) as sock:
            sock.sendall(h2.PREFACE + h2.frame(h2.SETTINGS, 0, 0))
            return sock.recv(65536)
    except (ssl.SSLError, ConnectionError):
        return b""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_versions_are_refused(kind: str, ca: Authority, tmp_path: Path) -> None:
    """Below TLS 1.2, by the server; that one will do."""
    lowest, old = context(ca, "h2"), context(ca, "h2")
    lowest.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with asking(kind, tmp_path, trust=ca.trust(), **files(ca)) as asked:
        with (
            dial(asked.address) as plain,
            pytest.raises(ssl.SSLError, match=r"(?i)protocol.version|EOF"),
        ):
            old.wrap_socket(plain, server_hostname=NAME)
        with dial(asked.address) as plain:
            assert _said(lowest, plain)


@pytest.mark.parametrize("said", [h2.PREFACE + h2.frame(4, 0, 0), b"GET / HTTP/1.1\r\n\r\n"])
def test_plain_text_to_a_tls_port(kind: str, said: bytes, ca: Authority, tmp_path: Path) -> None:
    """Is hung up on; others are served."""
    with asking(kind, tmp_path, trust=ca.trust(), **files(ca)) as asked:
        with dial(asked.address) as sock:
            sock.sendall(said)
            assert is_hung_up(sock)
        assert seen(asked.check(MESSAGE, timeout=10)) == NOT_READY


def _impatient(kind: str, service: Service, made: Settings) -> Transport:
    assert made.tls
    if kind == "h2":
        return H2(made, service, Certificates(made.tls), Bounds(stay=Stay(handshake=0.2)))
    return open_transport(made, service)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "a part"])
def test_a_handshake_that_never_ends(
    kind: str, said: bytes, ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is ended by us, and keeps nobody waiting."""
    monkeypatch.setattr(grpcio_transport, "HANDSHAKE", 0.2)
    monkeypatch.setattr(loop, "QUIET", 0.05)
    service = Service(Recorder(), Lines())
    made = read({"transport": kind, **files(ca)}, {}, None)
    asked = Asked(_impatient(kind, service, made), service, PORT, ca.trust())
    try:
        with dial(asked.address) as sock:
            sock.sendall(said)
            assert seen(asked.check(MESSAGE, timeout=10)) == NOT_READY
            assert is_hung_up(sock)
    finally:
        asked.close()


# -- files -----------------------------------------------------------------------------------------


def _shown(asked: Asked, ca: Authority) -> bytes | None:
    with (
        dial(asked.address) as plain,
        context(ca, "h2").wrap_socket(plain, server_hostname=NAME) as sock,
    ):
        return sock.getpeercert(binary_form=True)


def test_new_files_are_taken_up(
    kind: str,
    ca: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    propagate: None,
) -> None:
    """Without a restart; bad ones are named once, and the last good ones stay in use."""
    monkeypatch.setattr(tls, "LOOK", 0.0)
    with asking(kind, tmp_path, address=PORT, trust=ca.trust(), **files(ca)) as asked:
        first = _shown(asked, ca)
        assert _shown(asked, ca) == first
        (tmp_path / "server.key").write_text("not a key")
        assert [_shown(asked, ca) for _ in range(3)] == [first] * 3
        told = [r.message for r in caplog.records if "the last certificate stays" in r.message]
        assert len(told) == 1
        assert "tls_key_file" in told[0]
        assert "not a key" not in told[0]

        ca.issue("server")
        second = _shown(asked, ca)
        assert second not in (None, first)
        assert seen(asked.check(MESSAGE, timeout=10)) == NOT_READY


def test_a_new_ca_of_clients_is_taken_up(
    kind: str, ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who only the old one knows comes in no more."""
    monkeypatch.setattr(tls, "LOOK", 0.0)
    newer = Authority(tmp_path, "newer")
    cert, key = newer.issue("new envoy", server=False)
    old = ca.trust("envoy")
    new = type(old)(old.ca, cert.read_bytes(), key.read_bytes(), old.name)
    clients = tmp_path / "clients.pem"
    clients.write_bytes(ca.file.read_bytes())
    settings = {**files(ca), "tls_client_ca_file": str(clients)}
    with asking(kind, tmp_path, address=PORT, trust=old, **settings) as asked:
        assert probe(asked.address, 10, old) == "NOT_SERVING"
        clients.write_bytes(newer.file.read_bytes())
        assert probe(asked.address, 10, new) == "NOT_SERVING"
        assert probe(asked.address, 0.5, old) != "NOT_SERVING"


def _encrypted(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    lock = BestAvailableEncryption(b"canary")
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "name", "complaint"),
    [
        (Path.unlink, "server.pem", "tls_cert_file: {path}: No such file"),
        (Path.unlink, "server.key", "tls_key_file: {path}: No such file"),
        (Path.unlink, "ca.pem", "tls_client_ca_file: {path}: No such file"),
        (_emptied, "server.pem", "tls_cert_file: {path}: expected a certificate in PEM"),
        (_emptied, "server.key", "tls_key_file: {path}: expected a private key in PEM"),
        (_emptied, "ca.pem", "tls_client_ca_file: {path}: expected a certificate in PEM"),
        (_encrypted, "server.key", "tls_key_file: {path}: it is encrypted"),
        (
            lambda path: path.write_bytes((path.parent / "other.key").read_bytes()),
            "server.key",
            "tls_key_file: {path}: it is not the key of the certificate in",
        ),
    ],
)
def test_files_that_cannot_be_used(
    spoil: Callable[[Path], None], name: str, complaint: str, ca: Authority, tmp_path: Path
) -> None:
    """The setting, the file, and what is expected of it."""
    given = files(ca, mutual=True)
    ca.issue("other")
    spoil(tmp_path / name)
    made = read(given, {}, None).tls
    assert made is not None
    with pytest.raises(SettingsError) as caught:
        Certificates(made)
    assert str(caught.value).startswith(complaint.format(path=tmp_path / name))


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"tls_cert_file": "c"}, "tls_key_file"),
        ({"tls_key_file": "k"}, "tls_cert_file"),
        ({"tls_client_ca_file": "a"}, "tls_cert_file"),
        ({"tls_cert_file": "c", "tls_client_ca_file": "a"}, "tls_key_file"),
    ],
)
def test_half_of_tls_is_refused(given: dict[str, str], missing: str) -> None:
    """It would be plain text."""
    with pytest.raises(SettingsError, match=f"{missing}: needed for TLS"):
        read(given, {}, None)


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    config = tmp_path / "authz.yaml"
    config.write_text("tls_cert_file: c.pem\ntls_key_file: /etc/k.pem\n")

    assert read({}, {}, config).tls == TlsFiles(str(tmp_path / "c.pem"), "/etc/k.pem", None)


def test_a_bad_file_ends_the_command(tmp_path: Path) -> None:
    """Before anything is started: one line, status 2."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "authz", "serve", "--metrics-listen", ""),
            *("--tls-cert-file", str(tmp_path / "no.pem"), "--tls-key-file", str(tmp_path / "no")),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"authz: tls_cert_file: {tmp_path}/no.pem: No such file or directory\n"


def test_the_command_health(kind: str, ca: Authority, tmp_path: Path) -> None:
    """Asks over TLS when it is told whom to believe."""
    cert, key = ca.issue("operator", server=False)
    with asking(kind, tmp_path, trust=ca.trust("envoy"), **files(ca, mutual=True)) as asked:
        asked.transport.serving()
        believe = ["--ca-file", str(ca.file), "--server-name", NAME]
        show = ["--cert-file", str(cert), "--key-file", str(key)]

        def said() -> str:
            return CliRunner().invoke(app, ["health", asked.address, *believe, *show]).output

        until(lambda: said() == "SERVING\n", "it serves")
        refused = CliRunner().invoke(app, ["health", asked.address, "--timeout", "0.3", *believe])
        assert refused.exit_code == 1
        assert "SERVING" not in refused.output
