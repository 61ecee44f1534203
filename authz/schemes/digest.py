"""digest: AppKey and AppSecret, the signature of Alibaba Cloud API Gateway.

The default wants a signed timestamp and a signed nonce, a body that is covered, and parameters that
the signature holds for alone. The profile `alibaba` has the vendor's rules, where all of that is
optional. What is set on a route wins over both.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from msgspec import Meta

from authz.contracts import Lookup
from authz.schemes import alibaba, digest_request
from authz.schemes import digest_refusals as refusals
from authz.schemes.alibaba import Refusal, Refused
from authz.schemes.digest_key import APP_KEY, AppKeyDraft, AppSecret
from authz.schemes.digest_request import Claim, header
from authz.schemes.settings import Settings, whole
from authz.signing import digest
from authz.values import Credential, Denied, Deny, Once, Place, Proof, Request, raw

#: Seconds that a timestamp may be away from now, and that a nonce may not come again.
WINDOW = 15 * 60
#: Clocks of several machines differ; a nonce is remembered for so much longer than it is good.
MARGIN = 60
RELEASE = "RELEASE"
#: Signed with when the AppKey is unknown, so that this costs what a wrong signature does.
NOBODY = secrets.token_bytes(32)

_NONCE = re.compile(r"[ -~]{1,128}")
#: Milliseconds up to the year 5138.
_TIMESTAMP = re.compile(r"[0-9]{1,14}")
#: What a signature came with. X-Ca-Stage is the API's business as well.
_HIDDEN = tuple(
    Place(header=name)
    for name in (
        *(digest_request.KEY, digest_request.SIGNATURE, digest_request.NAMES),
        *(digest_request.METHOD, digest_request.TIMESTAMP, digest_request.NONCE),
    )
)

Stage = Annotated[
    str, Meta(pattern=whole(r"[A-Za-z0-9_.-]{1,64}"), description="A name of X-Ca-Stage.")
]


class Digest(Settings, frozen=True):
    """Settings of digest on a service or a route."""

    signature_methods: Annotated[
        tuple[digest.Algorithm, ...],
        Meta(min_length=1, description="What X-Ca-Signature-Method may name."),
    ] = (digest.DEFAULT,)
    force_nonce_check: Annotated[
        bool | None, Meta(description="Whether a signed X-Ca-Nonce is required; else as profiled.")
    ] = None
    force_timestamp: Annotated[
        bool | None,
        Meta(description="Whether a signed X-Ca-Timestamp is required; else as profiled."),
    ] = None
    require_content_md5: Annotated[
        bool | None,
        Meta(description="Whether a body that is no form needs Content-MD5; else as profiled."),
    ] = None
    stages: Annotated[
        tuple[Stage, ...], Meta(min_length=1, description="What X-Ca-Stage may name.")
    ] = (RELEASE, "PRE", "TEST")

    kind: ClassVar[str] = "digest"
    form: ClassVar[type] = AppSecret
    draft: ClassVar[type] = AppKeyDraft
    public_identifier: ClassVar[bool] = True
    reasons: ClassVar[dict[str, str]] = {each.reason: each.meaning for each in refusals.ALL}

    @property
    def vendor(self) -> bool:
        """Whether the vendor's own rules hold."""
        return self.profile == "alibaba"

    @property
    def reads_body(self) -> bool:
        return True

    def _required(self, setting: bool | None) -> bool:
        return not self.vendor if setting is None else setting

    def _deny(self, refusal: Refusal, request: Request | None = None) -> Deny:
        return alibaba.deny(refusal, self.kind, request, vendor=self.vendor)

    def missing(self) -> Deny:
        return self._deny(refusals.MISSING_APP_KEY)

    def invalid(self) -> Deny:
        return self._deny(refusals.UNKNOWN_APP_KEY)

    def forbidden(self, reason: str, request: Request) -> Deny:
        return alibaba.forbidden(reason, self.kind, request)

    def throttled(self, reason: str, by: str, status: int, request: Request) -> Deny:
        vendor = self.profile == "alibaba"
        return alibaba.throttled(reason, self.kind, by, status, request, vendor=vendor)

    def authenticate(self, request: Request, store: Lookup) -> Proof | None:
        try:
            claim = digest_request.read(request)
            if claim is None:
                return None
            # Whether the rest is right is for those to know who hold the secret.
            credential = self._verify(claim, store)
            self._require_unambiguous(claim)
            self._require_stage(request)
            required = self._required(self.require_content_md5)
            digest_request.require_covered(request, md5_required=required)
            once = self._once(claim, request, self._signed_at(claim, request))
        except Refused as refused:
            raise Denied(self._deny(refused.refusal, request)) from None
        return Proof(credential, once=once)

    def _verify(self, claim: Claim, store: Lookup) -> Credential:
        algorithm = next((m for m in self.signature_methods if m == claim.algorithm), None)
        if algorithm is None:
            raise Refused(refusals.METHOD_NOT_ALLOWED)
        known = APP_KEY.fullmatch(claim.app_key)
        credential = store.find(self.kind, claim.app_key) if known else None
        secret = credential.form.secret.value if credential is not None else NOBODY
        sent = raw(claim.signature)
        tags = [digest.signature(secret, text, algorithm).encode() for text in claim.strings]
        holds = [hmac.compare_digest(tag, sent) for tag in tags]
        if credential is None:
            raise Refused(refusals.UNKNOWN_APP_KEY)
        if not any(holds):
            raise Refused(refusals.bad_signature(claim.strings[0]))
        return credential

    def _require_unambiguous(self, claim: Claim) -> None:
        if self.vendor:
            return
        if not claim.signs(digest_request.KEY):
            raise Refused(refusals.UNSIGNED_APP_KEY)
        if claim.is_ambiguous:
            raise Refused(refusals.AMBIGUOUS_PARAMETERS)

    def _require_stage(self, request: Request) -> None:
        stage = header(request, digest_request.STAGE)
        if (RELEASE if stage is None else stage) not in self.stages:
            raise Refused(refusals.INVALID_STAGE)

    def _signed_at(self, claim: Claim, request: Request) -> float | None:
        """When the request was signed, in Unix seconds. What is not signed is not there: whoever
        repeats the request could write another."""
        text = header(request, digest_request.TIMESTAMP)
        if text is None or not claim.signs(digest_request.TIMESTAMP):
            if self._required(self.force_timestamp):
                missing = text is None
                unsigned = refusals.TIMESTAMP_UNSIGNED
                raise Refused(refusals.TIMESTAMP_MISSING if missing else unsigned)
            return None
        if not _TIMESTAMP.fullmatch(text):
            raise Refused(refusals.TIMESTAMP_MALFORMED)
        signed_at = int(text) / 1000
        if abs(request.at - signed_at) > WINDOW:
            raise Refused(refusals.TIMESTAMP_EXPIRED)
        return signed_at

    def _once(self, claim: Claim, request: Request, signed_at: float | None) -> Once | None:
        """The nonce, to be spent when all else holds. The AppKey is its scope."""
        nonce = header(request, digest_request.NONCE)
        if nonce is None or not claim.signs(digest_request.NONCE):
            if self._required(self.force_nonce_check):
                raise Refused(refusals.NONCE_MISSING if nonce is None else refusals.NONCE_UNSIGNED)
            return None
        if not _NONCE.fullmatch(nonce):
            raise Refused(refusals.NONCE_MALFORMED)
        # A timestamp of the future is good for longer than one of now.
        ahead = max(0, math.ceil((signed_at or request.at) - request.at))
        name = f"{self.kind} {claim.app_key} {nonce}"
        return Once(name, WINDOW + ahead + MARGIN, self._deny(refusals.NONCE_REPLAYED, request))

    def notes(self, request: Request) -> tuple[tuple[str, str], ...]:
        try:
            claim = digest_request.read(request)
        except Refused as refused:
            return (("signature", refused.refusal.meaning),)
        if claim is None:
            return ()
        text = request.headers.first(digest_request.TIMESTAMP) or ""
        at = int(text) / 1000 if _TIMESTAMP.fullmatch(text) else None
        signed = () if at is None else (("signed at", datetime.fromtimestamp(at, UTC).isoformat()),)
        return (
            ("AppKey", claim.app_key),
            ("signature method", claim.algorithm),
            ("signed headers", ",".join(claim.names)),
            *signed,
            ("string to sign", claim.strings[0]),
        )

    def hidden(self, request: Request, *, proven: bool) -> tuple[Place, ...]:
        return _HIDDEN if self.hide_credentials else ()
