"""A credential of jwt: the user whom a token names, and the key that signs the user's tokens."""

from __future__ import annotations

import secrets
from functools import cached_property
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from authz.contracts import Vault
from authz.jose.claims import Rules
from authz.jose.keys import MIN_SECRET, VerifyKey, public_key, secret_key
from authz.references import Secret, recover
from authz.schemes.claim_path import MAX_NAME, is_name
from authz.schemes.jwt_keys import named, plain_text, secret_bytes
from authz.secrets import Recoverable

# fmt: off
Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
]
# fmt: on
#: The two alphabets of base64 (RFC 4648 sections 4 and 5) differ in these.
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")


class JwtUser(Struct, frozen=True, omit_defaults=True, dict=True):
    """A secret or a public key (PEM), for one algorithm. The look-up key is the user's name.

    `validation_fields` of `exp` and `nbf`: these must be there and hold, no others are looked at;
    None: both must hold where they are there.
    """

    algorithm: str
    secret: Recoverable | None = None
    base64_secret: bool = False
    allow_weak_secret: bool = False
    public_key: str = ""
    validation_fields: tuple[str, ...] | None = None
    issuer: str | None = None

    def __repr__(self) -> str:
        return f"JwtUser({self.algorithm})"

    @cached_property
    def key(self) -> VerifyKey:
        """What verifies the user's tokens. Raises ValueError when it is unfit."""
        if self.secret is None:
            return public_key(self.algorithm, self.public_key)
        written = self.secret.value
        if self.base64_secret and not (b"+" in written or b"/" in written):
            written = written.translate(_URL_ALPHABET)
        secret = secret_bytes(written, encoded=self.base64_secret)
        return secret_key(self.algorithm, secret, allow_weak=self.allow_weak_secret)

    @cached_property
    def rules(self) -> Rules:
        """What this credential asks of claims."""
        if self.validation_fields is None:
            return Rules(issuer=self.issuer)
        return Rules(self.validation_fields, unlisted=False, issued="ignored", issuer=self.issuer)


class JwtUserDraft(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The user's name as the tokens have it, and a secret or a public_key."""

    username: Annotated[
        str, Meta(min_length=1, max_length=MAX_NAME, description="What username_path leads to.")
    ]
    algorithm: Annotated[Algorithm, Meta(description="The only one that counts.")] = "HS256"
    secret: Secret | None = None
    base64_secret: Annotated[
        bool, Meta(description="The secret is the base64 of bytes, in either alphabet.")
    ] = False
    public_key: Secret | None = None
    validation_fields: Annotated[
        list[Literal["exp", "nbf"]] | None,
        Meta(
            description="Claims that must be there and hold; no other is looked at. Without a "
            "list both must hold where they are there."
        ),
    ] = None
    issuer: Annotated[str | None, Meta(description="The only `iss` that counts.")] = None
    allow_weak_secret: Annotated[
        bool, Meta(description="Allow a secret that is shorter than the hash.")
    ] = False

    def seal(self, vault: Vault, tenant: str, before: JwtUser | None) -> tuple[str, JwtUser]:
        if not is_name(self.username):
            raise ValueError("username: holds a control character, which no name has")
        symmetric = self.algorithm in MIN_SECRET
        name, other = ("secret", "public_key") if symmetric else ("public_key", "secret")
        if getattr(self, other) is not None:
            raise ValueError(f"{other}: not for {self.algorithm}, which needs a {name}")
        written = getattr(self, name)
        if written is None:
            raise ValueError(f"{name}: {self.algorithm} needs one")
        fields = self.validation_fields
        made = JwtUser(
            algorithm=self.algorithm,
            base64_secret=self.base64_secret,
            allow_weak_secret=self.allow_weak_secret,
            validation_fields=None if fields is None else tuple(fields),
            issuer=self.issuer,
        )
        with named(name):
            value = Recoverable(recover(written, vault)) if symmetric else plain_text(written)
            made = replace(made, **{name: value})
            _ = made.key  # it must not be unfit
        return self.username, made

    @classmethod
    def reopen(cls, index: str, form: JwtUser, vault: Vault) -> dict[str, Any]:
        made: dict[str, Any] = {"username": index, "algorithm": form.algorithm}
        if form.secret is not None:
            made["secret"] = {"encrypted": vault.encrypt(form.secret.value)}
        if form.validation_fields is not None:
            made["validation_fields"] = list(form.validation_fields)
        if form.issuer is not None:
            made["issuer"] = form.issuer
        for name in ("base64_secret", "allow_weak_secret", "public_key"):
            if getattr(form, name):
                made[name] = getattr(form, name)
        return made

    @classmethod
    def issue(cls, identifier: str) -> tuple[JwtUserDraft, dict[str, str]]:
        # Long enough for every hash, and in the alphabet of base64, too.
        secret = secrets.token_hex(48)
        draft = cls(identifier, secret=Secret(secret))
        return draft, {"username": identifier, "algorithm": draft.algorithm, "secret": secret}
