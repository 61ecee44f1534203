"""Alibaba's apps and requests: those of `vectors/cases/alibaba.json`, and freshly signed ones."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from authz import forms
from authz.references import Secret
from authz.schemes.appcode import AppCodeDraft
from authz.schemes.digest import Digest
from authz.schemes.digest_key import AppKeyDraft
from authz.signing import digest
from authz.values import (
    Body,
    Consumer,
    Credential,
    Denied,
    Deny,
    Headers,
    Proof,
    Request,
)
from tests.support.memory import CheapVault, Memory
from tests.support.texts import PRINTABLE, VECTORS

_FILE = json.loads((VECTORS / "cases" / "alibaba.json").read_text(encoding="utf-8"))
CASES: dict[str, dict[str, Any]] = {case["id"]: case for case in _FILE["cases"]}
APPS: dict[str, Any] = _FILE["meta"]["apps"]
#: When most of them were signed.
AT = 1_700_000_000.0


def body_of(case: dict[str, Any]) -> bytes:
    request = case["request"]
    if "body_base64" in request:
        return base64.b64decode(request["body_base64"])
    return (request.get("body") or "").encode()


def request_of(case: dict[str, Any]) -> Request:
    """A case's request as `wire.read` makes it."""
    request, body = case["request"], body_of(case)
    path, _, query = request["path"].partition("?")
    return Request(
        method=request["method"],
        path=path,
        query=query,
        headers=Headers((name, value) for name, value in request["headers"]),
        body=Body(body, complete=True, exact=True) if body else None,
        at=case["now_ms"] / 1000,
    )


def strings(case: dict[str, Any]) -> dict[str, digest.Variant]:
    """Every string to sign of a case's request."""
    request = request_of(case)
    content_type = request.headers.first("content-type") or ""
    form = request.body.data.decode(errors="surrogateescape") if request.body is not None else ""
    is_form = forms.media_type(content_type) == forms.FORM_TYPE
    listed = request.headers.first("x-ca-signature-headers") or ""
    return digest.strings_to_sign(
        request.method,
        request.path,
        forms.pairs(request.query),
        forms.pairs(form) if is_form else [],
        request.headers.first,
        listed.split(",") if listed else [],
    )


KEY, SECRET = "203753385", "s3cr3t-AppSecret-1"
VAULT = CheapVault()


def apps() -> Memory:
    """A store that knows every app of the vectors, each of them a consumer."""
    memory = Memory()
    for name, app in APPS.items():
        memory.consumers["", name] = Consumer(name, disabled=app["disabled"])
        for key, secret in app["keys"].items():
            index, form = AppKeyDraft(key, Secret(secret)).seal(VAULT, "", None)
            memory.credentials["", "digest", index] = Credential(name, key, "digest", form)
        for code in app["app_codes"]:
            index, sealed = AppCodeDraft(Secret(code)).seal(VAULT, "", None)
            memory.credentials["", "appcode", index] = Credential(name, code, "appcode", sealed)
    return memory


def signed(
    method: str = "GET",
    target: str = "/v1/items",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    drop: Iterable[str] = (),
    at: float = AT,
    exact: bool = True,
    **more: Any,
) -> Request:
    """A request that our own signer signed, as it arrives at `at`. Headers named in `drop` got lost
    on the way, and `more` is for the signer."""
    lines = list(headers)
    chosen = {"app_key": KEY, "app_secret": SECRET, "at": AT, "nonce": "n-1", **more}
    made = digest.sign(method, target, lines, body, **chosen)
    lost = {name.lower() for name in drop}
    kept = [line for line in (*lines, *made.headers) if line[0].lower() not in lost]
    path, _, query = target.partition("?")
    return Request(
        method=method,
        path=path,
        query=query,
        headers=Headers(kept, exact=exact),
        body=Body(body, complete=True, exact=True) if body else None,
        id="0f0e0d0c-0b0a-4908-8706-050403020100",
        at=at,
    )


def with_header(request: Request, name: str, value: str) -> Request:
    """The same request with this in place of what the header was, or beside the others."""
    lines = [(n, v) for n in request.headers if n != name for v in request.headers.get(n)]
    headers = Headers([*lines, (name, value)], exact=request.headers.exact)
    return replace(request, headers=headers)


def code_of(deny: Deny) -> str | None:
    return dict(deny.headers).get("x-ca-error-code")


def message_of(deny: Deny) -> str:
    return dict(deny.headers)["x-ca-error-message"]


# -- the scheme digest -----------------------------------------------------------------------------


def setting(**fields: Any) -> Digest:
    """Settings as a document gives them."""
    return msgspec.convert(fields, Digest)


STRICT = setting()
VENDOR = setting(profile="alibaba", signature_methods=("HmacSHA256", "HmacSHA1"))
STORE = apps()


def prove(scheme: Digest, request: Request, store: Memory = STORE) -> Proof | Deny | None:
    """What was proven, or a refusal that is fit to be answered."""
    try:
        return scheme.authenticate(request, store.within(""))
    except Denied as denied:
        deny = denied.deny
    assert deny.reason in Digest.reasons
    assert all(PRINTABLE.fullmatch(value) for _, value in deny.headers)
    return deny


def outcome(scheme: Digest, request: Request, store: Memory = STORE) -> str | None:
    """The AppKey that was proven, or the reason of the refusal."""
    found = prove(scheme, request, store)
    if isinstance(found, Deny):
        return found.reason
    return found.credential.id if found else None


def resigned(values: dict[str, str | None], unsigned: tuple[str, ...] = ()) -> Request:
    """Signed by somebody who has the secret, with headers that no signer of ours would make. None:
    not sent; `unsigned` ones are sent, but not listed."""
    sent = {"X-Ca-Key": KEY, "X-Ca-Timestamp": str(int(AT * 1000)), "X-Ca-Nonce": "n-1", **values}
    headers = {name: value for name, value in sent.items() if value is not None}
    names = [name for name in headers if name not in unsigned]
    lower = {name.lower(): value for name, value in headers.items()}
    text = digest.string_to_sign("GET", "/", [], [], lower.get, names)
    headers["X-Ca-Signature-Headers"] = ",".join(names)
    headers["X-Ca-Signature"] = digest.signature(SECRET, text)
    return Request("GET", "/", headers=Headers(headers.items()), at=AT)
