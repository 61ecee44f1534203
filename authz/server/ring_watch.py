"""The key ring of a worker, which follows its file.

A ring that is broken, or not the store's, is never adopted: the one that is in use stays.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from authz.contracts import StoreDown
from authz.secrets import KeyRing, KeyRingError, SealBroken, read_keyring
from authz.server.metrics import KEYRING, KEYRING_LOADS
from authz.store.open import Store

logger = logging.getLogger("authz")


class RingWatch:
    """`ring` is one object for good, whose keys change. `text` wins over the file, and stays."""

    def __init__(self, path: str | None, text: str | None) -> None:
        self._path = Path(path) if path and not text else None
        self._tried = self._content()
        self.ring = read_keyring(self._path, text)
        self._shown: tuple[str, ...] = ()
        self._show()

    @property
    def watched(self) -> bool:
        """Whether there is a file to follow."""
        return self._path is not None

    def look(self, store: Store) -> bool:
        """Whether the file changed and its keys were adopted. It is looked at again and again
        while the store, which must open with them, is away."""
        content = self._content()
        if self._path is None or content == self._tried:
            return False
        try:
            made = read_keyring(self._path, None)
            self._check(made, store)
        except StoreDown:
            return False
        except KeyRingError as error:
            self._tried = content
            KEYRING_LOADS.labels("refused").inc()
            logger.error("the key ring that is in use stays: %s: %s", self._path, error)
            return False
        self._tried = content
        self.ring.adopt(made)
        KEYRING_LOADS.labels("adopted").inc()
        self._show()
        return True

    def _content(self) -> bytes | None:
        """What tells one content of the file from another; a clock's tick may be too coarse."""
        if self._path is None:
            return None
        try:
            return hashlib.blake2b(self._path.read_bytes()).digest()
        except OSError:
            return b""

    def _check(self, made: KeyRing, store: Store) -> None:
        """Raises `KeyRingError` for a ring that is not this store's, and `StoreDown`."""
        names = [store.keys.epoch, store.keys.config]
        sealed = {
            name: raw
            for name, raw in zip(names, store.redis.read(names), strict=True)
            if raw is not None
        }
        if not _opens(made, sealed):
            raise KeyRingError(
                "it does not open what is in the store; put the old keys back, below the new one"
            )
        if not _opens(self.ring, sealed):
            return  # what is in use is of no use
        known = self.ring.marks
        for name, mark in made.marks.items():
            if known.get(name, mark) != mark:
                raise KeyRingError(
                    f"key {name} is another one than before; give a new key an id of its own"
                )

    def _show(self) -> None:
        keys = self.ring.keys
        for name in {*self._shown, *(key.id for key in keys)}:
            KEYRING.labels(name).set(any(key.id == name for key in keys))
        self._shown = tuple(key.id for key in keys)
        told = ", ".join(f"{key.id} (prepared)" if key.prepared else key.id for key in keys)
        logger.info("key ring: %s; %s writes", told, self.ring.writer)


def _opens(ring: KeyRing, sealed: dict[str, bytes]) -> bool:
    try:
        for name, raw in sealed.items():
            ring.unseal(name, raw)
    except SealBroken:
        return False
    return True
