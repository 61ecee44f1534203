"""An AppKey with its AppSecret: as an operator writes it down, and as it is stored."""

from __future__ import annotations

import re
import secrets
from typing import Any

from msgspec import Struct

from authz.contracts import Vault
from authz.references import Secret, recover
from authz.secrets import Recoverable

MAX_SECRET = 1024
APP_KEY = re.compile(r"[!-~]{1,128}")


class AppSecret(Struct, frozen=True, gc=False):
    """What is stored: the secret. The AppKey is the look-up key."""

    secret: Recoverable


class AppKeyDraft(Struct, frozen=True, forbid_unknown_fields=True):
    """An AppKey with its AppSecret; `{encrypted: …}` is one that was exported."""

    app_key: str
    app_secret: Secret

    def seal(self, vault: Vault, tenant: str, before: AppSecret | None) -> tuple[str, AppSecret]:
        if not APP_KEY.fullmatch(self.app_key):
            raise ValueError("app_key: expected 1 to 128 printable ASCII characters, no blanks")
        try:
            secret = Recoverable(recover(self.app_secret, vault))
        except ValueError as error:
            raise ValueError(f"app_secret: {error}") from None
        if len(secret.value) > MAX_SECRET:
            raise ValueError(f"app_secret: longer than {MAX_SECRET} bytes")
        same = before is not None and before.secret == secret
        return self.app_key, before if before is not None and same else AppSecret(secret)

    @classmethod
    def reopen(cls, index: str, form: AppSecret, vault: Vault) -> dict[str, Any]:
        return {"app_key": index, "app_secret": {"encrypted": vault.encrypt(form.secret.value)}}

    @classmethod
    def issue(cls, identifier: str) -> tuple[AppKeyDraft, dict[str, str]]:
        app_key = str(10**8 + secrets.randbelow(9 * 10**8))
        app_secret = secrets.token_urlsafe(24)
        draft = cls(app_key, Secret(app_secret))
        return draft, {"app_key": app_key, "app_secret": app_secret}
