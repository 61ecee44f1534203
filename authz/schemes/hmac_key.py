"""What hmac-auth stores of a credential, and how an operator writes one down."""

from __future__ import annotations

import re
import secrets
from functools import cached_property
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from authz.contracts import Vault
from authz.references import Secret, recover
from authz.secrets import Mac, Recoverable
from authz.signing.hmac_auth import HASHES, Algorithm

MAX_KEY_ID = 256
MAX_SECRET = 256
#: In seconds: as long as a nonce may have to be remembered.
MAX_SKEW = 365 * 86_400
#: No field of an Authorization header can hold these; `#` parts those of the legacy one.
_DELIMITERS = re.compile(r'[",#]')

KeyId = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_ID)]


class HmacKey(Struct, frozen=True, omit_defaults=True, dict=True):
    """What is stored; the key id is the look-up key. All but the secret is a legacy credential's
    (profile apisix-3.9), and means there what APISIX up to 3.10 made of it."""

    secret_key: Recoverable
    algorithm: Algorithm | None = None
    clock_skew: int = 0
    signed_headers: tuple[str, ...] = ()
    keep_headers: bool = False
    encode_uri_params: bool = True
    validate_request_body: bool = False
    max_req_body: int = 512 * 1024

    def tag(self, algorithm: str, data: bytes) -> bytes:
        """The HMAC of some data, by one of `HASHES`."""
        mac = self._macs.get(algorithm)
        if mac is None:
            mac = self._macs[algorithm] = Mac(self.secret_key.value, HASHES[algorithm])
        return mac.digest(data)

    @cached_property
    def _macs(self) -> dict[str, Mac]:
        return {}


class HmacDraft(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key id, or `access_key` as it was called, with its secret. `algorithm` pins the one that
    signatures must have; what follows it is for the profile apisix-3.9 alone."""

    secret_key: Secret
    key_id: KeyId | None = None
    access_key: KeyId | None = None
    algorithm: Algorithm | None = None
    clock_skew: Annotated[int, Meta(ge=0, le=MAX_SKEW)] = 0
    signed_headers: tuple[Annotated[str, Meta(min_length=1, max_length=50)], ...] = ()
    keep_headers: bool = False
    encode_uri_params: bool = True
    validate_request_body: bool = False
    max_req_body: Annotated[int, Meta(ge=1)] = 512 * 1024

    def __post_init__(self) -> None:
        if (self.key_id is None) == (self.access_key is None):
            raise ValueError("expected one of `key_id` and `access_key`")

    def seal(self, vault: Vault, tenant: str, before: HmacKey | None) -> tuple[str, HmacKey]:
        key_id = self.key_id or self.access_key or ""
        if _DELIMITERS.search(key_id) or not key_id.isprintable():
            raise ValueError('key_id: holds a `"`, `,`, `#` or a control character')
        try:
            secret = recover(self.secret_key, vault)
        except ValueError as error:
            raise ValueError(f"secret_key: {error}") from None
        if len(secret) > MAX_SECRET:
            raise ValueError(f"secret_key: longer than {MAX_SECRET} bytes")
        others = {name: getattr(self, name) for name in _OTHERS}
        return key_id, HmacKey(Recoverable(secret), **others)

    @classmethod
    def reopen(cls, index: str, form: HmacKey, vault: Vault) -> dict[str, Any]:
        others = msgspec.to_builtins(msgspec.structs.replace(form, secret_key=None))
        others.pop("secret_key")
        secret = vault.encrypt(form.secret_key.value)
        return {"key_id": index, "secret_key": {"encrypted": secret}, **others}

    @classmethod
    def issue(cls, identifier: str) -> tuple[HmacDraft, dict[str, str]]:
        name = _DELIMITERS.sub("-", identifier)[: MAX_KEY_ID // 2]
        key_id, secret = f"{name}-{secrets.token_hex(4)}", secrets.token_urlsafe(32)
        return cls(Secret(secret), key_id), {"key_id": key_id, "secret_key": secret}


_OTHERS = HmacKey.__struct_fields__[1:]
