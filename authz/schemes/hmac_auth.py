"""hmac-auth: an HMAC over parts of the request, as API7 and APISIX know it.

What is signed is made in `authz.signing.hmac_auth`. By default request line and date must be among
it, every header that is said to be signed must be there once, and of a body the digest is signed.
The APISIX profiles ask for as little as those releases did, but for two of their weaknesses: a
header that the route wants signed must also be there, and no doubtful body passes.
"""

from __future__ import annotations

import math
import re
import secrets
from functools import cached_property
from typing import Annotated, ClassVar

from msgspec import Meta
from msgspec.structs import replace

from authz.contracts import Lookup
from authz.denials import Foreign
from authz.schemes import hmac_legacy
from authz.schemes.hmac_key import MAX_KEY_ID, MAX_SKEW, HmacDraft, HmacKey
from authz.schemes.hmac_request import (
    ABSENT,
    BAD_SIGNATURE,
    MALFORMED,
    NOT_SIGNATURE,
    NOT_SIGNED,
    PREFIX,
    REASONS,
    Claim,
    Refused,
    TooLarge,
    read,
    value_of,
)
from authz.schemes.hmac_rules import Rules
from authz.schemes.settings import HeaderName, Realm, Settings, challenge, unauthorized, whole
from authz.secrets import Recoverable
from authz.signing.hmac_auth import SIGNED_HEADERS, Algorithm
from authz.values import Denied, Deny, Headers, Once, Place, Proof, Request

#: Stands for the key of those who have none: a wrong key id costs what a wrong signature costs.
NOBODY = HmacKey(Recoverable(secrets.token_bytes(32)))
REFUSED = "client request can't be validated"

#: A nonce outlives its signature by so many seconds, for workers whose clocks are behind.
MARGIN = 60

_MISSING = "missing_signature"
_UNKNOWN = "unknown_key_id"
_REPLAYED = "replayed"
_NONCE = re.compile(r"[!-~]{1,128}")
_PLACE = Place(header="authorization")
#: Perhaps signed, but not to be shown.
_SECRETIVE = ("authorization", "proxy-authorization", "cookie")

Algorithms = Annotated[
    tuple[Algorithm, ...],
    Meta(min_length=1, description="Default: SHA-256 and SHA-512; APISIX profiles: SHA-1 too."),
]
SignedName = Annotated[
    str, Meta(pattern=whole(r"@request-target|[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}"))
]
SignedNames = Annotated[
    tuple[SignedName, ...],
    Meta(
        description="What must be signed beside `@request-target` and `date`; under APISIX "
        "profiles, what must be signed at all, `date` unless given."
    ),
]

NonceHeader = Annotated[
    HeaderName,
    Meta(description="A header that must be signed, and whose value may be used only once."),
]


class HmacAuth(Settings, frozen=True):
    """Settings of hmac-auth on a service or a route."""

    allowed_algorithms: Algorithms | None = None
    clock_skew: Annotated[
        int, Meta(ge=1, le=MAX_SKEW, description="Seconds that Date may be off, either way.")
    ] = 300
    signed_headers: SignedNames | None = None
    validate_request_body: Annotated[
        bool, Meta(description="Check the body against Digest, which must be signed.")
    ] = False
    max_req_body_size: Annotated[
        int, Meta(ge=1, description="In bytes; a larger body is 413 where it would be checked.")
    ] = 64 * 1024 * 1024
    nonce_header: NonceHeader | None = None
    realm: Realm = "hmac"

    kind: ClassVar[str] = "hmac-auth"
    form: ClassVar[type] = HmacKey
    draft: ClassVar[type] = HmacDraft
    public_identifier: ClassVar[bool] = True
    reasons: ClassVar[dict[str, str]] = {
        _MISSING: "no signature where the route looks",
        _UNKNOWN: "no credential has this key id",
        _REPLAYED: "the nonce was used before",
        **REASONS,
    }

    @cached_property
    def legacy(self) -> bool:
        return self.profile == "apisix-3.9"

    @property
    def reads_body(self) -> bool:
        # A legacy credential may want it, whatever the route says.
        return self.validate_request_body or self.legacy

    @property
    def tells(self) -> tuple[str, ...]:
        # Not told as such: removed, unless the credential's rule is that they stay.
        return hmac_legacy.STRIPPED if self.legacy else ()

    @cached_property
    def rules(self) -> Rules:
        more = ("hmac-sha1",) if self.tolerant else ()
        return Rules(
            self.allowed_algorithms or ("hmac-sha256", "hmac-sha512", *more),
            self.clock_skew,
            self._required(),
            self.max_req_body_size if self.validate_request_body else None,
            self.tolerant,
        )

    def _required(self) -> tuple[str, ...]:
        if self.tolerant:
            return ("date",) if self.signed_headers is None else self.signed_headers
        names = (*SIGNED_HEADERS, *(self.signed_headers or ()))
        body = ("digest",) if self.validate_request_body else ()
        return tuple(dict.fromkeys(name.lower() for name in (*names, *body)))

    # -- answers -----------------------------------------------------------------------------------

    def missing(self) -> Deny:
        if self.legacy:
            return self._refusal(_MISSING)
        if self.tolerant:
            return self._refusal(_MISSING, f"{REFUSED}: missing Authorization header")
        return self._refusal(_MISSING, "Missing authorization in request")

    def invalid(self) -> Deny:
        return self._refusal(BAD_SIGNATURE)

    def _refusal(self, reason: str, message: str = REFUSED) -> Deny:
        return unauthorized(self.kind, reason, message, challenge("hmac", self.realm))

    def _because(self, refused: Refused) -> Deny:
        if self.legacy:
            return self._refusal(refused.reason)
        if isinstance(refused, TooLarge):
            text = f"request size {refused.size} is greater than the maximum size {refused.limit}"
            return Deny(refused.reason, 413, f"{text} allowed", scheme=self.kind)
        if refused.reason == NOT_SIGNATURE:
            text = f"{REFUSED}: Authorization header does not start with '{PREFIX}'"
            return self._refusal(NOT_SIGNATURE, text)
        return self._refusal(refused.reason)

    # -- the check ---------------------------------------------------------------------------------

    def authenticate(self, request: Request, store: Lookup) -> Proof | None:
        try:
            claim = self._read(request)
        except Refused as refused:
            answer = Foreign if refused.reason == NOT_SIGNATURE else Denied
            raise answer(self._because(refused)) from None
        if claim is None:
            return None
        known = len(claim.key_id) <= MAX_KEY_ID
        credential = store.find(self.kind, claim.key_id) if known else None
        key = credential.form if credential is not None else NOBODY
        refusal = None
        try:
            until = self._verify(claim, key, request)
            once = self._once(claim, request, until)
            kept = hmac_legacy.kept(request) if self.legacy and key.keep_headers else ()
        except Refused as refused:
            refusal = self._because(refused)
        if credential is None:
            raise Denied(self._refusal(_UNKNOWN))
        if refusal is not None:
            raise Denied(refusal)
        return Proof(credential, kept, once=once)

    def _read(self, request: Request) -> Claim | None:
        if self.legacy:
            return hmac_legacy.read(request)
        return read(request, tolerant=self.tolerant)

    def _verify(self, claim: Claim, key: HmacKey, request: Request) -> int:
        if not self.legacy:
            return self.rules.verify(claim, key, request)
        # A nonce can be remembered for a bounded time only, so that then a date must hold.
        skew = key.clock_skew or (self.clock_skew if self.nonce_header else 0)
        checked = key.validate_request_body or self.validate_request_body
        limit = min(key.max_req_body, self.max_req_body_size) if checked else None
        return hmac_legacy.verify(claim, key, request, skew=skew, body_limit=limit)

    def _once(self, claim: Claim, request: Request, until: int) -> Once | None:
        if self.nonce_header is None:
            return None
        # Whoever may write another date may send the nonce again when it is forgotten.
        dated = self.legacy or claim.signs("date")
        if not dated or not claim.signs(self.nonce_header):
            raise Refused(NOT_SIGNED)
        nonce = value_of(request, self.nonce_header, tolerant=self.tolerant)
        if nonce is None:
            raise Refused(ABSENT)
        if not _NONCE.fullmatch(nonce):
            raise Refused(MALFORMED)
        # To the end of the last second in which the signature holds, by the slowest clock.
        seconds = math.ceil(until - request.at) + 1 + MARGIN
        key = f"{self.kind}\0{claim.key_id}\0{nonce}"
        return Once(key, seconds, self._refusal(_REPLAYED))

    # -- for people, and for the upstream ----------------------------------------------------------

    def notes(self, request: Request) -> tuple[tuple[str, str], ...]:
        try:
            claim = self._read(request)
        except Refused as refused:
            return (("signature", REASONS[refused.reason]),)
        if claim is None:
            return ()
        found = (
            ("key id", claim.key_id),
            ("algorithm", claim.algorithm),
            ("signed headers", " ".join(claim.names)),
        )
        try:
            return (*found, ("string to sign", self._string_to_sign(claim, _shown(request))))
        except Refused as refused:
            return (*found, ("string to sign", REASONS[refused.reason]))

    def _string_to_sign(self, claim: Claim, request: Request) -> str:
        if self.legacy:
            return hmac_legacy.string_to_sign(claim, request)
        return self.rules.string_to_sign(claim, request)

    def hidden(self, request: Request, *, proven: bool) -> tuple[Place, ...]:
        if not self.hide_credentials:
            return ()
        if self.legacy:
            return (_PLACE, Place(header=hmac_legacy.ACCESS_KEY))
        # Of another scheme it is somebody else's; APISIX removes it nevertheless.
        sent = (part for v in request.headers.get("authorization") for part in v.split(","))
        ours = any(part.strip(" \t").startswith(PREFIX) for part in sent)
        return (_PLACE,) if proven or ours or self.tolerant else ()


def _shown(request: Request) -> Request:
    """The request, without the values of headers that are credentials by themselves."""
    headers = request.headers
    lines = [(name, value) for name in headers for value in headers.get(name)]
    shown = [(name, "(not shown)" if name in _SECRETIVE else value) for name, value in lines]
    return replace(request, headers=Headers(shown, exact=headers.exact))
