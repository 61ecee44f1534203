"""Kong's settings of a scheme as those of a document: once for each place where it looks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from authz.admin.moving.report import Path
from authz.admin.moving.source import texts
from authz.admin.moving.wanted import Plain

#: Told of what is changed or left.
Tell = Callable[[Any, Path, str], None]


def _key_auth(settings: Plain, tell: Tell, at: Path) -> list[Plain]:
    if settings.get("key_in_body"):
        tell("left", (*at, "key_in_body"), "a key is not looked for in the body")
    header, query = settings.get("key_in_header", True), settings.get("key_in_query", True)
    return [
        {"header": name if header else None, "query": name if query else None}
        for name in texts(settings.get("key_names", "apikey"))
    ]


def _basic_auth(settings: Plain, tell: Tell, at: Path) -> list[Plain]:
    return [{}]


def _jwt(settings: Plain, tell: Tell, at: Path) -> list[Plain]:
    claims = texts(settings.get("claims_to_verify") or [])
    if claims != ["exp", "nbf"]:
        tell("changed", at, "`exp` and `nbf` are checked where a token has them")
    if settings.get("maximum_expiration"):
        tell("left", (*at, "maximum_expiration"), "is not asked for")
    places = zip_longest(
        texts(settings.get("header_names", "authorization")),
        texts(settings.get("uri_param_names", "jwt")),
        texts(settings.get("cookie_names") or []),
    )
    own = {"key_claim_name": settings.get("key_claim_name", "iss"), "claims_to_verify": claims}
    return [{"header": h, "query": q, "cookie": c, **own} for h, q, c in places]


def _hmac_auth(settings: Plain, tell: Tell, at: Path) -> list[Plain]:
    tell(
        "changed",
        at,
        "clients sign otherwise: keyId, not username, and another string; `authz sign hmac-auth` "
        "shows it",
    )
    own: Plain = {}
    known = ("hmac-sha1", "hmac-sha256", "hmac-sha512")
    written = texts(settings.get("algorithms") or [])
    if written:
        own["allowed_algorithms"] = [name for name in written if name in known]
        for name in sorted(set(written) - set(known)):
            tell("left", (*at, "algorithms"), f"{name} is not taken")
    if settings.get("clock_skew"):
        own["clock_skew"] = settings["clock_skew"]
    if settings.get("validate_request_body"):
        own["validate_request_body"] = True
    names = [n for n in texts(settings.get("enforce_headers") or []) if n not in _SIGNED]
    return [{**own, **({"signed_headers": names} if names else {})}]


_SIGNED = ("date", "x-date", "request-line", "@request-target")

#: In the order in which Kong asks them: the last that passes says who is calling.
SCHEMES_THERE: dict[str, tuple[str, Callable[[Plain, Tell, Path], list[Plain]]]] = {
    "jwt": ("jwt-auth", _jwt),
    "key-auth": ("key-auth", _key_auth),
    "key-auth-enc": ("key-auth", _key_auth),
    "basic-auth": ("basic-auth", _basic_auth),
    "hmac-auth": ("hmac-auth", _hmac_auth),
}
