"""Claims that the upstream is told: how they read as text, how long they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

#: Escaped, claims may take three times their bytes. With more than 32 KiB of headers Envoy answers
#: 500 to what was allowed, and many upstreams take less.
MAX_TOLD = 8 * 1024


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


def headers_of(
    claims_to_headers: Mapping[str, str], claims: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Headers, their names in lower case, and texts; a claim that is absent or empty is not
    told."""
    for claim, name in claims_to_headers.items():
        text = claim_text(claims.get(claim))
        if text:
            yield name.lower(), text


def _scalar(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else None
