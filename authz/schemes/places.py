"""Where a credential sits: header, query, cookie or body; how to read it; how to hide it.

One parser for each syntax, shared by all schemes. By default two copies of a credential are a
refusal, whatever they hold, because two readers may pick different ones; under the APISIX profiles
the first place that holds one wins, as there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from authz import forms, strict_json
from authz.forms import FORM_TYPE, MAX_PARAMETERS, percent_decode
from authz.values import Edits, Place, Request, fold, raw

#: A credential longer than this is refused before it is looked at. Envoy's header cap is near.
MAX_CREDENTIAL = 16 * 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BLANKS = " \t"
_COOKIE_SEPARATORS = re.compile(r"[;,]")

DUPLICATE = "duplicate_credential"
MALFORMED = "malformed_credential"
TOO_MANY_PARAMETERS = "too_many_parameters"
BODY_INCOMPLETE = "body_incomplete"
#: What each of these means.
REASONS = {
    DUPLICATE: "the credential was sent more than once",
    MALFORMED: "a broken escape, bytes that are not UTF-8, a control character, or too long",
    TOO_MANY_PARAMETERS: f"a query or a form of {MAX_PARAMETERS} parameters or more",
}
#: And what may be wrong with a body.
BODY_REASONS = {
    BODY_INCOMPLETE: "Envoy did not show the whole body, which the credential is in",
}
_JSON = "application/json"


class Unreadable(Exception):
    """A credential is there, but not one that can be read in one way only."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read(place: Place, request: Request) -> str | None:
    """The credential, or None. Raises `Unreadable` for copies and for what is malformed."""
    if place.header is not None and not request.query and "cookie" not in request.headers:
        # The usual case: nowhere else could be one.
        values = request.headers.get(place.header)
        if len(values) == 1 and place.body is None and request.headers.exact:
            return _checked(values[0], request)
    found = find(place, request)
    return found[1] if found else None


def find(place: Place, request: Request) -> tuple[Place, str] | None:
    """The credential, and the one position that held it."""
    candidates = _candidates(place, request)
    first = next(candidates, None)
    if first is None:
        return None
    if not place.tolerant and next(candidates, None) is not None:
        raise Unreadable(DUPLICATE)
    return first[0], _checked(first[1], request)


def _candidates(place: Place, request: Request) -> Iterator[tuple[Place, str | None]]:
    tolerant = place.tolerant
    if place.header is not None:
        for value in _header_values(place, request):
            yield Place(header=place.header, tolerant=tolerant), value
    if place.query is not None and request.query:
        for value in _query_values(place, request):
            yield Place(query=place.query, tolerant=tolerant), value
    if place.cookie is not None and "cookie" in request.headers:
        for value in _cookies(request, place.cookie):
            yield Place(cookie=place.cookie, tolerant=tolerant), value
    if place.body is not None:
        for value in _body_values(request, place.body):
            yield Place(body=place.body, tolerant=tolerant), value


def _header_values(place: Place, request: Request) -> Iterator[str | None]:
    assert place.header is not None
    values = request.headers.get(place.header)
    if place.tolerant and "_" in place.header:
        values = (*values, *request.headers.get(place.header.replace("_", "-")))
    for value in values:
        # Without exact headers a comma may be Envoy's join of two lines.
        yield None if "," in value and not request.headers.exact else value


def _query_values(place: Place, request: Request) -> Iterator[str | None]:
    assert place.query is not None
    values = list(parameter_values(request.query, place.query))
    # APISIX: a repeated argument is a list, and a list equals no key.
    return iter([None] if place.tolerant and len(values) > 1 else values)


def _body_values(request: Request, name: str) -> Iterator[str | None]:
    """A member of a JSON object, or a field of a form; any other content holds no credential."""
    kind = media_type(request)
    if kind not in (FORM_TYPE, _JSON) and not kind.endswith("+json"):
        return
    body = request.body
    if body is None:
        if has_body(request):
            raise Unreadable(BODY_INCOMPLETE)
        return
    if not body.complete or not body.exact:
        raise Unreadable(BODY_INCOMPLETE)
    if kind == FORM_TYPE:
        yield from parameter_values(body.data.decode("utf-8", "surrogateescape"), name)
        return
    try:
        found = strict_json.load_object(body.data)
    except strict_json.NotStrict:
        raise Unreadable(MALFORMED) from None
    if name in found:
        yield found[name] if isinstance(found[name], str) else None


def media_type(request: Request) -> str:
    """The body's type in lower case, without parameters; empty when none or several are given."""
    values = request.headers.get("content-type")
    return forms.media_type(values[0]) if len(values) == 1 else ""


def has_body(request: Request) -> bool:
    """Whether the client says that it sends a body, shown to us or not."""
    length = request.headers.first("content-length")
    return request.body is not None or (
        length not in (None, "0") or "transfer-encoding" in request.headers
    )


def alone(place: Place, request: Request, *, hidden: bool) -> str | None:
    """The value of the place's header, where nothing else in the request can be such a credential
    or, if credentials are `hidden`, another spelling of it; None where that takes a closer look."""
    headers = request.headers
    if place.header is None or place.body is not None or not headers.exact:
        return None
    if place.cookie is not None and "cookie" in headers:
        return None
    if request.query and place.query is not None and not _is_free(request.query, place.query):
        return None
    if (hidden or place.tolerant) and not (_is_folded(place.header) and headers.are_folded):
        return None
    values = headers.get(place.header)
    return values[0] if len(values) == 1 else None


def _is_free(query: str, name: str) -> bool:
    """Whether no parameter can have this name, in any spelling."""
    if len(query) > MAX_PARAMETERS or "%" in query or "+" in query or not query.isascii():
        return False
    folded = _folded(name)
    return folded not in (fold(query) if "-" in folded else query.lower())


@lru_cache(1024)
def _folded(name: str) -> str:
    return fold(name)


def _is_folded(name: str) -> bool:
    return _folded(name) == name


def notes(place: Place, request: Request) -> tuple[tuple[str, str], ...]:
    """Where a credential was found, for people: never the credential."""
    try:
        found = find(place, request)
    except Unreadable as unreadable:
        return (("credential", REASONS.get(unreadable.reason, unreadable.reason)),)
    if found is None:
        return ()
    at, value = found
    where = next(
        f"{kind} {name}"
        for kind in ("header", "query", "cookie", "body")
        if (name := getattr(at, kind)) is not None
    )
    return (("credential", f"{len(value)} characters in {where}"),)


def _checked(value: str | None, request: Request) -> str:
    if value is None or len(value) > MAX_CREDENTIAL or _CONTROL.search(value):
        raise Unreadable(MALFORMED)
    # Where Envoy does not send raw bytes it writes `!` for those that are not UTF-8.
    if not request.headers.exact and "!" in value:
        raise Unreadable(MALFORMED)
    return value


def parameter_values(query: str, name: str) -> Iterator[str | None]:
    """Every value of a query parameter, decoded; None stands for one that is malformed.

    Split on `&` only, name and value at the first `=`. A bare name has no value and is malformed.
    """
    try:
        pieces = forms.pieces(query)
    except forms.TooMany:
        raise Unreadable(TOO_MANY_PARAMETERS) from None
    for piece in pieces:
        key, equals, value = piece.partition("=")
        if percent_decode(key) == name:
            yield percent_decode(value) if equals else None


def _cookies(request: Request, name: str) -> Iterator[str | None]:
    for piece in _cookie_pieces(request):
        key, equals, value = piece.partition("=")
        if key.strip(_BLANKS) == name:
            yield value if equals else None


def _cookie_pieces(request: Request) -> list[str]:
    # HTTP/1 lets a client send several Cookie lines; unless headers are exact, Envoy shows them
    # joined by a comma, which no cookie value may hold (RFC 6265 section 4.1.1).
    text = ";".join(request.headers.get("cookie"))
    pieces = text.split(";") if request.headers.exact else _COOKIE_SEPARATORS.split(text)
    return [piece.strip(_BLANKS) for piece in pieces if piece.strip(_BLANKS)]


def erase(request: Request, places: tuple[Place, ...]) -> Edits:
    """What removes everything that stands at these places, in every spelling.

    Other parameters and cookies keep their bytes and their order. A tolerant place is erased to
    the letter, as APISIX does; others fold case and separators, as a lax backend would.
    """
    remove: list[str] = []
    for place in places:
        remove.extend(_spellings(request, place))
    queries = [(place.query, place.tolerant) for place in places if place.query is not None]
    cookies = [(place.cookie, place.tolerant) for place in places if place.cookie is not None]
    target = _without_parameters(request, _Names(queries)) if queries and request.query else None
    cookie = _without_cookies(request, _Names(cookies)) if cookies else None
    if cookie == "":
        return Edits((*remove, "cookie"), None, target)
    return Edits(tuple(remove), cookie, target)


class _Names:
    """Names to be hidden: those to the letter, and those in every spelling."""

    def __init__(self, names: Iterable[tuple[str, bool]]) -> None:
        pairs = list(names)
        self._exact = {name for name, tolerant in pairs if tolerant}
        self._folded = {fold(name) for name, tolerant in pairs if not tolerant}

    def holds(self, name: str | None) -> bool:
        if name is None:
            return False
        return name in self._exact or (bool(self._folded) and fold(name) in self._folded)


def _spellings(request: Request, place: Place) -> list[str]:
    if place.header is None:
        return []
    if place.tolerant:
        names = dict.fromkeys((place.header, place.header.replace("_", "-")))
        return [name for name in names if name in request.headers]
    folded = fold(place.header)
    return [name for name in request.headers if fold(name) == folded]


def _without_parameters(request: Request, hidden: _Names) -> str | None:
    pieces = request.query.split("&")
    kept = [p for p in pieces if not hidden.holds(percent_decode(p.partition("=")[0]))]
    if len(kept) == len(pieces):
        return None
    return escaped(f"{request.path}?{'&'.join(kept)}" if kept else request.path)


def escaped(target: str) -> str:
    """Bytes that a header value of ours may not hold become percent escapes of themselves."""
    if target.isascii():
        return target
    return "".join(chr(b) if b < 0x80 else f"%{b:02X}" for b in raw(target))  # noqa: PLR2004


def _without_cookies(request: Request, hidden: _Names) -> str | None:
    """The Cookie header without these cookies; None if there are none of them."""
    pieces = ";".join(request.headers.get("cookie")).split(";")
    rests = [_rest(piece, request, hidden) for piece in pieces]
    if rests == [piece.strip(_BLANKS) for piece in pieces]:
        return None
    return "; ".join(rest for rest in rests if rest)


def _rest(piece: str, request: Request, hidden: _Names) -> str:
    """What is left of the text between two `;`, where Envoy may have joined two lines."""
    parts = [piece] if request.headers.exact else piece.split(",")
    kept = [p for p in parts if not hidden.holds(p.partition("=")[0].strip(_BLANKS))]
    return ",".join(kept).strip(_BLANKS)
