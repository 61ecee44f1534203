"""What an explanation must not repeat: the credentials that a request holds.

A signature's schemes show the text that was signed, and in that text there may be a header, or a
query parameter, that is a credential of another scheme.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from authz.contracts import Scheme
from authz.forms import percent_decode
from authz.schemes.alibaba import echo
from authz.values import Place, Request, fold

#: What a scheme calls the text that it verifies a signature of.
STRING_TO_SIGN = "string to sign"
MASK = "*"
#: Shorter texts are nobody's credential, and would be found everywhere.
SHORTEST = 4
_SECRETIVE = ("authorization", "proxy-authorization", "cookie")


class Discretion:
    """Knows the credentials of one request, and masks them wherever they stand."""

    def __init__(self, request: Request, schemes: Iterable[Scheme]) -> None:
        found = {value for name in _SECRETIVE for value in request.headers.get(name)}
        for scheme in schemes:
            found.update(_held(scheme, request))
        kept = (text for text in found if len(text) >= SHORTEST)
        self._secrets = sorted(kept, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """The text with its length, and its credentials as asterisks."""
        for secret in self._secrets:
            text = text.replace(secret, MASK * len(secret))
        return text

    def masked(self, notes: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        return tuple((what, self.mask(text)) for what, text in notes)


def _held(scheme: Any, request: Request) -> Iterator[str]:
    """The credentials of one scheme. What is sent beside a signature is none."""
    if any(what == STRING_TO_SIGN for what, _ in scheme.notes(request)):
        return
    try:
        spots: tuple[Place, ...] = replace(scheme, hide_credentials=True).hidden(
            request, proven=True
        )
    except ValueError:  # a place that cannot be hidden from the upstream
        spots = (scheme.place,)
    for spot in spots:
        yield from _standing(spot, request)


def _standing(spot: Place, request: Request) -> Iterator[str]:
    if spot.header is not None:
        yield from request.headers.get(spot.header)
    if spot.query is None:
        return
    for piece in request.query.split("&"):
        name, _, value = piece.partition("=")
        if fold(percent_decode(name) or "") == fold(spot.query):
            decoded = percent_decode(value)
            spellings = [decoded, quote(decoded, safe=""), echo(decoded)] if decoded else []
            yield from (value, *spellings)
