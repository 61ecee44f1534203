"""Certificates for tests: a CA, and what it signs."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authz.server.probe import Trust

_START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)
#: The name in every certificate of a server.
NAME = "authz.test"


class Authority:
    """A CA whose files are `NAME.pem` and `NAME.key` in a directory."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(_pem(self._certificate))

    def issue(self, name: str, *, server: bool = True) -> tuple[Path, Path]:
        """Files of a certificate and its key, put in place of those that were there before."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        places = [x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            _builder(_named(name), self._name, key)
            .add_extension(x509.SubjectAlternativeName(places), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        written = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private = key.private_bytes(*written, serialization.NoEncryption())
        return self._put(f"{name}.pem", _pem(certificate)), self._put(f"{name}.key", private)

    def _put(self, name: str, content: bytes) -> Path:
        path, new = self.directory / name, self.directory / f"{name}.new"
        new.write_bytes(content)
        new.rename(path)
        return path

    def trust(self, client: str | None = None) -> Trust:
        """Of a client that believes this CA, and shows a certificate of it if it has a name."""
        if client is None:
            return Trust(self.file.read_bytes(), name=NAME)
        cert, key = self.issue(client, server=False)
        return Trust(self.file.read_bytes(), cert.read_bytes(), key.read_bytes(), NAME)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_START)
        .not_valid_after(_END)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
