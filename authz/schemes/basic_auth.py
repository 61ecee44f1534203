"""basic-auth: a user name and a password (RFC 7617).

As API7 and APISIX know it, less APISIX's slips: the password may hold colons and spaces, an empty
one never matches, and the scheme's name stands at the start of the header.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from functools import cached_property
from typing import Any, ClassVar

from msgspec import Struct

from authz.contracts import Lookup, Vault
from authz.denials import Foreign
from authz.hashes import check_password_hash
from authz.references import Secret
from authz.schemes import places
from authz.schemes.settings import Realm, Settings, challenge, unauthorized
from authz.values import Credential, Denied, Deny, Place, Proof, Request

#: User name and password together, before decoding. Far beyond what people type.
MAX_ENCODED = 8 * 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BLANKS = " \t\n\r\v\f"
_WHITE_SPACE = re.compile(r"[ \t]")
_PLACE = Place(header="authorization")


class Password(Struct, frozen=True):
    """What is stored: the argon2id hash. The user name is the look-up key."""

    hashed: str

    def __repr__(self) -> str:
        return "Password()"


class PasswordDraft(Struct, frozen=True, forbid_unknown_fields=True):
    """A user name with its password; `{hash: …}` is one that was exported."""

    username: str
    password: Secret

    def seal(self, vault: Vault, tenant: str, before: Password | None) -> tuple[str, Password]:
        if not self.username or ":" in self.username or _CONTROL.search(self.username):
            raise ValueError("username: expected a name without colons and control characters")
        if self.password.source == "hash":
            try:
                check_password_hash(self.password.value)
            except ValueError as error:
                raise ValueError(f"password: {error}") from None
            return self.username, Password(self.password.value)
        password = self.password.value
        if self.password.safe or not password.strip() or _CONTROL.search(password):
            raise ValueError(
                "password: expected text that is not empty, without control characters"
            )
        if len(f"{self.username}:{password}".encode()) > MAX_ENCODED // 4 * 3:
            raise ValueError("password: too long")
        if before is not None and vault.password_matches(password, before.hashed):
            return self.username, before
        return self.username, Password(vault.hash_password(password))

    @classmethod
    def reopen(cls, index: str, form: Password, vault: Vault) -> dict[str, Any]:
        return {"username": index, "password": {"hash": form.hashed}}

    @classmethod
    def issue(cls, identifier: str) -> tuple[PasswordDraft, dict[str, str]]:
        password = secrets.token_urlsafe(24)
        draft = cls(identifier, Secret(password))
        return draft, {"username": identifier, "password": password}


class BasicAuth(Settings, frozen=True):
    """Settings of basic-auth on a service or a route."""

    realm: Realm = "basic"

    kind: ClassVar[str] = "basic-auth"
    form: ClassVar[type] = Password
    draft: ClassVar[type] = PasswordDraft
    public_identifier: ClassVar[bool] = True
    reasons: ClassVar[dict[str, str]] = {
        "missing_authorization": "no Authorization header",
        "not_basic": "Authorization of another scheme",
        "malformed_basic": "not base64 of a user name, a colon and a password",
        "invalid_password": "unknown user or wrong password",
    }

    @cached_property
    def _challenges(self) -> tuple[str, ...]:
        return challenge("Basic", self.realm)

    def missing(self) -> Deny:
        text = "Missing authorization in request"
        return unauthorized(self.kind, "missing_authorization", text, self._challenges)

    def malformed(self, reason: str) -> Deny:
        return unauthorized(self.kind, reason, "Invalid authorization in request", self._challenges)

    def invalid(self) -> Deny:
        return unauthorized(
            self.kind, "invalid_password", "Invalid user authorization", self._challenges
        )

    def authenticate(self, request: Request, store: Lookup) -> Proof | None:
        values = request.headers.get("authorization")
        if not values:
            return None
        if len(values) > 1:
            raise Denied(self.malformed("malformed_basic"))
        scheme, encoded = split_scheme(values[0], tolerant=self.tolerant)
        if scheme.lower() != "basic":
            raise Foreign(self.malformed("not_basic"))
        pair = decode_pair(encoded, tolerant=self.tolerant)
        if pair is None:
            raise Denied(self.malformed("malformed_basic"))
        return Proof(self._verify(*pair, store))

    def _verify(self, username: str, password: str, store: Lookup) -> Credential:
        credential = store.find(self.kind, username)
        # An unknown name is compared with nobody's hash, so that it costs what a wrong password
        # does and names cannot be told from the time.
        hashed = credential.form.hashed if credential else ""
        if not store.password_matches(password, hashed) or credential is None:
            raise Denied(self.invalid())
        return credential

    def evidence(self, request: Request) -> str | None:
        return places.alone(_PLACE, request, hidden=self.hide_credentials)

    def notes(self, request: Request) -> tuple[tuple[str, str], ...]:
        values = request.headers.get("authorization")
        if len(values) != 1:
            return (("Authorization", f"sent {len(values)} times"),) if values else ()
        scheme, encoded = split_scheme(values[0], tolerant=self.tolerant)
        pair = decode_pair(encoded, tolerant=self.tolerant) if scheme.lower() == "basic" else None
        return (("user name", pair[0]),) if pair else ()

    def hidden(self, request: Request, *, proven: bool) -> tuple[Place, ...]:
        if not self.hide_credentials:
            return ()
        # Of another scheme it is somebody else's, perhaps the upstream's own.
        sent = (part for v in request.headers.get("authorization") for part in v.split(","))
        basic = any(part.strip(_BLANKS)[:5].lower() == "basic" for part in sent)
        return (_PLACE,) if basic or proven else ()


def split_scheme(value: str, *, tolerant: bool) -> tuple[str, str]:
    """The authentication scheme and what follows one space (APISIX: one white-space character)."""
    if not tolerant:
        scheme, _, rest = value.partition(" ")
        return scheme, rest
    scheme, *rest_ = _WHITE_SPACE.split(value, maxsplit=1)
    return scheme, rest_[0] if rest_ else ""


def decode_pair(encoded: str, *, tolerant: bool) -> tuple[str, str] | None:
    """User name and password, split at the first colon (RFC 7617 section 2); None if malformed.

    Strict: canonical, padded base64 of UTF-8 without control characters, neither part empty.
    Tolerant, as APISIX: padding is optional, and white space around either part falls away.
    """
    if len(encoded) > MAX_ENCODED:
        return None
    decoded = _decode_lax(encoded) if tolerant else _decode_strict(encoded)
    if decoded is None:
        return None
    username, colon, password = decoded.partition(":")
    if tolerant:
        username, password = username.strip(_BLANKS), password.strip(_BLANKS)
    if not colon or not username or not password or _CONTROL.search(username + password):
        return None
    return username, password


def _decode_strict(encoded: str) -> str | None:
    try:
        data = base64.b64decode(encoded, validate=True)
        # Non-zero bits after the end would give one password many spellings.
        return data.decode() if base64.b64encode(data).decode() == encoded else None
    except (binascii.Error, ValueError):
        return None


def _decode_lax(encoded: str) -> str | None:
    body = encoded.partition("=")[0]
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
