"""What signing gives: parameters to add to a request, and what was signed."""

from __future__ import annotations

import re

from msgspec import Struct

#: What no header may hold: it would end the line, or be read in two ways.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Signed(Struct, frozen=True):
    """Headers and query parameters to add to a request, in this order.

    Query names and values are not percent-encoded. `string_to_sign` is what the signature covers,
    None where nothing is signed. Text may hold surrogate escapes for bytes that are not UTF-8.
    """

    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    string_to_sign: str | None = None

    def __repr__(self) -> str:  # the values are credentials
        names = [name for name, _ in (*self.headers, *self.query)]
        return f"Signed({', '.join(names)})"


def octets(secret: str | bytes) -> bytes:
    """A secret, or a text to sign, as bytes: UTF-8, with surrogate escapes as they were."""
    return secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogateescape")


def printable(text: str, what: str) -> str:
    """Text that may stand in a header. Raises ValueError, which does not repeat it."""
    if not text or _CONTROL.search(text):
        raise ValueError(f"{what}: expected text that is not empty, without control characters")
    return text
