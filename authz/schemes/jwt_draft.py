"""A credential of jwt-auth as operators write it: the key claim's value, and one way to verify."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import force_setattr, replace

from authz import strict_json
from authz.contracts import Vault
from authz.jose.key_set import MAX_SET
from authz.jose.keys import MIN_SECRET
from authz.references import Secret, recover
from authz.schemes.jwt_key import LIFETIME, JwtKey
from authz.schemes.jwt_keys import Algorithm, check_url, named, plain_text, private_key
from authz.secrets import Recoverable

#: No key is longer, in characters.
MAX_KEY = 1024
#: No span of time is longer, in seconds: some 68 years.
MAX_SECONDS = 2**31 - 1
_MATERIAL = ("secret", "public_key", "jwks", "jwks_url")
_KEYS_SCHEMA = {"type": ["object", "string"]}


class JwtDraft(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The key, and one of secret, public_key, jwks and jwks_url; the rest has defaults."""

    key: Annotated[
        str, Meta(min_length=1, max_length=MAX_KEY, description="The key claim of its tokens.")
    ]
    algorithm: Annotated[
        Algorithm | None,
        Meta(description="The only one that counts. With a secret HS256 unless it is named."),
    ] = None
    secret: Secret | None = None
    base64_secret: Annotated[bool, Meta(description="The secret is the base64 of bytes.")] = False
    public_key: Secret | None = None
    private_key: Secret | None = None
    jwks: Annotated[
        Any,
        Meta(
            description="A JWK Set or a JWK, of public keys; or `{file: …}`, `{env: …}` of one.",
            extra_json_schema=_KEYS_SCHEMA,
        ),
    ] = None
    jwks_url: Annotated[str | None, Meta(description="Where a JWK Set is published.")] = None
    allow_weak_secret: Annotated[
        bool, Meta(description="Allow a secret that is shorter than the hash.")
    ] = False
    exp: Annotated[
        int,
        Meta(ge=1, le=MAX_SECONDS, description="Seconds that a token of the sign endpoint lives."),
    ] = LIFETIME
    lifetime_grace_period: Annotated[
        int, Meta(ge=0, le=MAX_SECONDS, description="Seconds by which clocks may differ.")
    ] = 0
    issuer: Annotated[str | None, Meta(description="The only `iss` that counts.")] = None
    audience: Annotated[list[str], Meta(description="`aud` must have one of these.")] = []

    def __post_init__(self) -> None:
        # By reference or by value: then it is resolved where all of a document's secrets are.
        if self.jwks is not None and not isinstance(self.jwks, Secret):
            with named("jwks"):
                force_setattr(self, "jwks", _decode_set(self.jwks))

    def seal(self, vault: Vault, tenant: str, before: JwtKey | None) -> tuple[str, JwtKey]:
        if not self.key.isprintable():
            raise ValueError("key: holds a control character, which no token may name")
        made = self._form(self._material(), vault)
        if self.private_key is None:
            return self.key, made
        if made.key is None or made.secret is not None:
            raise ValueError("private_key: only beside its public_key")
        with named("private_key"):
            pem = private_key(self.private_key, made.key, vault)
        return self.key, replace(made, private_key=pem)

    def _material(self) -> str:
        """The one field that says how to verify."""
        given = [name for name in _MATERIAL if getattr(self, name) is not None]
        if not given:
            wanted = "secret" if self.algorithm is None or self._symmetric else "public_key"
            raise ValueError(f"{wanted}: {self.algorithm or 'HS256'} needs one")
        if len(given) > 1:
            raise ValueError(f"{given[1]}: not beside {given[0]}")
        [name] = given
        if name == "public_key" and self.algorithm is None:
            raise ValueError("algorithm: a public_key needs one")
        if self.algorithm is not None and self._symmetric is not (name == "secret"):
            raise ValueError(f"{name}: not for {self.algorithm}")
        return name

    @property
    def _symmetric(self) -> bool:
        return self.algorithm in MIN_SECRET

    def _form(self, material: str, vault: Vault) -> JwtKey:
        made = JwtKey(
            algorithm=self.algorithm or ("HS256" if material == "secret" else ""),
            base64_secret=self.base64_secret,
            allow_weak_secret=self.allow_weak_secret,
            exp=self.exp,
            lifetime_grace_period=self.lifetime_grace_period,
            issuer=self.issuer,
            audience=tuple(self.audience),
        )
        with named(material):
            made = replace(made, **{material: self._value(material, vault)})
            _ = made.key  # it must not be unfit, and neither must the set
            if made.key_set is not None and made.algorithm:
                made.key_set.require(made.algorithm)
        return made

    def _value(self, material: str, vault: Vault) -> Any:
        written = getattr(self, material)
        if material == "secret":
            return Recoverable(recover(written, vault))
        if material == "public_key":
            return plain_text(written)
        if material == "jwks":
            return _load_set(plain_text(written).encode())
        check_url(written)
        return written

    @classmethod
    def reopen(cls, index: str, form: JwtKey, vault: Vault) -> dict[str, Any]:
        made: dict[str, Any] = {"key": index}
        for name in form.__struct_fields__:
            value = getattr(form, name)
            if isinstance(value, Recoverable):
                made[name] = {"encrypted": vault.encrypt(value.value)}
            elif value != _DEFAULTS.get(name):
                made[name] = list(value) if isinstance(value, tuple) else value
        return made

    @classmethod
    def issue(cls, identifier: str) -> tuple[JwtDraft, dict[str, str]]:
        # Long enough for every hash, and in the alphabet of base64, too.
        secret = secrets.token_hex(48)
        draft = cls(identifier, secret=Secret(secret))
        return draft, {"key": identifier, "secret": secret}


def _load_set(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_SET:
        raise ValueError(f"longer than {MAX_SET} bytes")
    return strict_json.load_object(data)


_DEFAULTS = {name: getattr(JwtKey(), name) for name in JwtKey.__struct_fields__}


def _decode_set(written: Any) -> Secret:
    if isinstance(written, dict) and not written.keys() & set(Secret.SOURCES):
        try:
            return Secret(json.dumps(written))
        except (TypeError, ValueError):
            raise ValueError("expected a JWK Set, of JSON's types") from None
    if not isinstance(written, dict | str):
        raise ValueError("expected a JWK Set, a JWK, or {file: PATH} of one")
    return Secret.decode(written)
