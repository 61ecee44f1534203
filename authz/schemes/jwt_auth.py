"""jwt-auth: a JSON Web Token (RFC 7519) whose key claim names the credential.

As API7 and APISIX know it. The credential fixes the algorithm and the key; the token chooses
neither. By default a token must expire, and its claims are read strictly.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field
from msgspec.structs import replace

from authz.access.told import check_header_names
from authz.contracts import Lookup
from authz.denials import Foreign
from authz.jose import claims as claims_of
from authz.jose.claims import Rules
from authz.jose.tokens import ALGORITHM_UNKNOWN, SIGNATURE_MALFORMED, NotAToken
from authz.schemes import jwt_core, jwt_place, jwt_told, places
from authz.schemes.jwt_core import Seen
from authz.schemes.jwt_draft import MAX_KEY, JwtDraft
from authz.schemes.jwt_key import JwtKey
from authz.schemes.settings import (
    ClaimsToHeaders,
    CookieName,
    HeaderName,
    ParameterName,
    Realm,
    Settings,
    challenge,
    check_hideable,
    unauthorized,
)
from authz.values import Credential, Denied, Deny, Once, Place, Proof, Request

INVALID = "JWT token invalid"
NO_KEY = "missing user key in JWT token"
WRONG_KEY = "Invalid user key in JWT token"
FAILED = "failed to verify jwt"
#: What APISIX finds only when it verifies, not when it takes a token apart.
_FOUND_LATE = (ALGORITHM_UNKNOWN, SIGNATURE_MALFORMED)


class JwtAuth(Settings, frozen=True):
    """Settings of jwt-auth on a service or a route. `null` switches a place off."""

    header: HeaderName | None = "authorization"
    query: ParameterName | None = "jwt"
    cookie: CookieName | None = "jwt"
    realm: Realm = "jwt"
    key_claim_name: Annotated[
        str, Meta(min_length=1, max_length=128, description="The claim that names the credential.")
    ] = "key"
    claims_to_verify: Annotated[
        list[Literal["exp", "nbf"]] | None,
        Meta(description="Claims that must be there; `exp` unless it says otherwise."),
    ] = None
    issuer: Annotated[str | None, Meta(description="The only `iss` that counts.")] = None
    audience: (
        Annotated[list[str], Meta(description="`aud` must have one of these.", min_length=1)] | None
    ) = None
    verify_iat: Annotated[bool, Meta(description="Refuse tokens whose `iat` lies ahead.")] = False
    require_jti_once: Annotated[
        bool, Meta(description="Every token counts once: it must have `jti` and `exp`.")
    ] = False
    claims_to_headers: ClaimsToHeaders = field(default_factory=dict)
    store_in_ctx: Annotated[
        bool, Meta(description="Tell Envoy's other filters the claims (dynamic metadata).")
    ] = False

    kind: ClassVar[str] = "jwt-auth"
    form: ClassVar[type] = JwtKey
    draft: ClassVar[type] = JwtDraft
    public_identifier: ClassVar[bool] = True
    reasons: ClassVar[dict[str, str]] = {
        "missing_token": "no token where the route looks",
        "missing_user_key": "the token lacks its key claim",
        "invalid_user_key": "the token's key claim is no text, or no credential's",
        **jwt_core.REASONS,
        **places.REASONS,
    }

    def __post_init__(self) -> None:
        check_hideable(self.header, hidden=self.hide_credentials)
        check_header_names(list(self.claims_to_headers.values()))

    # -- answers -----------------------------------------------------------------------------------

    def missing(self) -> Deny:
        return self._missing

    def invalid(self) -> Deny:
        return self._refusal("invalid_user_key", WRONG_KEY)

    @cached_property
    def _challenges(self) -> tuple[str, ...]:
        return challenge("Bearer", self.realm)

    @cached_property
    def _missing(self) -> Deny:
        # API7's manual has words that no APISIX has.
        text = "Missing JWT token" if self.tolerant else "Missing authorization"
        return self._refusal("missing_token", f"{text} in request")

    def _refusal(self, reason: str, message: str = FAILED) -> Deny:
        return unauthorized(self.kind, reason, message, self._challenges)

    # -- the check ---------------------------------------------------------------------------------

    def authenticate(self, request: Request, store: Lookup) -> Proof | None:
        found = self._read(request)
        if found is None:
            return None
        _, text = found
        try:
            seen = jwt_core.look_at(text, store)
        except NotAToken as error:
            late = error.reason in _FOUND_LATE
            raise Denied(self._refusal(error.reason, FAILED if late else INVALID)) from None
        credential = self._find(seen.claims, store)
        self._verify(seen, text, credential.form, store)
        self._check(seen.claims, credential.form, request.at)
        told = tuple(jwt_told.headers_of(self.claims_to_headers, seen.claims))
        if not jwt_told.fit(told):
            raise Denied(self._refusal(jwt_core.CLAIMS_TOO_LONG))
        return Proof(
            credential,
            headers=told,
            claims=seen.claims if self.store_in_ctx else None,
            once=self._once(seen.claims, credential.form, request.at),
            until=claims_of.end(seen.claims),
        )

    def _read(self, request: Request) -> tuple[Place, str] | None:
        try:
            return jwt_place.find(self.place, request)
        except places.Unreadable as unreadable:
            raise Denied(self._refusal(unreadable.reason, INVALID)) from None
        except jwt_place.OtherScheme:
            raise Foreign(self._refusal(jwt_core.NOT_BEARER, INVALID)) from None

    def _find(self, claims: dict[str, Any], store: Lookup) -> Credential:
        key = claims.get(self.key_claim_name, False)
        if key is False:
            raise Denied(self._refusal("missing_user_key", NO_KEY))
        credential = None
        if isinstance(key, str) and 0 < len(key) <= MAX_KEY and key.isprintable():
            credential = store.find(self.kind, key)
        if credential is None:
            raise Denied(self.invalid())
        return credential

    def _verify(self, seen: Seen, text: str, form: JwtKey, store: Lookup) -> None:
        if form.algorithm and seen.algorithm != form.algorithm:
            raise Denied(self._refusal(jwt_core.WRONG_ALGORITHM))
        key = form.find_key(seen, store)
        if key is None:
            raise Denied(self._refusal(jwt_core.UNKNOWN_KEY_ID))
        if not jwt_core.is_signed(seen, text, key, store):
            raise Denied(self._refusal(jwt_core.INVALID_SIGNATURE))

    # -- claims ------------------------------------------------------------------------------------

    @cached_property
    def _rules(self) -> Rules:
        listed = self.claims_to_verify
        if self.tolerant:
            listed = listed or None  # to APISIX, an empty list says nothing
        elif listed is None:
            listed = ["exp"]
        return Rules(
            listed=None if listed is None else tuple(listed),
            unlisted=not self.tolerant,
            strict_start=self.tolerant,
            issued="past" if self.verify_iat else "ignored" if self.tolerant else "number",
            issuer=self.issuer,
            audience=tuple(self.audience or ()),
        )

    def _check(self, claims: dict[str, Any], form: JwtKey, at: float) -> None:
        rules = self._rules
        if form.lifetime_grace_period:
            rules = replace(rules, grace=form.lifetime_grace_period)
        reason = claims_of.check(claims, rules, at) or claims_of.check(claims, form.rules, at)
        if reason is None and self.profile == "apisix-3.9" and not claims.keys() & {"exp", "nbf"}:
            reason = claims_of.CLAIM_MISSING
        if reason is not None:
            raise Denied(self._refusal(reason))

    def _once(self, claims: dict[str, Any], form: JwtKey, at: float) -> Once | None:
        if not self.require_jti_once:
            return None
        owner = (self.kind, claims[self.key_claim_name])
        try:
            nonce, seconds = jwt_core.nonce(claims, owner, form.lifetime_grace_period, at)
        except jwt_core.NotOnce as error:
            raise Denied(self._refusal(error.reason)) from None
        return Once(nonce, seconds, self._refusal(jwt_core.TOKEN_REPLAYED))

    # -- what others see ---------------------------------------------------------------------------

    @cached_property
    def place(self) -> Place:
        header = self.header.lower() if self.header else None
        return Place(header, self.query, self.cookie, self.tolerant)

    @cached_property
    def tells(self) -> tuple[str, ...]:
        return tuple(name.lower() for name in self.claims_to_headers.values())

    def evidence(self, request: Request) -> str | None:
        return places.alone(self.place, request, hidden=self.hide_credentials)

    def notes(self, request: Request) -> tuple[tuple[str, str], ...]:
        try:
            found = self._read(request)
        except Denied as denied:
            return (("token", self.reasons[denied.deny.reason]),)
        if found is None:
            return ()
        place, text = found
        return (*places.notes(place, request), *jwt_core.notes_of(text, self.key_claim_name))

    def hidden(self, request: Request, *, proven: bool) -> tuple[Place, ...]:
        return jwt_place.hidden(self.place, request) if self.hide_credentials else ()
