"""A place that settings name by a position and a name."""

from __future__ import annotations

from typing import Literal

from msgspec import ValidationError, convert
from msgspec.structs import replace

from authz.schemes.settings import CookieName, HeaderName, ParameterName
from authz.values import Place

Position = Literal["header", "query", "cookie", "body"]
_NAMES = {"header": HeaderName, "query": ParameterName, "cookie": CookieName, "body": ParameterName}


def place_at(position: Position, name: str) -> Place:
    """The place. Raises ValueError for a name that nothing there can have."""
    try:
        convert(name, _NAMES[position])
    except ValidationError:
        raise ValueError(f"{name!r} is no name in a {position}") from None
    return replace(Place(), **{position: name.lower() if position == "header" else name})
