"""What this process remembers of secrets that it has seen proven, such as verified tokens.

Under a MAC with a key of this process alone: nothing of a secret can be read back.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from typing import Any

from authz.secrets import Mac


class Remembered:
    """Thread-safe. At most `limit` values; what was used last goes last."""

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._mac = Mac(secrets.token_bytes(32))
        self._values: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, tenant: str, secret: str) -> Any | None:
        """What was remembered, or None."""
        tag = self._tag(tenant, secret)
        with self._lock:
            value = self._values.get(tag)
            if value is not None:
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
        return self._mac.digest(f"{tenant}\0{secret}".encode("utf-8", "surrogateescape"))

    def __len__(self) -> int:
        return len(self._values)
