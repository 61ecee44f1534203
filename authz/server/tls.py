"""TLS towards Envoy: certificate files as both transports need them, read again when replaced."""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path
from typing import NoReturn

from authz.config import SettingsError, TlsFiles

logger = logging.getLogger("authz")

#: Seconds between looks at the files, and attempts to read them while they are replaced.
LOOK, ATTEMPTS = 1.0, 10
#: Of TLS 1.2 what HTTP/2 does not forbid (RFC 9113, appendix A); 1.3 has no others.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: What identifies a file's content: when it was written, which one it is, its size.
Stamp = tuple[tuple[int, int, int], ...]


class Loaded:
    """Files that belong together: as a context, and their bytes."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises `SettingsError`."""
        self.cert = _read("tls_cert_file", files.cert)
        self.key = _read("tls_key_file", files.key)
        self.client_ca = _read("tls_client_ca_file", files.client_ca) if files.client_ca else None
        self.context = _context(files)


class Certificates:
    """The newest files that can be used. From any thread."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises `SettingsError`, which names the file and what is wrong with it."""
        self._files, self._lock = files, threading.Lock()
        self._loaded, self._stamp = _consistent(files)
        self._looked = 0.0

    def current(self, now: float) -> Loaded:
        """Looks for new ones once a second at the most; the same object while there are none. Files
        that cannot be used are named in the log once, and the last good ones stay."""
        with self._lock:
            if now - self._looked >= LOOK:
                self._looked = now
                self._renew()
            return self._loaded

    def _renew(self) -> None:
        stamp = _stamp(self._files)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._loaded, self._stamp = _consistent(self._files)
            logger.info("a new certificate is in use")
        except SettingsError as error:
            logger.error("the last certificate stays in use: %s", error)


def _consistent(files: TlsFiles) -> tuple[Loaded, Stamp]:
    """Files as they were at one moment. Raises `SettingsError`."""
    for _ in range(ATTEMPTS):
        stamp = _stamp(files)
        loaded = Loaded(files)
        if _stamp(files) == stamp:
            return loaded, stamp
    raise SettingsError(f"tls_cert_file: {files.cert}: it, its key or its CA changes all the time")


def _stamp(files: TlsFiles) -> Stamp:
    return tuple(_stamp_of(path) for path in (files.cert, files.key, files.client_ca) if path)


def _stamp_of(path: str) -> tuple[int, int, int]:
    try:
        found = Path(path).stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(setting: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting}: {path}: {error.strerror}") from None


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["h2"])
    # Connections last, so nothing is gained by resuming sessions; and a session that is resumed
    # would not be asked for its certificate again.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    _load_chain(context, files)
    if files.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authorities(context, "tls_client_ca_file", files.client_ca)
    return context


def _load_chain(context: ssl.SSLContext, files: TlsFiles) -> None:
    def encrypted() -> NoReturn:
        raise SettingsError(f"tls_key_file: {files.key}: it is encrypted; give it without password")

    try:
        context.load_cert_chain(files.cert, files.key, password=encrypted)
    except ssl.SSLError as error:
        _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "tls_cert_file", files.cert)
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"it is not the key of the certificate in {files.cert}"
        else:
            why = f"expected a private key in PEM for {files.cert} ({error.reason})"
        raise SettingsError(f"tls_key_file: {files.key}: {why}") from None


def _load_authorities(context: ssl.SSLContext, setting: str, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise SettingsError(
            f"{setting}: {path}: expected a certificate in PEM ({error.reason})"
        ) from None
