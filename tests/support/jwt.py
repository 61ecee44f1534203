"""jwt-auth by itself: settings, a store with these credentials, and what it says of a request."""

from __future__ import annotations

from typing import Any

import msgspec

from authz.references import Secret
from authz.schemes.jwt_auth import JwtAuth
from authz.schemes.jwt_draft import JwtDraft
from authz.values import Credential, Denied, Deny, Proof, Request
from tests.support.gateway import NOW, ask
from tests.support.memory import CheapVault, Memory
from tests.support.tokens import SECRET, token

VAULT = CheapVault()
#: Claims of a token that holds at `NOW`.
CLAIMS: dict[str, Any] = {"key": "jack-key", "exp": int(NOW) + 60}


def setting(**fields: Any) -> JwtAuth:
    """Settings as a document gives them."""
    return msgspec.convert(fields, JwtAuth)


def decode(type_: type, written: Any) -> Any:
    """As documents decode secrets."""
    assert type_ is Secret
    return Secret.decode(written)


def draft(**fields: Any) -> JwtDraft:
    """A credential as a document gives it."""
    return msgspec.convert(fields, JwtDraft, dec_hook=decode)


def store(*credentials: dict[str, Any]) -> Memory:
    """A store with jack's credential, or with these."""
    memory = Memory()
    for fields in credentials or ({},):
        made = draft(**({"key": "jack-key"} | (fields or {"secret": SECRET.decode()})))
        index, form = made.seal(VAULT, "", None)
        memory.credentials["", "jwt-auth", index] = Credential("jack", index, "jwt-auth", form)
    return memory


def prove(scheme: JwtAuth, request: Request, memory: Memory | None = None) -> Proof | Deny | None:
    """The proof, or the refusal."""
    try:
        return scheme.authenticate(request, (memory or store()).within(""))
    except Denied as denied:
        return denied.deny


def outcome(scheme: JwtAuth, request: Request, memory: Memory | None = None) -> str | None:
    """The id of the credential that was proven, or the reason of the refusal."""
    found = prove(scheme, request, memory)
    if isinstance(found, Proof):
        return found.credential.id
    return found.reason if found is not None else None


def bearing(text: str, **more: Any) -> Request:
    """A request with a token in its Authorization header."""
    return ask("/", ("authorization", f"Bearer {text}"), **more)


def sent(claims: dict[str, Any], **more: Any) -> Request:
    """A request with a token of these claims, signed with jack's secret."""
    return bearing(token(claims), **more)
