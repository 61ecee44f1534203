"""Keys that are meant to be published, in whatever spelling: none of them is a secret.

An operator who pastes a public key where a secret belongs lets everybody sign, because everybody
may know it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

_WHITE_SPACE = re.compile(rb"\s+")
#: PEM, of private keys as well: who writes one here mistook the field.
_PEM = b"-----BEGIN "
#: OpenSSH's, as a line of a file or as what its base64 stands for (RFC 4253 section 6.6).
_OPENSSH = re.compile(rb"\s*(?:\0\0\0.)?(?:sk-)?(?:ssh-|ecdsa-sha2-)", re.DOTALL)
#: A JWK, a set of them or a list. Not parsed: with a mistake in it, it is no secret either.
_JWK = re.compile(rb"(?:\xef\xbb\xbf)?\s*[{\[].*\"kty\"\s*:", re.DOTALL)
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")


def is_published(secret: bytes) -> bool:
    """Whether a secret is a public key: PEM, DER, a certificate, OpenSSH or JWK, as it is or
    encoded up to twice (base64 in either alphabet, hexadecimal)."""
    readings = {secret}
    for _ in range(2):
        readings |= {decode(each) for each in readings for decode in (_base64, _hexadecimal)}
    return any(_is_key(each) for each in readings)


def _is_key(data: bytes) -> bool:
    return bool(_PEM in data or _OPENSSH.match(data) or _JWK.match(data)) or _is_der(data)


def _base64(text: bytes) -> bytes:
    body = _WHITE_SPACE.sub(b"", text).rstrip(b"=").translate(_URL_ALPHABET)
    return _decoded(base64.b64decode, body + b"=" * (-len(body) % 4))


def _hexadecimal(text: bytes) -> bytes:
    return _decoded(binascii.unhexlify, _WHITE_SPACE.sub(b"", text))


def _decoded(decode: Callable[[bytes], bytes], text: bytes) -> bytes:
    try:
        return decode(text)
    except ValueError:
        return b""


def _is_der(data: bytes) -> bool:
    if not data.startswith(b"\x30"):
        return False
    for load in (load_der_public_key, x509.load_der_x509_certificate):
        try:
            load(data)
        except (ValueError, UnsupportedAlgorithm):
            continue
        return True
    return False
