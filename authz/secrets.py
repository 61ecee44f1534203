"""Secrets at rest: the key ring, keyed digests and record seals.

The key ring stays outside the store. It is a list of 256-bit keys, newest first: the newest
writes, all of them read. One that is marked as prepared only reads: it is on its way to be the
newest, and every worker must know it before anything is written with it. From each key three
subkeys are derived (HKDF-SHA256, RFC 5869), one a purpose, so that no two uses share a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets as randomness
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from authz.hashes import hash_password, verify_password

KEY_BYTES = 32
NONCE_BYTES = 12
#: What follows a key that does not write yet.
PREPARED = ":prepared"
_LINE = re.compile(rf"([A-Za-z0-9_-]{{1,32}}):([A-Za-z0-9+/_=-]+)({PREPARED})?")
_DIGEST = re.compile(r"[A-Za-z0-9_-]{1,32}\.[A-Za-z0-9_-]{43}")


class KeyRingError(Exception):
    """The key ring is missing, malformed, or not the one that the store was written with."""


class SealBroken(Exception):
    """A record of the store was not written by a holder of the key ring, or not for this place."""


class Mac:
    """HMAC (RFC 2104) under one key, its two pads hashed beforehand: for messages that are short,
    as here, that is a third of the cost of `hmac.digest`. `name` is the hash's, as in hashlib."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, name: str = "sha256") -> None:
        self._inner, self._outer = hashlib.new(name), hashlib.new(name)
        size = self._inner.block_size
        if len(key) > size:
            key = hashlib.new(name, key).digest()
        padded = key.ljust(size, b"\0")
        self._inner.update(bytes(octet ^ 0x36 for octet in padded))
        self._outer.update(bytes(octet ^ 0x5C for octet in padded))

    def digest(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mac) and hmac.compare_digest(self.digest(b""), other.digest(b""))

    def __hash__(self) -> int:
        return hash(self.digest(b""))


class Subkeys(Struct, frozen=True):
    """What one key of the ring is used for. Never printed."""

    id: str
    index: Mac
    record: Mac
    secret: bytes
    prepared: bool = False

    def tag(self, name: str, payload: bytes) -> bytes:
        """What proves that a record was written under this key, for this name."""
        return _b64(self.record.digest(_framed(name, payload)))

    def __repr__(self) -> str:
        return f"Subkeys({self.id})"

    @property
    def mark(self) -> str:
        """What tells this key from others of its id, and nothing of the key. No look-up key is made
        of a text without a NUL."""
        return _b64(self.index.digest(b"authz/1/mark")).decode()[:12]


class KeyRing(Struct):
    """Keys, in the order in which they are tried: the first writes. `keys` is replaced whole, and
    every method takes it once, so that nobody sees half of a change."""

    keys: tuple[Subkeys, ...]

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """Lines of `id:base64`, newest first; what follows a `#` is a comment. In one line, for an
        environment variable, they are separated by commas. `id:base64:prepared` is a key that does
        not write yet."""
        keys = [_subkeys(content, number) for number, content in entries(text)]
        if not keys:
            raise KeyRingError("the key ring is empty; `authz keyring create FILE` makes one")
        if len({key.id for key in keys}) < len(keys):
            raise KeyRingError("the key ring names one key id twice")
        keys.sort(key=lambda key: key.prepared)
        if keys[0].prepared:
            raise KeyRingError(
                f"no key of the key ring writes: take `{PREPARED}` away from the newest that all "
                "workers know"
            )
        return cls(tuple(keys))

    def adopt(self, other: KeyRing) -> None:
        """Take over another's keys. Whoever holds this ring has them from now on."""
        self.keys = other.keys

    @property
    def writer(self) -> str:
        """The id of the key that writes."""
        return self.keys[0].id

    @property
    def marks(self) -> dict[str, str]:
        """What tells each key, by its id."""
        return {key.id: key.mark for key in self.keys}

    def digests(self, kind: str, tenant: str, secret: str) -> tuple[str, ...]:
        """The look-up keys of a secret, under the newest key first."""
        message = f"{tenant}\0{kind}\0{secret}".encode("utf-8", "surrogateescape")
        return tuple([f"{key.id}.{_b64(key.index.digest(message)).decode()}" for key in self.keys])

    def knows(self, digest: str) -> bool:
        return bool(_DIGEST.fullmatch(digest)) and any(
            key.id == digest.partition(".")[0] for key in self.keys
        )

    def seal(self, name: str, payload: bytes) -> bytes:
        """A record bound to its place: it verifies only under the name it was sealed for."""
        key = self.keys[0]
        return b"%b.%b.%b" % (key.id.encode(), key.tag(name, payload), payload)

    def encrypt(self, secret: bytes) -> str:
        """A secret that must be had back, as text (AES-256-GCM under the newest key)."""
        key = self.keys[0]
        nonce = randomness.token_bytes(NONCE_BYTES)
        sealed = AESGCM(key.secret).encrypt(nonce, secret, None)
        return f"{key.id}.{_b64(nonce + sealed).decode()}"

    def decrypt(self, text: str) -> bytes:
        """What was encrypted. Raises `SealBroken`."""
        identifier, _, encoded = text.partition(".")
        try:
            data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            for key in self.keys:
                if key.id == identifier and _b64(data) == encoded.encode():
                    nonce, sealed = data[:NONCE_BYTES], data[NONCE_BYTES:]
                    return AESGCM(key.secret).decrypt(nonce, sealed, None)
        except (InvalidTag, ValueError):
            pass
        raise SealBroken("an encrypted secret")

    def unseal(self, name: str, record: bytes) -> bytes:
        """The payload of a sealed record. Raises `SealBroken`."""
        identifier, _, rest = record.partition(b".")
        tag, dot, payload = rest.partition(b".")
        for key in self.keys:
            known = dot and key.id.encode() == identifier
            if known and hmac.compare_digest(key.tag(name, payload), tag):
                return payload
        raise SealBroken(name)


def _framed(name: str, payload: bytes) -> bytes:
    """Name and payload, so that no part of one can pass for a part of the other."""
    encoded = name.encode()
    return len(encoded).to_bytes(4, "big") + encoded + payload


def entries(text: str) -> Iterator[tuple[int, str]]:
    """The keys of a ring's text as they are written, each with the number of its line."""
    for number, line in enumerate(text.splitlines(), 1):
        for content in line.partition("#")[0].replace(",", " ").split():
            yield number, content


def _subkeys(content: str, number: int) -> Subkeys:
    found = _LINE.fullmatch(content)
    try:
        key = base64.b64decode(found[2], altchars=None, validate=True) if found else b""
    except binascii.Error:
        key = b""
    if not found or len(key) != KEY_BYTES:
        raise KeyRingError(f"key ring line {number}: expected `id:base64 of {KEY_BYTES} bytes`")
    index, record, secret = (_derive(key, name) for name in (b"index", b"record", b"secret"))
    return Subkeys(found[1], Mac(index), Mac(record), secret, bool(found[3]))


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"authz/1/" + purpose).derive(key)


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _b64(data: bytes) -> bytes:
    """In base64url without padding (RFC 4648 section 5)."""
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE, b"=")


HEADLINE = "# authz key ring, newest key first. Whoever has it and the store has the keys."


def new_entry() -> str:
    """A fresh key as a ring's text has it."""
    key = base64.b64encode(randomness.token_bytes(KEY_BYTES)).decode()
    return f"k{randomness.token_hex(4)}:{key}"


def create_keyring(path: Path) -> None:
    """Write a new key ring of one key, readable by its owner alone. Never overwrites."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{HEADLINE}\n{new_entry()}\n")


def read_keyring(path: Path | None, text: str | None) -> KeyRing:
    """The key ring from a file or from text. The error says what to do."""
    if text:
        return KeyRing.parse(text)
    if path is None:
        raise KeyRingError(
            "no key ring: give --keyring-file FILE or AUTHZ_KEYRING; "
            "`authz keyring create FILE` makes one"
        )
    try:
        return KeyRing.parse(path.read_text())
    except FileNotFoundError:
        raise KeyRingError(
            f"key ring {path} does not exist; restore it, or for an empty store make one: "
            f"authz keyring create {path}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyRingError(f"key ring {path} cannot be read: {error.__class__.__name__}") from None


class KeyRingVault:
    """The `Vault` of `authz.contracts`: how drafts are written to the store."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring

    def digest(self, kind: str, tenant: str, secret: str) -> str:
        return self.ring.digests(kind, tenant, secret)[0]

    def is_digest(self, text: str) -> bool:
        return self.ring.knows(text)

    def hash_password(self, password: str) -> str:
        return hash_password(password)

    def password_matches(self, password: str, hashed: str) -> bool:
        return verify_password(password, hashed)

    def encrypt(self, secret: bytes) -> str:
        return self.ring.encrypt(secret)

    def decrypt(self, text: str) -> bytes:
        try:
            return self.ring.decrypt(text)
        except SealBroken:
            raise ValueError("not encrypted under a key of the key ring") from None


class Recoverable:
    """A secret that must be had back, such as the key of a signature: in memory as it is, in the
    store encrypted."""

    # No Struct: the codec would write one by itself, in the clear.
    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recoverable) and hmac.compare_digest(self.value, other.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return "Recoverable()"
