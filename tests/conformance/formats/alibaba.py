"""Alibaba Cloud API Gateway: apps with AppCodes and AppKeys, and requests that its SDKs signed.

`meta` has the apps and an API's default options; every app is a consumer here. Compared are the
decision and the app, and what the error headers must hold. Not the status and the code where
Alibaba documents none. An app's authorization for an API is a grant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from authz.schemes import SCHEMES
from tests.conformance.case import (
    Answer,
    Exchange,
    Inexpressible,
    Mode,
    Plain,
    Sent,
    as_it_stands,
    header_lines,
    sent,
)
from tests.conformance.expect import allowed, headers_are, require

#: Who calls an API that asks nobody who he is.
_ANYBODY = "anybody"
#: The only app of a case that brings its own.
_ONLY = "app"
_OPTIONS = {
    *("auth_type", "app_code_auth_type", "allow_signature_method", "force_nonce_check", "stages"),
}
_PRINTABLE = re.compile(rb"[ -~]+")


def recognises(case: Plain) -> bool:
    return {"api", "now_ms", "request", "expect"} <= set(case)


def group(case: Plain) -> str:
    return "digest" if any(name.startswith("x-ca-") for name in _headers(case)) else "appcode"


def _headers(case: Plain) -> dict[str, str]:
    lines = header_lines(case["request"].get("headers"))
    return {name.decode().lower(): value.decode() for name, value in lines}


def translate(case: Plain, shared: Plain, mode: Mode) -> Exchange:
    for scheme in ("digest", "appcode"):
        if scheme not in SCHEMES:
            raise Inexpressible(f"scheme {scheme} is not supported yet")
    meta = shared.get("meta", {})
    api = {**meta.get("default_api", {}), **case["api"]}
    if set(api) - _OPTIONS:
        raise Inexpressible(f"an API's {sorted(set(api) - _OPTIONS)} is not understood")
    alone = case.get("apps_override")
    apps = meta.get("apps", {}) if alone is None else {_ONLY: alone}
    caller = _ANYBODY if api["auth_type"] == "ANONYMOUS" else _owner(case, apps)
    # The verifier sees those first; every case starts with an empty memory of nonces.
    before = [_sibling(shared, name) for name in case.get("before", ())]
    return Exchange(
        document=_document(api, apps),
        requests=tuple(as_it_stands(_sent(each["request"]), mode) for each in (*before, case)),
        verify=partial(_verify, case, caller),
        now=case["now_ms"] / 1000,
    )


def _sibling(shared: Plain, name: str) -> Plain:
    for each in shared.get("cases", ()):
        if each.get("id") == name:
            found: Plain = each
            return found
    raise Inexpressible("a case to be sent first is not in this file")


def _sent(request: Plain) -> Sent:
    """As it was captured, but for the length of a body that was changed since."""
    made = sent(request)
    length = str(len(made.body)).encode()
    framed = ((n, length if n.lower() == b"content-length" else v) for n, v in made.lines)
    return replace(made, lines=tuple(framed))


def _owner(case: Plain, apps: Plain) -> str | None:
    """Whose credential the request was made with; None for one that nobody has."""
    key, code = case["app"].get("app_key"), case["app"].get("app_code")
    for name, app in apps.items():
        if key in app["keys"] or code in app["app_codes"]:
            return str(name)
    return None


# -- a document ------------------------------------------------------------------------------------


def _document(api: Plain, apps: Plain) -> Plain:
    consumers = [
        {
            "username": name,
            "disabled": app["disabled"],
            "grants": [_grant(authorization) for authorization in app["authorizations"]],
            "credentials": list(_credentials(app)),
        }
        for name, app in apps.items()
    ]
    return {
        "profile": "alibaba",
        "services": [{"id": "api", "auth": _auth(api), "access": _access(api)}],
        "consumers": [*consumers, {"username": _ANYBODY}],
    }


def _grant(authorization: Plain) -> Plain:
    until = authorization["valid_until"]
    made = {"service": "api", "stage": authorization["stage"]}
    return made if until is None else made | {"not_after": until}


def _access(api: Plain) -> Plain:
    return {"grant": "required" if api["auth_type"] == "APP" else "none"}


def _auth(api: Plain) -> Plain:
    match api["auth_type"]:
        case "ANONYMOUS":
            # Nothing is read, so that nothing can be wrong.
            return {"appcode": {"app_code": "DISABLE", "anonymous_consumer": _ANYBODY}}
        case "APP":
            digest = {
                "signature_methods": api["allow_signature_method"].split(","),
                "force_nonce_check": api["force_nonce_check"],
                "stages": api["stages"],
            }
            return {
                "any": [{"digest": digest}, {"appcode": {"app_code": api["app_code_auth_type"]}}]
            }
    raise Inexpressible(f"an API of auth_type {api['auth_type']} is not understood")


def _credentials(app: Plain) -> Iterator[Plain]:
    for number, (key, secret) in enumerate(app["keys"].items(), 1):
        yield {"id": f"key-{number}", "digest": {"app_key": key, "app_secret": secret}}
    for number, code in enumerate(app["app_codes"], 1):
        yield {"id": f"code-{number}", "appcode": {"code": code}}


# -- verdicts --------------------------------------------------------------------------------------


def _verify(case: Plain, caller: str | None, answers: Sequence[Answer]) -> None:
    answer, decision = answers[-1], case["expect"]["decision"]
    require(answer.outcome == decision, f"expected {decision}, got {answer.told}")
    if decision == "deny":
        require(400 <= answer.status < 500, f"expected a refusal, got {answer.told}")
        _verify_error(case, answer)
    else:
        headers_are(allowed(answer), {"X-Consumer-Username": caller}, "upstream")


def _verify_error(case: Plain, answer: Answer) -> None:
    told = {name: _printable(answer, name) for name in ("x-ca-error-message", "x-ca-request-id")}
    expected = case["expect"]
    code = (expected.get("alibaba_vpc") or {}).get("error_code")
    if code is not None and expected.get("error_certainty", "").startswith("documented"):
        headers_are(answer, {"x-ca-error-code": code}, "response")
    text = expected.get("documented_string_to_sign") or case.get("string_to_sign")
    if expected.get("reason") == "invalid_signature" and text:
        message = told["x-ca-error-message"]
        require(_safely(text).search(message), f"{message!r} does not hold {text!r}")


def _printable(answer: Answer, name: str) -> str:
    values = answer.values(name)
    require(len(values) == 1, f"response: {name} is {values}, expected one value")
    require(_PRINTABLE.fullmatch(values[0]), f"response: {name} is not printable: {values[0]!r}")
    return values[0].decode()


def _safely(text: str) -> re.Pattern[str]:
    """A string to sign as a header may hold it: `#` for the end of a line, and anything at all for
    what is not printable ASCII."""
    return re.compile("".join(map(_safe, text)))


def _safe(character: Any) -> str:
    if character == "\n":
        return "#"
    return re.escape(character) if " " <= character <= "~" else "[ -~]*?"
