"""jwt: a JSON Web Token (RFC 7519) that names its user, as the API Open Platform has it (Apinto).

A JSONPath leads to the user's name in the claims, and the user's credential has the algorithm and
the key. Unlike there, a token may stand in the body, a credential's issuer is compared, and times
are checked unless a credential lists which.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from authz.access.told import check_header_names
from authz.contracts import Lookup
from authz.denials import Foreign
from authz.jose import claims as claims_of
from authz.jose import tokens
from authz.jose.tokens import NotAToken
from authz.schemes import jwt_core, jwt_place, jwt_told, places
from authz.schemes.claim_path import Finder, finder
from authz.schemes.jwt_core import Seen
from authz.schemes.jwt_keys import named
from authz.schemes.jwt_position import place_at
from authz.schemes.jwt_user import JwtUser, JwtUserDraft
from authz.schemes.settings import (
    ClaimsToHeaders,
    ParameterName,
    Settings,
    challenge,
    check_hideable,
    unauthorized,
)
from authz.values import Credential, Denied, Deny, Place, Proof, Request

#: Apinto's words, whatever is wrong.
MESSAGE = "missing or invalid token"
#: What the header's typ must be, in any case (RFC 7519 section 5.1, RFC 9068 section 2.1): what was
#: signed to be something else is no such token (RFC 8725 section 3.11).
TYPES = ("jwt", "at+jwt")
WRONG_TYPE = "wrong_token_type"
NO_USER = "missing_user"
UNKNOWN_USER = "unknown_user"
#: Refusals that only other schemes know.
_OTHERS = (
    *(jwt_core.UNKNOWN_KEY_ID, jwt_core.TOKEN_REPLAYED),
    *(claims_of.ISSUED_IN_FUTURE, claims_of.WRONG_AUDIENCE),
)


class Jwt(Settings, frozen=True):
    """Settings of jwt on a service or a route."""

    position: Annotated[
        Literal["header", "query", "body"],
        Meta(description="Where the token stands; of a body, a JSON member or a form field."),
    ] = "header"
    name: Annotated[ParameterName, Meta(description="What it is called there.")] = "Authorization"
    username_path: Annotated[
        str,
        Meta(
            max_length=256, description="JSONPath of the user's name in the claims, to one place."
        ),
    ] = "$.name"
    claims_to_headers: ClaimsToHeaders = field(default_factory=dict)

    kind: ClassVar[str] = "jwt"
    form: ClassVar[type] = JwtUser
    draft: ClassVar[type] = JwtUserDraft
    public_identifier: ClassVar[bool] = True
    reasons: ClassVar[dict[str, str]] = {
        "missing_token": "no token where the route looks",
        WRONG_TYPE: "the token's header has another `typ` than JWT or at+jwt, or none",
        NO_USER: "the token has no text where `username_path` leads",
        UNKNOWN_USER: "no credential has the token's user name",
        **{name: text for name, text in jwt_core.REASONS.items() if name not in _OTHERS},
        **places.REASONS,
        **places.BODY_REASONS,
    }

    def __post_init__(self) -> None:
        if self.position == "body" and self.hide_credentials:
            raise ValueError(
                "hide_credentials: Envoy lets no authorizer change a body, so a token there "
                "reaches the upstream; take it from a header or the query, or hide nothing"
            )
        with named("name"):
            _ = self.place
        check_hideable(self.place.header, hidden=self.hide_credentials)
        with named("username_path"):
            _ = self._find_name
        with named("claims_to_headers"):
            check_header_names(list(self.claims_to_headers.values()))

    @property
    def reads_body(self) -> bool:
        return self.position == "body"

    @property
    def tolerant(self) -> bool:
        # APISIX has no such scheme, so none of its profiles says how lax it is.
        return False

    def missing(self) -> Deny:
        return self._refusal("missing_token")

    def invalid(self) -> Deny:
        return self._refusal(UNKNOWN_USER)

    def _refusal(self, reason: str) -> Deny:
        return unauthorized(self.kind, reason, MESSAGE, challenge("Bearer", "jwt"))

    def forbidden(self, reason: str, request: Request) -> Deny:
        # APIPark's words where an application has not subscribed to a service.
        return Deny(reason, 403, "Forbidden", (), self.kind, body="Forbidden")

    def authenticate(self, request: Request, store: Lookup) -> Proof | None:
        text = self._read(request)
        if text is None:
            return None
        try:
            seen = jwt_core.look_at(text, store)
        except NotAToken as error:
            raise Denied(self._refusal(error.reason)) from None
        if seen.type not in TYPES:
            raise Denied(self._refusal(WRONG_TYPE))
        credential = self._find(seen.claims, store)
        self._verify(seen, text, credential.form, store)
        reason = claims_of.check(seen.claims, credential.form.rules, request.at)
        if reason is not None:
            raise Denied(self._refusal(reason))
        told = tuple(jwt_told.headers_of(self.claims_to_headers, seen.claims))
        if not jwt_told.fit(told):
            raise Denied(self._refusal(jwt_core.CLAIMS_TOO_LONG))
        return Proof(credential, headers=told, until=claims_of.end(seen.claims))

    def _read(self, request: Request) -> str | None:
        try:
            found = jwt_place.find(self.place, request)
        except places.Unreadable as unreadable:
            raise Denied(self._refusal(unreadable.reason)) from None
        except jwt_place.OtherScheme:
            raise Foreign(self._refusal(jwt_core.NOT_BEARER)) from None
        if found is None:
            return None
        place, text = found
        if place.header is None:
            # Its clients write `Bearer` wherever the token stands; of a header it is gone already.
            text = jwt_place.without_bearer(text, tolerant=False)
        return text

    def _find(self, claims: dict[str, Any], store: Lookup) -> Credential:
        name = self._find_name(claims)
        if name is None:
            raise Denied(self._refusal(NO_USER))
        credential = store.find(self.kind, name)
        if credential is None:
            raise Denied(self.invalid())
        return credential

    def _verify(self, seen: Seen, text: str, form: JwtUser, store: Lookup) -> None:
        if seen.algorithm != form.algorithm:
            raise Denied(self._refusal(jwt_core.WRONG_ALGORITHM))
        if not jwt_core.is_signed(seen, text, form.key, store):
            raise Denied(self._refusal(jwt_core.INVALID_SIGNATURE))

    @cached_property
    def place(self) -> Place:
        return place_at(self.position, self.name)

    @cached_property
    def tells(self) -> tuple[str, ...]:
        return tuple(name.lower() for name in self.claims_to_headers.values())

    @cached_property
    def _find_name(self) -> Finder:
        return finder(self.username_path)

    def evidence(self, request: Request) -> str | None:
        return places.alone(self.place, request, hidden=self.hide_credentials)

    def notes(self, request: Request) -> tuple[tuple[str, str], ...]:
        try:
            text = self._read(request)
        except Denied as denied:
            return (("token", self.reasons[denied.deny.reason]),)
        if text is None:
            return ()
        return (*places.notes(self.place, request), *jwt_core.notes_of(text), *self._user(text))

    def _user(self, text: str) -> tuple[tuple[str, str], ...]:
        try:
            name = self._find_name(tokens.parse(text).claims)
        except NotAToken:
            return ()
        return (("user", name or self.reasons[NO_USER]),)

    def hidden(self, request: Request, *, proven: bool) -> tuple[Place, ...]:
        return jwt_place.hidden(self.place, request) if self.hide_credentials else ()
