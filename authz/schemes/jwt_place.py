"""Where a bearer token stands (RFC 6750 section 2): in a header behind `Bearer`, or bare."""

from __future__ import annotations

import re

from msgspec.structs import replace

from authz.schemes import places
from authz.values import Place, Request

AUTHORIZATION = "authorization"
_SCHEME_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


class OtherScheme(Exception):
    """Authorization holds a credential of another scheme, and no token stands elsewhere."""


def find(place: Place, request: Request) -> tuple[Place, str] | None:
    """A token, and the one position that held it; None when there is none.

    Raises `places.Unreadable`, and `OtherScheme`. To APISIX a header is the only candidate where
    there is one; otherwise a token may stand elsewhere beside another scheme's Authorization.
    """
    if not _is_foreign(place, request):
        found = places.find(place, request)
    else:
        found = None if place.tolerant else places.find(replace(place, header=None), request)
        if found is None:
            raise OtherScheme
    if found is None or found[0].header is None:
        return found
    return found[0], without_bearer(found[1], tolerant=place.tolerant)


def hidden(place: Place, request: Request) -> tuple[Place, ...]:
    """What hides the token: every place where one may stand; under APISIX's profiles the one that
    was read. What Authorization holds for another scheme is somebody else's."""
    if place.header == AUTHORIZATION and not _may_hold_token(request):
        place = replace(place, header=None)
    if not place.tolerant:
        return (place,)
    try:
        found = find(place, request)
    except places.Unreadable:
        return (place,)
    return (found[0],) if found is not None else ()


def without_bearer(value: str, *, tolerant: bool) -> str:
    """A header's value without `Bearer` and one space, in any case (RFC 9110 section 11.1); APISIX
    knows two spellings only."""
    scheme, space, rest = value.partition(" ")
    bearer = scheme in ("Bearer", "bearer") if tolerant else scheme.lower() == "bearer"
    return rest if space and bearer else value


def _is_foreign(place: Place, request: Request) -> bool:
    if place.header != AUTHORIZATION:
        return False
    values = request.headers.get(AUTHORIZATION)
    one = len(values) == 1 or (place.tolerant and bool(values))
    return one and is_foreign(values[0])


def is_foreign(value: str) -> bool:
    """Whether an Authorization value is of another scheme than Bearer: a bare token is not."""
    scheme, space, _ = value.partition(" ")
    return bool(space and _SCHEME_NAME.fullmatch(scheme)) and scheme.lower() != "bearer"


def _may_hold_token(request: Request) -> bool:
    # Without raw headers several lines arrive as one, joined by commas.
    values = (part for v in request.headers.get(AUTHORIZATION) for part in v.split(","))
    return any(_is_token(part.strip(" \t")) for part in values)


def _is_token(part: str) -> bool:
    return part[:7].lower() == "bearer " or (" " not in part and "." in part and '"' not in part)
