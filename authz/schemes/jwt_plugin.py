"""jwt-plugin: a JSON Web Token (RFC 7519) verified with keys that stand in the route's settings, as
the JWT plug-in of Alibaba Cloud API Gateway does it.

Consumers have no credentials of this kind: whoever has a token of the keys' owner is the route's
consumer, or the one whom a claim of the token names.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from authz.contracts import Lookup
from authz.denials import Foreign
from authz.jose import claims as claims_of
from authz.jose.claims import Rules
from authz.jose.key_set import KeySet
from authz.jose.tokens import NotAToken
from authz.schemes import claim_parameters as claims_told
from authz.schemes import jwt_core, jwt_place, jwt_told, places
from authz.schemes.claim_parameters import ClaimParameter
from authz.schemes.claim_path import is_name
from authz.schemes.jwt_core import Seen
from authz.schemes.jwt_keys import named
from authz.schemes.jwt_position import place_at
from authz.schemes.no_credential import NoCredential
from authz.schemes.settings import (
    ParameterName,
    Settings,
    Username,
    challenge,
    check_hideable,
    unauthorized,
)
from authz.values import Credential, Denied, Deny, Once, Place, Proof, Request

MISSING = "Missing token in request"
INVALID = "Invalid token in request"
NO_CONSUMER = "missing_consumer_claim"
#: Refusals that only other schemes know.
_OTHERS = (
    *(jwt_core.WRONG_ALGORITHM, claims_of.ISSUED_IN_FUTURE),
    *(claims_of.WRONG_ISSUER, claims_of.WRONG_AUDIENCE),
)

_SPELLING = {
    "parameter_location": "parameterLocation",
    "claim_parameters": "claimParameters",
    "prevent_jti_replay": "preventJtiReplay",
    "bypass_empty_token": "bypassEmptyToken",
    "ignore_expiration_check": "ignoreExpirationCheck",
    "consumer_claim": "consumerClaim",
}


class JwtPlugin(Settings, frozen=True, rename=_SPELLING):
    """Settings of jwt-plugin on a service or a route, spelled as the plug-in's."""

    parameter: Annotated[ParameterName, Meta(description="What the token is called.")] = (
        "Authorization"
    )
    parameter_location: Annotated[
        Literal["header", "query", "cookie"], Meta(description="Where the token stands.")
    ] = "header"
    jwk: Annotated[dict[str, Any] | None, Meta(description="The public key, as a JWK.")] = None
    jwks: Annotated[
        dict[str, Any] | list[dict[str, Any]] | None,
        Meta(description="Several public keys: a JWK Set, or a list of JWKs."),
    ] = None
    claim_parameters: Annotated[
        tuple[ClaimParameter, ...], Meta(description="Claims to tell the upstream.")
    ] = ()
    prevent_jti_replay: Annotated[
        bool, Meta(description="Every token counts once: it must have `jti`.")
    ] = False
    bypass_empty_token: Annotated[
        bool, Meta(description="Who sends no token is the anonymous_consumer.")
    ] = False
    ignore_expiration_check: Annotated[
        bool, Meta(description="Neither require nor look at `exp`.")
    ] = False
    consumer: Annotated[Username | None, Meta(description="Whose calls these are.")] = None
    consumer_claim: Annotated[
        Annotated[str, Meta(min_length=1, max_length=256)] | None,
        Meta(description="Or the claim that names the consumer."),
    ] = None

    kind: ClassVar[str] = "jwt-plugin"
    form: ClassVar[type] = NoCredential
    draft: ClassVar[type] = NoCredential
    public_identifier: ClassVar[bool] = True
    reasons: ClassVar[dict[str, str]] = {
        "missing_token": "no token where the route looks",
        NO_CONSUMER: "the token's `consumerClaim` is no text that could name a consumer",
        "invalid_token": "the token holds, but its consumer does not",
        **{name: text for name, text in jwt_core.REASONS.items() if name not in _OTHERS},
        **places.REASONS,
    }

    def __post_init__(self) -> None:
        if (self.jwk is None) is (self.jwks is None):
            raise ValueError("expected jwk or jwks, the public keys of whoever signs the tokens")
        with named("jwk" if self.jwk is not None else "jwks"):
            _ = self._keys
        with named("parameter"):
            _ = self.place
        check_hideable(self.place.header, hidden=self.hide_credentials)
        if (self.consumer is None) is (self.consumer_claim is None):
            raise ValueError(
                "expected consumer: NAME, or consumerClaim: CLAIM (such as sub), to say whose "
                "calls these are"
            )
        self._check_anonymous()
        if self.prevent_jti_replay and self.ignore_expiration_check:
            raise ValueError(
                "preventJtiReplay: with ignoreExpirationCheck a jti would have to be remembered "
                "forever; leave out one of them"
            )
        with named("claimParameters"):
            claims_told.check(self.claim_parameters)

    def _check_anonymous(self) -> None:
        if self.bypass_empty_token and self.anonymous_consumer is None:
            raise ValueError(
                "bypassEmptyToken: needs anonymous_consumer: NAME, who calls without a token"
            )
        if self.anonymous_consumer is not None and not self.bypass_empty_token:
            raise ValueError("anonymous_consumer: needs bypassEmptyToken: true, or nobody is")

    # -- answers -----------------------------------------------------------------------------------

    @property
    def tolerant(self) -> bool:
        # No profile makes a wrong token pass as an anonymous call.
        return False

    def missing(self) -> Deny:
        return self._refusal("missing_token", MISSING)

    def invalid(self) -> Deny:
        return self._refusal("invalid_token")

    def _refusal(self, reason: str, message: str = INVALID) -> Deny:
        return unauthorized(self.kind, reason, message, challenge("Bearer", "jwt"))

    # -- the check ---------------------------------------------------------------------------------

    def authenticate(self, request: Request, store: Lookup) -> Proof | None:
        text = self._read(request)
        if text is None:
            return None
        try:
            seen = jwt_core.look_at(text, store)
        except NotAToken as error:
            raise Denied(self._refusal(error.reason)) from None
        self._verify(seen, text, store)
        self._check(seen.claims, request.at)
        consumer = self._consumer(seen.claims)
        headers = tuple(claims_told.told(self.claim_parameters, seen.claims, "header"))
        query = tuple(claims_told.told(self.claim_parameters, seen.claims, "query"))
        if not jwt_told.fit(headers, query):
            raise Denied(self._refusal(jwt_core.CLAIMS_TOO_LONG))
        return Proof(
            Credential(consumer, seen.key_id or "", self.kind, None, named=bool(seen.key_id)),
            headers=headers,
            query=query,
            once=self._once(consumer, seen.claims, request.at),
        )

    def _read(self, request: Request) -> str | None:
        try:
            found = jwt_place.find(self.place, request)
        except places.Unreadable as unreadable:
            raise Denied(self._refusal(unreadable.reason)) from None
        except jwt_place.OtherScheme:
            raise Foreign(self._refusal(jwt_core.NOT_BEARER)) from None
        return found[1] if found is not None else None

    def _verify(self, seen: Seen, text: str, store: Lookup) -> None:
        # A key without an id is for tokens whose kid is no other key's, too.
        key = self._keys.find(seen.key_id, seen.algorithm, lenient=True)
        if key is None:
            raise Denied(self._refusal(jwt_core.UNKNOWN_KEY_ID))
        if not jwt_core.is_signed(seen, text, key, store):
            raise Denied(self._refusal(jwt_core.INVALID_SIGNATURE))

    def _check(self, claims: dict[str, Any], at: float) -> None:
        if self.ignore_expiration_check:
            timeless = {name: value for name, value in claims.items() if name != "exp"}
            reason = claims_of.check(timeless, Rules(), at)
        else:
            reason = claims_of.check(claims, Rules(listed=("exp",)), at)
        if reason is not None:
            raise Denied(self._refusal(reason))

    def _consumer(self, claims: dict[str, Any]) -> str:
        if self.consumer is not None:
            return self.consumer
        name: Any = claims.get(self.consumer_claim or "")
        if not is_name(name):
            raise Denied(self._refusal(NO_CONSUMER))
        return str(name)

    def _once(self, consumer: str, claims: dict[str, Any], at: float) -> Once | None:
        """What makes the token count once: as long as it lives, nobody may use its jti again."""
        if not self.prevent_jti_replay:
            return None
        # Of one consumer: another one's token cannot use it up.
        try:
            nonce, seconds = jwt_core.nonce(claims, (self.kind, consumer), 0, at)
        except jwt_core.NotOnce as error:
            raise Denied(self._refusal(error.reason)) from None
        return Once(nonce, seconds, self._refusal(jwt_core.TOKEN_REPLAYED))

    @cached_property
    def _keys(self) -> KeySet:
        return KeySet.of(
            {"keys": self.jwks} if isinstance(self.jwks, list) else self.jwks or self.jwk
        )

    # -- what others see ---------------------------------------------------------------------------

    @cached_property
    def place(self) -> Place:
        return place_at(self.parameter_location, self.parameter)

    @cached_property
    def tells(self) -> tuple[str, ...]:
        return claims_told.names(self.claim_parameters, "header")

    @cached_property
    def tells_query(self) -> tuple[str, ...]:
        return claims_told.names(self.claim_parameters, "query")

    def notes(self, request: Request) -> tuple[tuple[str, str], ...]:
        try:
            text = self._read(request)
        except Denied as denied:
            return (("token", self.reasons[denied.deny.reason]),)
        if text is None:
            return ()
        names = (self.consumer_claim,) if self.consumer_claim is not None else ()
        return (*places.notes(self.place, request), *jwt_core.notes_of(text, *names))

    def hidden(self, request: Request, *, proven: bool) -> tuple[Place, ...]:
        return jwt_place.hidden(self.place, request) if self.hide_credentials else ()
