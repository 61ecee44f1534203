"""What the store keeps of a credential of jwt-auth: how to verify its tokens, how to sign one."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct

from authz.contracts import Lookup
from authz.jose.claims import Rules
from authz.jose.key_set import KeySet
from authz.jose.keys import VerifyKey, public_key, secret_key
from authz.schemes.jwt_core import Seen
from authz.schemes.jwt_keys import secret_bytes
from authz.secrets import Recoverable
from authz.signing.tokens import SigningKey

#: Seconds that a token of the sign endpoint lives.
LIFETIME = 86400


class JwtKey(Struct, frozen=True, omit_defaults=True, dict=True):
    """One way to verify: a secret, a public key, a set of keys, or where one is published.

    `algorithm` is empty where the keys of a set say theirs. `exp` and `lifetime_grace_period` are
    seconds. The look-up key is the value of the tokens' key claim.
    """

    algorithm: str = ""
    secret: Recoverable | None = None
    base64_secret: bool = False
    allow_weak_secret: bool = False
    public_key: str = ""
    private_key: Recoverable | None = None
    jwks: dict[str, Any] | None = None
    jwks_url: str = ""
    exp: int = LIFETIME
    lifetime_grace_period: int = 0
    issuer: str | None = None
    audience: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"JwtKey({self.algorithm})"

    @cached_property
    def key(self) -> VerifyKey | None:
        """The one key, unless there is a set. Raises ValueError when it is unfit."""
        if self.secret is not None:
            secret = secret_bytes(self.secret.value, encoded=self.base64_secret)
            return secret_key(self.algorithm, secret, allow_weak=self.allow_weak_secret)
        return public_key(self.algorithm, self.public_key) if self.public_key else None

    @cached_property
    def key_set(self) -> KeySet | None:
        """The set that is held by value. Raises ValueError when it is unfit."""
        return KeySet.of(self.jwks) if self.jwks is not None else None

    @cached_property
    def signing_key(self) -> SigningKey | None:
        """What signs a token for this credential: the secret's bytes, or a private key."""
        if self.secret is not None:
            return secret_bytes(self.secret.value, encoded=self.base64_secret)
        if self.private_key is None:
            return None
        # It was checked when it was stored; to check an RSA key again would take longer than Envoy
        # waits.
        loaded: Any = load_pem_private_key(
            self.private_key.value, None, unsafe_skip_rsa_key_validation=True
        )
        return cast(SigningKey, loaded)

    @cached_property
    def rules(self) -> Rules:
        """What this credential asks of claims, beside what its route asks."""
        return Rules(
            listed=(), unlisted=False, issued="ignored", issuer=self.issuer, audience=self.audience
        )

    def find_key(self, seen: Seen, store: Lookup) -> VerifyKey | None:
        """The key that a token must be signed with; of a set its `kid` chooses.

        Raises a `Fault` when a remote set is not to be had.
        """
        keys = store.key_set(self.jwks_url, seen.key_id) if self.jwks_url else self.key_set
        return keys.find(seen.key_id, seen.algorithm) if keys is not None else self.key
