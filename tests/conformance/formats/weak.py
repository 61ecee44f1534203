"""What vendors take, and a gateway document only where it says so."""

from __future__ import annotations

import base64
import binascii
from typing import Any

#: Bytes that a secret has at least (RFC 7518 section 3.2).
_LEAST = {"HS256": 32, "HS384": 48, "HS512": 64}


def short_secret(secret: Any, algorithm: str, *, encoded: bool) -> bool:
    """Whether a document wants `allow_weak_secret` beside this secret. `encoded`: it stands there
    in base64, of either alphabet. What is no secret for this algorithm is not short."""
    if not isinstance(secret, str) or algorithm not in _LEAST:
        return False
    return len(_decoded(secret) if encoded else secret.encode()) < _LEAST[algorithm]


def _decoded(secret: str) -> bytes:
    body = secret.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except binascii.Error:
        return b""
