"""HMAC-signed requests as they reach a scheme, and what it makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from authz import signing
from authz.references import Secret
from authz.schemes.hmac_auth import HmacAuth
from authz.schemes.hmac_key import HmacDraft
from authz.values import Body, Credential, Denied, Deny, Headers, Proof, Request
from tests.support.gateway import NOW
from tests.support.memory import CheapVault, Memory

VAULT = CheapVault()
SECRET = "john-hmac-key"
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"

Lines = Iterable[tuple[str, str]]


def setting(**fields: Any) -> HmacAuth:
    """Settings as a document gives them."""
    return msgspec.convert(fields, HmacAuth)


def store(**fields: Any) -> Memory:
    """A store with john's one credential; `fields` are those of its draft."""
    known: dict[str, Any] = {"key_id": "john-key", "secret_key": Secret(SECRET)}
    index, form = HmacDraft(**(known | fields)).seal(VAULT, "", None)
    memory = Memory()
    memory.credentials["", "hmac-auth", index] = Credential("john", "c1", "hmac-auth", form)
    return memory


KNOWN = store()


def arrived(
    target: str,
    lines: Lines,
    *,
    method: str = "GET",
    body: bytes | None = None,
    complete: bool = True,
    exact: bool = True,
    at: float = NOW,
) -> Request:
    """A request as `wire.read` makes it; one with a body says how long it is."""
    path, _, query = target.partition("?")
    length = [] if body is None else [("content-length", str(len(body)))]
    return Request(
        method=method,
        path=path,
        query=query,
        headers=Headers([*lines, *length], exact=exact),
        host="api.test",
        body=Body(body, complete, exact) if body else None,
        at=at,
    )


def signed(
    target: str = "/ip",
    lines: Lines = (),
    *,
    method: str = "GET",
    body: bytes | None = None,
    **how: Any,
) -> Request:
    """A request with what `sign_hmac_auth` adds; `how` are its options."""
    lines = list(lines)
    known: dict[str, Any] = {"key_id": "john-key", "secret": SECRET, "at": NOW}
    hosted = [("host", "api.test"), *lines]
    made = signing.sign_hmac_auth(method, target, hosted, body, **(known | how))
    return arrived(target, [*lines, *made.headers], method=method, body=body)


def ask(scheme: HmacAuth, request: Request, memory: Memory = KNOWN) -> Proof | Deny | None:
    """The proof, or the refusal."""
    try:
        return scheme.authenticate(request, memory.within(""))
    except Denied as denied:
        return denied.deny


def reason(scheme: HmacAuth, request: Request, memory: Memory = KNOWN) -> str:
    """Why a request is refused; empty when it is not, and `None` when there is no signature."""
    outcome = ask(scheme, request, memory)
    if outcome is None:
        return "None"
    return outcome.reason if isinstance(outcome, Deny) else ""


def edited(request: Request, name: str, *values: str) -> Request:
    """The request with these values of a header, in place of all there are."""
    lines = [(n, v) for n in request.headers for v in request.headers.get(n) if n != name]
    lines += [(name, value) for value in values]
    return msgspec.structs.replace(request, headers=Headers(lines, exact=request.headers.exact))
