"""Query strings and form bodies (`application/x-www-form-urlencoded`): one strict parser for all.

Split on `&` only, name and value at the first `=`; `+` is a space, every escape is whole, and what
it decodes to is UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from authz.values import raw

#: As many parameters are refused before any is read: no form has them.
MAX_PARAMETERS = 1000
FORM_TYPE = "application/x-www-form-urlencoded"

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SEPARATORS = re.compile("[&;]")
#: Where lax readers end a name: an element of a list, or the end of a text in C.
_END_OF_NAME = re.compile(r"[\[\x00]")

#: Names with their values, decoded, in their order.
Pairs = list[tuple[str, str]]


class Malformed(ValueError):
    """A broken escape, or bytes that are not UTF-8."""


class TooMany(ValueError):
    """`MAX_PARAMETERS` or more."""


def percent_decode(text: str) -> str | None:
    """A query name or value decoded, `+` as a space; None when it is malformed or not UTF-8."""
    if "%" not in text and "+" not in text and text.isascii():
        return text
    return unescape(text.replace("+", " "))


def unescape(text: str) -> str | None:
    """Percent escapes decoded and nothing else; None when it is malformed or not UTF-8."""
    if _BAD_ESCAPE.search(text):
        return None
    try:
        return unquote_to_bytes(raw(text)).decode("utf-8")
    except UnicodeDecodeError:
        return None


def pieces(text: str) -> list[str]:
    """The parameters as they are written. Raises `TooMany`."""
    if text.count("&") >= MAX_PARAMETERS:
        raise TooMany("too many parameters")
    return text.split("&")


def pairs(text: str) -> Pairs:
    """Every parameter, decoded. A bare name has the empty value; what is empty between two `&` is
    no parameter. Raises `Malformed` and `TooMany`."""
    return [_pair(piece) for piece in pieces(text) if piece]


def _pair(piece: str) -> tuple[str, str]:
    name, _, value = piece.partition("=")
    decoded = percent_decode(name), percent_decode(value)
    if decoded[0] is None or decoded[1] is None:
        raise Malformed("a broken escape, or not UTF-8")
    return decoded[0], decoded[1]


def lax_names(text: str) -> Iterator[str]:
    """The names that lax readers may find: parted by `;` as well, without their brackets, and
    without blanks around. What does not decode stays as it is."""
    for piece in _SEPARATORS.split(text):
        name = unquote_to_bytes(raw(piece.partition("=")[0].replace("+", " ")))
        yield _END_OF_NAME.split(name.decode("utf-8", "surrogateescape"))[0].strip()


def media_type(content_type: str) -> str:
    """The type in lower case, without its parameters."""
    return content_type.partition(";")[0].strip(" \t").lower()
