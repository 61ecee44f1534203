"""appcode: the AppCode of Alibaba Cloud API Gateway, in a header or in the query.

A code is looked up by its keyed digest alone, so the store never holds it. It is good for every API
that its app may call, so the upstream of one does not see it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from authz import forms
from authz.contracts import Lookup, Vault
from authz.denials import Foreign
from authz.references import Secret
from authz.schemes import alibaba, digested, places
from authz.schemes.alibaba import NEED, Refusal
from authz.schemes.digested import Digested, Hint
from authz.schemes.settings import Settings
from authz.values import Denied, Deny, Place, Proof, Request

Option = Literal["HEADER", "HEADER_QUERY", "DISABLE", "DEFAULT"]

_HEADER, _SCHEME, _PARAMETER = "authorization", "appcode", "AppCode"
#: No blanks and commas, which separate; no `!`, which may be what Envoy wrote for another byte.
_CODE = re.compile(r'["-+\--~]{1,128}')
_MISSING = Refusal("missing_app_code", "no AppCode where the route looks", *NEED)
_FOREIGN = Refusal("not_app_code", "Authorization is of another scheme than APPCODE", *NEED)
_DISABLED = Refusal("app_code_disabled", "`app_code` of this route takes no AppCode", *NEED)
_INVALID = Refusal(
    "invalid_app_code", "no credential has this AppCode", "Invalid AppCode", "A400AC"
)


class AppCodeDraft(Struct, frozen=True, forbid_unknown_fields=True):
    """An AppCode as an operator writes it down; `{digest: …}` is one that was exported, and `hint`
    how it is recognised in a list."""

    code: Secret
    hint: Hint = ""

    def seal(self, vault: Vault, tenant: str, before: Digested | None) -> tuple[str, Digested]:
        def digest(code: str) -> str:
            if not _CODE.fullmatch(code):
                raise ValueError(
                    "code: expected 1 to 128 printable ASCII characters without blanks, `,` and "
                    "`!`, or its {digest: …}"
                )
            return vault.digest(AppCode.kind, tenant, code)

        return digested.seal("code", self.code, Digested(self.hint), before, vault, digest)

    @classmethod
    def reopen(cls, index: str, form: Digested, vault: Vault) -> dict[str, Any]:
        return digested.reopen("code", index, form)

    @classmethod
    def issue(cls, identifier: str) -> tuple[AppCodeDraft, dict[str, str]]:
        code = secrets.token_hex(16).upper()
        return cls(Secret(code)), {"code": code}


class AppCode(Settings, frozen=True):
    """Settings of appcode on a service or a route."""

    hide_credentials: Annotated[
        bool, Meta(description="Remove the AppCode from what the upstream sees.")
    ] = True
    app_code: Annotated[
        Option,
        Meta(
            description="Where an AppCode is taken from; DEFAULT: the header if this API is on "
            "the marketplace, else nowhere."
        ),
    ] = "HEADER"
    marketplace: Annotated[
        bool, Meta(description="Whether this API is listed on the marketplace, for DEFAULT.")
    ] = False

    kind: ClassVar[str] = "appcode"
    form: ClassVar[type] = Digested
    draft: ClassVar[type] = AppCodeDraft
    public_identifier: ClassVar[bool] = False
    reasons: ClassVar[dict[str, str]] = {
        **{each.reason: each.meaning for each in (_MISSING, _FOREIGN, _DISABLED, _INVALID)},
        **places.REASONS,
    }

    @cached_property
    def _option(self) -> Option:
        if self.app_code == "DEFAULT":
            return "HEADER" if self.marketplace else "DISABLE"
        return self.app_code

    def _deny(self, refusal: Refusal, request: Request | None = None) -> Deny:
        vendor = self.profile == "alibaba"
        return alibaba.deny(refusal, self.kind, request, vendor=vendor)

    def missing(self) -> Deny:
        return self._deny(_DISABLED if self._option == "DISABLE" else _MISSING)

    def invalid(self) -> Deny:
        return self._deny(_INVALID)

    def forbidden(self, reason: str, request: Request) -> Deny:
        return alibaba.forbidden(reason, self.kind, request)

    def throttled(self, reason: str, by: str, status: int, request: Request) -> Deny:
        vendor = self.profile == "alibaba"
        return alibaba.throttled(reason, self.kind, by, status, request, vendor=vendor)

    def authenticate(self, request: Request, store: Lookup) -> Proof | None:
        if self._option == "DISABLE":
            return None
        invalid = self._deny(_INVALID, request)
        try:
            found = self._read(request)
        except places.Unreadable as unreadable:
            raise Denied(invalid.because(unreadable.reason)) from None
        if found is None:
            if _HEADER in request.headers:
                raise Foreign(self._deny(_FOREIGN, request))
            return None
        code = found[1]
        credential = store.find_secret(self.kind, code) if _CODE.fullmatch(code) else None
        if credential is None:
            raise Denied(invalid)
        return Proof(credential)

    def _read(self, request: Request) -> tuple[str, str] | None:
        """Where an AppCode is, and the code. Raises `Unreadable` for copies."""
        values = request.headers.get(_HEADER)
        found = [(f"header {_HEADER}", code) for code in map(_code, values) if code is not None]
        if found and len(values) > 1:
            raise places.Unreadable(places.DUPLICATE)
        if self._option == "HEADER_QUERY":
            found += [("query", code) for code in _query_codes(request.query)]
        if len(found) > 1:
            raise places.Unreadable(places.DUPLICATE)
        return found[0] if found else None

    def notes(self, request: Request) -> tuple[tuple[str, str], ...]:
        try:
            found = self._read(request) if self._option != "DISABLE" else None
        except places.Unreadable as unreadable:
            return (("AppCode", places.REASONS[unreadable.reason]),)
        return (("AppCode", f"{len(found[1])} characters in {found[0]}"),) if found else ()

    def hidden(self, request: Request, *, proven: bool) -> tuple[Place, ...]:
        if not self.hide_credentials:
            return ()
        # Of another scheme it is the upstream's own. A code is hidden where this route does not
        # take it, too: another API might.
        sent = (part for v in request.headers.get(_HEADER) for part in v.split(","))
        here = any(part.strip(" \t")[: len(_SCHEME)].lower() == _SCHEME for part in sent)
        return (Place(header=_HEADER if here else None, query=_PARAMETER),)


def _code(authorization: str) -> str | None:
    """What follows the scheme's name, in any case (RFC 9110 section 11.1), and one space."""
    scheme, _, code = authorization.partition(" ")
    return code if scheme.lower() == _SCHEME else None


def _query_codes(query: str) -> Iterator[str]:
    """The value of the parameter AppCode, in any ASCII case."""
    try:
        pieces = forms.pieces(query)
    except forms.TooMany:
        raise places.Unreadable(places.TOO_MANY_PARAMETERS) from None
    for piece in pieces:
        name, _, value = piece.partition("=")
        spelled = forms.percent_decode(name)
        # ASCII alone: other scripts have letters that fold onto ours.
        if spelled is not None and spelled.isascii() and spelled.lower() == _PARAMETER.lower():
            decoded = forms.percent_decode(value)
            if decoded is None:
                raise places.Unreadable(places.MALFORMED)
            yield decoded
