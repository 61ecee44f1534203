"""Keys of JWT credentials as operators write them down, for every scheme that has some."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authz.contracts import Vault
from authz.jose.keys import MAX_PEM, VerifyKey, bound
from authz.references import Secret, recover
from authz.secrets import Recoverable

# fmt: off
Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512",
    "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA",
]
# fmt: on
MAX_URL = 2048


@contextmanager
def named(field: str) -> Iterator[None]:
    """Errors within are about this field of a draft."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def plain_text(written: Secret) -> str:
    """The text of what is no secret, but may stand in a file of its own."""
    if written.safe or not written.value.strip():
        raise ValueError("expected text that is not empty, or {file: PATH}")
    return written.value


def secret_bytes(written: bytes, *, encoded: bool) -> bytes:
    """The bytes that a secret stands for: itself, or what it is the base64 of (RFC 4648 section 4,
    padding optional)."""
    if not encoded:
        return written
    body = written.strip().rstrip(b"=")
    try:
        return base64.b64decode(body + b"=" * (-len(body) % 4), validate=True)
    except binascii.Error:
        raise ValueError("not base64, which base64_secret says that it is") from None


def private_key(written: Secret, key: VerifyKey, vault: Vault) -> Recoverable:
    """The private half of a public key, as PEM without a password."""
    pem = recover(written, vault)
    if len(pem) > MAX_PEM:
        raise ValueError(f"longer than {MAX_PEM} bytes")
    try:
        loaded: Any = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a private key in PEM without a password") from None
    if bound(key.algorithm, loaded.public_key()) != VerifyKey(key.algorithm, key.key):
        raise ValueError("not the private half of public_key")
    return Recoverable(pem)


def check_url(url: str) -> None:
    """Whether a key set may stand there, as far as the text tells."""
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        fit = False
    if not fit or len(url) > MAX_URL or not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("expected an https URL")
    if parts.username is not None or parts.password is not None or "#" in url:
        raise ValueError("expected a URL without user name, password and fragment")
