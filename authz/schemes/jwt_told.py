"""Claims that the upstream is told: which headers may, how they read as text, how long they are."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from authz.values import fold

#: Escaped, claims may take three times their bytes. With more than 32 KiB of headers Envoy answers
#: 500 to what was allowed, and many upstreams take less.
MAX_TOLD = 8 * 1024
#: Headers that routing, framing or other proxies rely on: no claim may set them.
_RESERVED = frozenset(
    (
        *("host", "content-length", "content-type", "content-encoding", "transfer-encoding"),
        *("connection", "keep-alive", "te", "trailer", "upgrade", "expect", "cookie", "forwarded"),
        *("authorization", "x-request-id", "x-real-ip", "via", "date"),
        # What some frameworks take for the request's own URL and method.
        *("x-original-url", "x-rewrite-url"),
        *("x-http-method", "x-http-method-override", "x-method-override"),
    )
)
_RESERVED_FAMILIES = ("x-consumer-", "x-credential-", "x-forwarded-", "x-envoy-", "proxy-")


def check_header_names(names: list[str]) -> None:
    """Raises ValueError for headers that no claim may set, and for one that is named twice."""
    for name in names:
        folded = fold(name)
        if folded in _RESERVED or folded.startswith(_RESERVED_FAMILIES):
            raise ValueError(f"{name}: no claim may set this header")
    if len({fold(name) for name in names}) < len(names):
        raise ValueError("one header is named twice")


def fit(*told: tuple[tuple[str, str], ...]) -> bool:
    """Whether these texts, escaped as they may travel, are not too long together."""
    return sum(len(quote(text, safe="")) for pairs in told for _, text in pairs) <= MAX_TOLD


def claim_text(value: Any) -> str | None:
    """A claim as text for an upstream; None for one that is absent or null.

    Text is told as it is, several plain values joined by commas, all else as JSON; a list in which
    a comma would be ambiguous, too.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [_scalar(each) for each in value]
        if all(part is not None and "," not in part for part in parts):
            return ",".join(part or "" for part in parts)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _scalar(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else None
