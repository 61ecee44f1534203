"""A request as a client sends it who has a credential of the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import asdict, replace

from authz.admin.credentials import Refused
from authz.admin.examples import Caller
from authz.admin.sign import SIGNERS, Wanted
from authz.contracts import Scheme
from authz.document import ConsumerEntry, credential_id, draft_of
from authz.policies import Route
from authz.references import Secret
from authz.signing.signed import Signed
from authz.values import Headers, Request

#: Headers that every signature of hmac-auth covers.
_ALWAYS = ("@request-target", "date")


class People(Struct, frozen=True):
    """The consumers of a document by tenant and name."""

    entries: Mapping[tuple[str, str], ConsumerEntry]

    def signed(self, request: Request, caller: Caller, route: Route | None) -> Request:
        """The request with what the caller adds to it, as this route wants it. Raises `Refused`."""
        kind, fields = self._credential(caller, route)
        schemes = route.schemes if route is not None else ()
        scheme = next((each for each in schemes if each.kind == kind), None)
        wanted = _wanted(kind, scheme, fields, caller, request.at)
        try:
            return attached(request, SIGNERS[kind](request, fields, wanted))
        except ValueError as error:
            raise Refused(f"{kind}: {error}") from None

    def _credential(self, caller: Caller, route: Route | None) -> tuple[str, dict[str, Any]]:
        entry = self.entries.get((route.tenant if route is not None else "", caller.consumer))
        if entry is None:
            raise Refused(f"the document has no consumer {caller.consumer!r}")
        own = {credential_id(each): draft_of(each) for each in entry.credentials}
        if caller.credential is None:
            own = _fitting(own, route)
        elif caller.credential in own:
            own = {caller.credential: own[caller.credential]}
        else:
            known = ", ".join(own) or "none"
            raise Refused(f"{caller.consumer!r} has no credential {caller.credential!r}: {known}")
        if len(own) != 1:
            what = f"several: say {caller.consumer}/{{{'|'.join(own)}}}" if own else "none"
            raise Refused(f"of credentials that fit here, {caller.consumer!r} has {what}")
        [(identifier, (kind, draft))] = own.items()
        return kind, _fields(f"{caller.consumer}/{identifier}", kind, draft)


def _fitting(own: dict[str, Any], route: Route | None) -> dict[str, Any]:
    """Those that the route would take; any, if it takes none of them."""
    kinds = {scheme.kind for scheme in route.schemes} if route is not None else set()
    return {name: one for name, one in own.items() if one[0] in kinds} or own


def _fields(name: str, kind: str, draft: Any) -> dict[str, Any]:
    given = {field: _text(name, value) for field, value in asdict(draft).items()}
    if kind in ("jwt-auth", "jwt") and not (given["secret"] or given.get("private_key")):
        raise Refused(
            f"{name} is a public key: sign a token elsewhere, and write the request's headers"
        )
    if kind == "jwt-plugin":
        raise Refused(f"{name}: its tokens are signed elsewhere; write the request's headers")
    return {field: value for field, value in given.items() if value is not None}


def _text(name: str, value: Any) -> Any:
    if not isinstance(value, Secret):
        return value
    if value.safe:
        raise Refused(
            f"of {name} the document has only a {value.source}: it cannot be used; write the "
            "request's headers yourself"
        )
    return value.value


# -- as the route wants it -------------------------------------------------------------------------


def _wanted(
    kind: str, scheme: Scheme | None, fields: dict[str, Any], caller: Caller, at: float
) -> Wanted:
    settings: Any = scheme
    made = Wanted(
        claims=caller.claims,
        lifetime=caller.lifetime,
        signed_headers=tuple(caller.signed_headers),
        at=at,
    )
    if settings is None:
        return made
    if kind in ("key-auth", "jwt-auth"):
        made = _placed(made, settings)
    if kind == "jwt-auth" and settings.key_claim_name != "key":
        made = replace(made, claims={settings.key_claim_name: fields["key"], **made.claims})
    if kind == "jwt":
        made = _positioned(made, settings, fields)
    if kind == "appcode" and settings.app_code == "QUERY":
        made = replace(made, query="AppCode")
    if kind == "hmac-auth":
        return _signature(made, settings, fields)
    return made


def _placed(made: Wanted, settings: Any) -> Wanted:
    """In the first place where the route looks."""
    if settings.header is not None:
        return replace(made, header=settings.header)
    if settings.query is not None:
        return replace(made, query=settings.query)
    return replace(made, cookie=settings.cookie)


def _positioned(made: Wanted, settings: Any, fields: dict[str, Any]) -> Wanted:
    if settings.position == "body":
        raise Refused("jwt: a token in the body: write the request's body yourself")
    claims = dict(made.claims)
    member = settings.username_path.removeprefix("$.")
    if member.isidentifier():
        claims = {member: fields["username"], **claims}
    place = {settings.position: settings.name}
    return replace(made, claims=claims, **place)


def _signature(made: Wanted, settings: Any, fields: dict[str, Any]) -> Wanted:
    names = (*settings.rules.required, *made.signed_headers)
    allowed = settings.rules.algorithms
    algorithm = fields.get("algorithm") or ("hmac-sha256" if "hmac-sha256" in allowed else None)
    return replace(
        made,
        signed_headers=tuple(name for name in names if name.lower() not in _ALWAYS),
        algorithm=algorithm or allowed[0],
        nonce_header=settings.nonce_header,
        legacy=settings.legacy,
    )


def attached(request: Request, signed: Signed) -> Request:
    """The request with what signing gave; a header of the same name is replaced, a cookie joins
    the others."""
    names = {name.lower() for name, _ in signed.headers} - {"cookie"}
    kept = [(n, v) for n in request.headers for v in request.headers.get(n) if n not in names]
    added = [(name.lower(), value) for name, value in signed.headers]
    cookies = [value for name, value in (*kept, *added) if name == "cookie"]
    lines = [(name, value) for name, value in (*kept, *added) if name != "cookie"]
    if cookies:
        lines.append(("cookie", "; ".join(cookies)))
    query = urlencode(signed.query, quote_via=quote, errors="surrogateescape")
    return replace(
        request,
        headers=Headers(lines),
        query="&".join(filter(None, (request.query, query))),
    )
