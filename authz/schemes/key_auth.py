"""key-auth: an API key in a header, a query parameter or a cookie.

As API7 and APISIX know it. A key is looked up by its keyed digest alone, so the store never holds
it and no comparison with a secret takes place.
"""

from __future__ import annotations

import secrets
import zlib
from functools import cached_property
from typing import Any, ClassVar

from msgspec import Struct

from authz.contracts import Lookup, Vault
from authz.references import Secret
from authz.schemes import digested, places
from authz.schemes.digested import Digested, Hint
from authz.schemes.settings import (
    CookieName,
    HeaderName,
    ParameterName,
    Realm,
    Settings,
    challenge,
    check_hideable,
    unauthorized,
)
from authz.values import Denied, Deny, Place, Proof, Request

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class KeyDraft(Struct, frozen=True, forbid_unknown_fields=True):
    """A key as an operator writes it down; `{digest: …}` is one that was exported, and `hint`
    how it is recognised in a list."""

    key: Secret
    hint: Hint = ""

    def seal(self, vault: Vault, tenant: str, before: Digested | None) -> tuple[str, Digested]:
        def digest(key: str) -> str:
            _check(key)
            return vault.digest(KeyAuth.kind, tenant, key)

        return digested.seal("key", self.key, Digested(self.hint), before, vault, digest, head=8)

    @classmethod
    def reopen(cls, index: str, form: Digested, vault: Vault) -> dict[str, Any]:
        return digested.reopen("key", index, form)

    @classmethod
    def issue(cls, identifier: str) -> tuple[KeyDraft, dict[str, str]]:
        key = new_key()
        return cls(Secret(key)), {"key": key}


def new_key() -> str:
    """A fresh key: 190 random bits, a prefix that scanners can find, and a checksum."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(32))
    return f"authz_{body}{zlib.crc32(body.encode()):08x}"


def _check(key: str) -> None:
    if not key:
        raise ValueError("key: expected a key that is not empty, or its {digest: …}")
    if len(key) > places.MAX_CREDENTIAL:
        raise ValueError(f"key: longer than {places.MAX_CREDENTIAL} characters")
    if not key.isprintable():
        raise ValueError("key: holds a control character, which no request can carry")


class KeyAuth(Settings, frozen=True):
    """Settings of key-auth on a service or a route. `null` switches a place off."""

    header: HeaderName | None = "apikey"
    query: ParameterName | None = "apikey"
    cookie: CookieName | None = None
    realm: Realm = "key"

    kind: ClassVar[str] = "key-auth"
    form: ClassVar[type] = Digested
    draft: ClassVar[type] = KeyDraft
    public_identifier: ClassVar[bool] = False
    reasons: ClassVar[dict[str, str]] = {
        "missing_key": "no key where the route looks",
        "invalid_key": "no credential has this key",
        **places.REASONS,
    }

    @cached_property
    def place(self) -> Place:
        header = self.header.lower() if self.header else None
        return Place(header, self.query, self.cookie, self.tolerant)

    def __post_init__(self) -> None:
        check_hideable(self.header, hidden=self.hide_credentials)

    def missing(self) -> Deny:
        return self._missing

    def invalid(self) -> Deny:
        return self._invalid

    @cached_property
    def _missing(self) -> Deny:
        # APISIX shortened the text in 3.10; API7's manual has the longer one.
        found = "" if self.profile == "apisix-3.18" else "found "
        text = f"Missing API key {found}in request"
        return unauthorized(self.kind, "missing_key", text, challenge("apikey", self.realm))

    @cached_property
    def _invalid(self) -> Deny:
        text = "Invalid API key in request"
        return unauthorized(self.kind, "invalid_key", text, challenge("apikey", self.realm))

    def authenticate(self, request: Request, store: Lookup) -> Proof | None:
        try:
            key = places.read(self.place, request)
        except places.Unreadable as unreadable:
            raise Denied(self._invalid.because(unreadable.reason)) from None
        if key is None:
            return None
        credential = store.find_secret(self.kind, key)
        if credential is None:
            raise Denied(self._invalid)
        return Proof(credential)

    def evidence(self, request: Request) -> str | None:
        return places.alone(self.place, request, hidden=self.hide_credentials)

    def notes(self, request: Request) -> tuple[tuple[str, str], ...]:
        return places.notes(self.place, request)

    def hidden(self, request: Request, *, proven: bool) -> tuple[Place, ...]:
        if not self.hide_credentials:
            return ()
        if self.tolerant and proven:
            found = places.find(self.place, request)
            return (found[0],) if found else ()
        return (self.place,)
