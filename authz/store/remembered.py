"""What this process remembers of secrets that it has seen proven, such as verified tokens.

Under a MAC with a key of this process alone: nothing of a secret can be read back.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Any


class Remembered:
    """Thread-safe. At most `limit` values; what was used last goes last."""

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        # Keyed BLAKE2 (RFC 7693): half the price of HMAC, and nobody else has to know it.
        self._mac = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=16)
        self._values: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, tenant: str, secret: str) -> Any | None:
        """What was remembered, or None."""
        tag = self._tag(tenant, secret)
        value = self._values.get(tag)
        # When something must go, what was used last goes last.
        if value is not None and len(self._values) >= self._limit:
            with suppress(KeyError):
                self._values.move_to_end(tag)
        return value

    def remember(self, tenant: str, secret: str, value: Any) -> None:
        """Keep a value; it replaces what was remembered before."""
        tag = self._tag(tenant, secret)
        with self._lock:
            self._values[tag] = value
            self._values.move_to_end(tag)
            while len(self._values) > self._limit:
                self._values.popitem(last=False)

    def _tag(self, tenant: str, secret: str) -> bytes:
        mac = self._mac.copy()
        mac.update(f"{tenant}\0{secret}".encode("utf-8", "surrogateescape"))
        return mac.digest()

    def __len__(self) -> int:
        return len(self._values)
